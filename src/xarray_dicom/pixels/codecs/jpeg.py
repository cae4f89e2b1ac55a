"""JPEG, lossy and lossless, all precisions (ISO/IEC 10918-1; PS3.5 8.2.1)."""

from __future__ import annotations

import imagecodecs
import numpy as np

from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.pixels.codecs.uncompressed import significant_bits
from xarray_dicom.pixels.codestream import CodestreamHeader, jpeg_header
from xarray_dicom.pixels.colour import YCBCR

_LOSSLESS = 0xC3
_RGB_IDS = frozenset({b"RGB", b"rgb"})


def is_ycbcr(header: CodestreamHeader, photometric: str) -> bool:
    """Return True if the components of a JPEG are YCbCr.

    The data set decides, not the codec's guess: slides tagged RGB are RGB whether or not
    an Adobe marker agrees. Two things in the codestream outweigh it, as for pydicom:
    components named R, G, B where it says YBR, and a JFIF marker where it says RGB.
    """
    if header.components != 3:
        return False
    if header.component_ids in _RGB_IDS and photometric != "RGB":
        return False
    if header.jfif and "YBR" not in photometric:
        return True
    return photometric in YCBCR


def decode_jpeg(frame: EncodedFrame) -> Raster:
    """Decode with libjpeg-turbo, which converts lossy YCbCr itself."""
    header, fmt = frame.parsed_header, frame.format
    ycbcr = is_ycbcr(header, fmt.photometric)
    by_codec = ycbcr and header.process != _LOSSLESS
    space = None if header.components == 1 else "YCBCR" if by_codec else "RGB"
    dtype = np.dtype(np.uint8 if header.precision <= 8 else np.uint16)
    pixels = imagecodecs.jpeg8_decode(
        frame.content,
        colorspace=space,
        outcolorspace="RGB" if space else None,
        out=frame.target(dtype),
    )
    # A lossy value may overshoot Bits Stored by a little; without its high bit it would be 0.
    exact = header.process == _LOSSLESS or fmt.pixel_representation == 1
    return Raster(pixels, significant_bits(fmt) if exact else 0, ycbcr and not by_codec)


JPEG = Codec(
    "JPEG",
    decode_jpeg,
    jpeg_header,
    end_marker=True,
    available=lambda: bool(imagecodecs.JPEG8.available),
)
