"""Where frames lie in an object: a ladder of ways, from tables to reading every item."""

from xarray_dicom.parsing.offsets.ladder import find_offsets
from xarray_dicom.parsing.offsets.native import NativeOffsets
from xarray_dicom.parsing.offsets.passing import Lease, Passing, Stream
from xarray_dicom.parsing.offsets.scan import Scan, scan
from xarray_dicom.parsing.offsets.spans import FrameOffsets, Spans
from xarray_dicom.parsing.offsets.tables import ExactOffsets, ItemOffsets, SingleFrame

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
