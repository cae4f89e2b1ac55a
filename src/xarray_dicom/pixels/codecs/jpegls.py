"""JPEG-LS, lossless and near-lossless (ISO/IEC 14495-1; PS3.5 8.2.3)."""

from __future__ import annotations

import imagecodecs
import numpy as np

from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.pixels.codecs.jpeg import is_ycbcr
from xarray_dicom.pixels.codestream import jpeg_header


def _decode(frame: EncodedFrame) -> Raster:
    header = frame.parsed_header
    dtype = np.dtype(np.uint8 if header.precision <= 8 else np.uint16)
    # Colour may come by plane, which does not fit an output by pixel.
    out = frame.target(dtype) if header.components == 1 else None
    pixels = imagecodecs.jpegls_decode(frame.content, out=out)
    # A codestream knows no sign: its precision says where the sign bit is.
    precision = header.precision if frame.format.pixel_representation else 0
    return Raster(pixels, precision, is_ycbcr(header, frame.format.photometric))


JPEG_LS = Codec(
    "JPEG-LS",
    _decode,
    jpeg_header,
    end_marker=True,
    available=lambda: bool(imagecodecs.JPEGLS.available),
)
