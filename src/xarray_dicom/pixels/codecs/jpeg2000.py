"""JPEG 2000 and High-Throughput JPEG 2000 (ISO/IEC 15444-1, -2, -15; PS3.5 8.2.4).

OpenJPEG reads both. `imagecodecs.htj2k_decode` (OpenJPH) is twice as fast, but loses the
errors of the decoder and returns what it has.
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np

from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.pixels.codestream import jpeg2000_header
from xarray_dicom.pixels.colour import YCBCR


def _sample_dtype(precision: int, signed: bool) -> np.dtype[Any]:
    size = 1 if precision <= 8 else 2 if precision <= 16 else 4
    return np.dtype(f"{'i' if signed else 'u'}{size}")


def _decode(frame: EncodedFrame) -> Raster:
    header, fmt = frame.parsed_header, frame.format
    dtype = _sample_dtype(header.precision, header.signed)
    pixels = imagecodecs.jpeg2k_decode(frame.content, numthreads=1, out=frame.target(dtype))
    # The codestream's sign and precision hold where they agree with the data set's.
    mismatch = header.components == 1 and header.signed != bool(fmt.pixel_representation)
    ycbcr = fmt.photometric in YCBCR and not header.multiple_component_transform
    return Raster(pixels, header.precision if mismatch else 0, ycbcr and header.components == 3)


JPEG_2000 = Codec(
    "JPEG 2000",
    _decode,
    jpeg2000_header,
    end_marker=True,
    available=lambda: bool(imagecodecs.JPEG2K.available),
)
