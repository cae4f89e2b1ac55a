"""JPEG XL, and JPEG recompressed as JPEG XL (ISO/IEC 18181; PS3.5 8.2.16)."""

from __future__ import annotations

from dataclasses import replace

import imagecodecs
import numpy as np

from xarray_dicom.pixel_format import Buffer
from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.pixels.codecs.jpeg import decode_jpeg
from xarray_dicom.pixels.codecs.uncompressed import significant_bits
from xarray_dicom.pixels.codestream import (
    CodestreamHeader,
    jpeg_header,
    jpegxl_size,
    require_end_marker,
)
from xarray_dicom.transfer_syntax import RECOMPRESSED_JPEG

# A JPEG is about a fifth larger than its recompression; more than that is metadata, or hostile.
_GROWTH = 8
_HEADROOM = 2**20


def _header(codestream: Buffer) -> CodestreamHeader:
    rows, columns = jpegxl_size(codestream)
    return CodestreamHeader(rows, columns, components=0)


def _decode(frame: EncodedFrame) -> Raster:
    fmt = frame.format
    if fmt.transfer_syntax == RECOMPRESSED_JPEG and b"jbrd" in bytes(frame.codestream):
        # The original JPEG comes back bit for bit, and with it the rules for its colour.
        limit = bytearray(_GROWTH * len(frame.codestream) + _HEADROOM)
        original = imagecodecs.jpegxl_decode_jpeg(frame.content, numthreads=1, out=limit)
        require_end_marker(original)
        return decode_jpeg(replace(frame, codestream=original, header=jpeg_header(original)))
    dtype = np.dtype(f"u{fmt.dtype.itemsize}" if fmt.dtype.kind == "i" else fmt.dtype)
    pixels = imagecodecs.jpegxl_decode(frame.content, numthreads=1, out=frame.target(dtype))
    # The format is unsigned: Bits Stored says where the sign bit is.
    return Raster(pixels, significant_bits(fmt) if fmt.pixel_representation else 0)


JPEG_XL = Codec("JPEG XL", _decode, _header, available=lambda: bool(imagecodecs.JPEGXL.available))
