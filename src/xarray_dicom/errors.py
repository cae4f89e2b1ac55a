"""What can go wrong, as types."""

from __future__ import annotations


class DicomError(ValueError):
    """Base of every error of this package; its message names the source."""


class NotDicomError(DicomError):
    """The object is not a DICOM data set."""


class CorruptDicomError(DicomError):
    """The object is DICOM, but bytes are missing, damaged or contradict each other."""


class UnsupportedDicomError(DicomError):
    """The object is valid, but uses a feature that this package does not read."""


class SourceChangedError(DicomError):
    """The object was replaced after it was opened."""


class DicomWarning(UserWarning):
    """Something in the object was passed over, filled in, or is not as the standard says."""
