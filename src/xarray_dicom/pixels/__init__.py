"""Pixels: from the bytes of a frame to values, one frame at a time, no I/O."""

from __future__ import annotations

from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.pixels.bits import unpack_bits
from xarray_dicom.pixels.decode import FrameDecoder, decode_frame, decode_native_run
from xarray_dicom.pixels.modality import (
    fraction_transform,
    modality_transform,
    real_world_transform,
)
from xarray_dicom.pixels.transform import Stored, Transform

__all__ = [
    "FrameDecoder",
    "PixelFormat",
    "Stored",
    "Transform",
    "decode_frame",
    "decode_native_run",
    "fraction_transform",
    "modality_transform",
    "real_world_transform",
    "unpack_bits",
]
