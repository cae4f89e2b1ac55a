"""Where frames lie in an object: a ladder of ways, from tables to reading every item."""

from xarray_dicom.frames.offsets.byte_ranges import FrameOffsets, Spans
from xarray_dicom.frames.offsets.find import find_offsets
from xarray_dicom.frames.offsets.native import NativeOffsets
from xarray_dicom.frames.offsets.tables import ExactOffsets, ItemOffsets, SingleFrame
from xarray_dicom.frames.scan import Scan, scan
from xarray_dicom.frames.scan_stream import Lease, Passing, Stream

__all__ = [
    "ExactOffsets",
    "FrameOffsets",
    "ItemOffsets",
    "Lease",
    "NativeOffsets",
    "Passing",
    "Scan",
    "SingleFrame",
    "Spans",
    "Stream",
    "find_offsets",
    "scan",
]
