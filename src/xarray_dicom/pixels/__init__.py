"""Pixels: from the bytes of frames to values, without input or output."""

from __future__ import annotations

from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.pixels.bits import unpack_bits
from xarray_dicom.pixels.decoders import (
    DEFAULT_DECODER,
    BatchDecoder,
    Decoder,
    decoder_for,
    decoder_names,
    require_decoder,
)
from xarray_dicom.pixels.frame_decoder import FrameDecoder, decode_native_run
from xarray_dicom.pixels.modality import fraction_transform, modality_transform
from xarray_dicom.pixels.transform import Stored, Transform

__all__ = [
    "DEFAULT_DECODER",
    "BatchDecoder",
    "Decoder",
    "FrameDecoder",
    "PixelFormat",
    "Stored",
    "Transform",
    "decode_native_run",
    "decoder_for",
    "decoder_names",
    "fraction_transform",
    "modality_transform",
    "require_decoder",
    "unpack_bits",
]
