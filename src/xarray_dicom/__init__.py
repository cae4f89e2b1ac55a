"""Lazy, labelled, chunked xarray views of DICOM images in any store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xarray_dicom import accessor
from xarray_dicom.errors import (
    CorruptDicomError,
    DicomError,
    DicomWarning,
    NotDicomError,
    SourceChangedError,
    UnsupportedDicomError,
)
from xarray_dicom.progress import set_progress

if TYPE_CHECKING:
    from xarray_dicom.indexes import SegmentIndex

__version__ = "0.1.0"

__all__ = [
    "CorruptDicomError",
    "DicomError",
    "DicomWarning",
    "NotDicomError",
    "SegmentIndex",
    "SourceChangedError",
    "UnsupportedDicomError",
    "__version__",
    "set_progress",
]

accessor.register()


def __getattr__(name: str) -> Any:
    # Every `open_dataset` imports the engine and so this package: indexes are imported on use.
    if name == "SegmentIndex":
        from xarray_dicom.indexes import SegmentIndex

        return SegmentIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
