"""Pixels: from the bytes of a frame to values, one frame at a time, no I/O."""

from __future__ import annotations

from xarray_dicom.pixels.bits import unpack_bits
from xarray_dicom.pixels.decode import decode_frame, decode_native_run
from xarray_dicom.pixels.format import PixelFormat

__all__ = ["PixelFormat", "decode_frame", "decode_native_run", "unpack_bits"]
