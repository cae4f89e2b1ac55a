"""xarray indexes of this package: segments, and frames of reference."""

from xarray_dicom.indexes.frame_of_reference_index import (
    FrameOfReferenceIndex,
    frame_of_reference_coordinates,
)
from xarray_dicom.indexes.segment_coordinates import segment_coordinates, segment_index
from xarray_dicom.indexes.segment_index import SegmentIndex

__all__ = [
    "FrameOfReferenceIndex",
    "SegmentIndex",
    "frame_of_reference_coordinates",
    "segment_coordinates",
    "segment_index",
]
