"""JPEG XL, and JPEG recompressed as JPEG XL (ISO/IEC 18181; PS3.5 8.2.16)."""

from __future__ import annotations

from dataclasses import replace

import imagecodecs
import numpy as np

from xarray_dicom.pixels.buffers import Buffer
from xarray_dicom.pixels.codecs import jpeg
from xarray_dicom.pixels.codecs.base import Codec, Raster, Request
from xarray_dicom.pixels.codecs.native import significant_bits
from xarray_dicom.pixels.codestream import CodestreamHeader, jpeg_header, jpegxl_size

RECOMPRESSED_JPEG = "1.2.840.10008.1.2.4.111"

# A JPEG is about a fifth larger; what it grows beyond that is metadata, or hostile.
_GROWTH = 8
_HEADROOM = 2**20


def _header(codestream: Buffer) -> CodestreamHeader:
    rows, columns = jpegxl_size(codestream)
    return CodestreamHeader(rows, columns, components=0)


def _decode(request: Request) -> Raster:
    fmt = request.format
    if fmt.transfer_syntax == RECOMPRESSED_JPEG and b"jbrd" in bytes(request.codestream):
        # The original JPEG comes back bit for bit, and with it the rules for its colour.
        limit = bytearray(_GROWTH * len(request.codestream) + _HEADROOM)
        original = imagecodecs.jpegxl_decode_jpeg(request.source, numthreads=1, out=limit)
        return jpeg.decode(replace(request, codestream=original, header=jpeg_header(original)))
    dtype = np.dtype(f"u{fmt.dtype.itemsize}" if fmt.dtype.kind == "i" else fmt.dtype)
    pixels = imagecodecs.jpegxl_decode(request.source, numthreads=1, out=request.target(dtype))
    # The format is unsigned: Bits Stored says where the sign bit is.
    return Raster(pixels, significant_bits(fmt) if fmt.pixel_representation else 0)


JPEG_XL = Codec("JPEG XL", _decode, _header, lambda: bool(imagecodecs.JPEGXL.available))
