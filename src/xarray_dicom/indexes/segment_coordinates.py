"""Coordinates of segments, with the index that they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xarray_dicom.errors import DicomError
from xarray_dicom.indexes.segment_index import SegmentIndex
from xarray_dicom.indexes.segment_selection import labels_by_number


def segment_index(numbers: ArrayLike, labels: Sequence[str]) -> SegmentIndex:
    """Make the index of coordinates ``segment`` and ``segment_label``.

    Parameters
    ----------
    numbers
        Segment Number (0062,0004) of each segment.
    labels
        Segment Label (0062,0005) of each segment.

    Raises
    ------
    DicomError
        If lengths differ, or a number has two labels.
    """
    integers = np.asarray(numbers, np.int64)
    texts = np.asarray(labels, object)
    if integers.shape != texts.shape:
        raise DicomError(f"{integers.size} segment numbers, but {texts.size} segment labels")
    index = SegmentIndex(integers, texts)
    labels_by_number([index])
    return index


def segment_coordinates(numbers: ArrayLike, labels: Sequence[str]) -> xr.Coordinates:
    """Make coordinates ``segment`` and ``segment_label`` with their index.

    Parameters
    ----------
    numbers, labels
        As for `segment_index`.

    Returns
    -------
    Coordinates
        On the dimension ``segment``.

    Raises
    ------
    DicomError
        As `segment_index` does.
    """
    index = segment_index(numbers, labels)
    return xr.Coordinates(index.create_variables(), indexes=dict.fromkeys(index.names, index))
