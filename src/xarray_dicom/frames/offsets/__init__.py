"""Offsets of frames in an object, by strategies from tables to the only frame."""

from xarray_dicom.frames.offsets.byte_ranges import ByteRanges, FrameOffsets
from xarray_dicom.frames.offsets.find import find_offsets
from xarray_dicom.frames.offsets.native import NativeOffsets
from xarray_dicom.frames.offsets.tables import ExactOffsets, ItemOffsets, SingleFrame

__all__ = [
    "ByteRanges",
    "ExactOffsets",
    "FrameOffsets",
    "ItemOffsets",
    "NativeOffsets",
    "SingleFrame",
    "find_offsets",
]
