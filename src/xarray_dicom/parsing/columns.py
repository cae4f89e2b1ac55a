"""Per-frame functional groups as columns (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing.column_values import Column, UnevenValuesError, decode_column
from xarray_dicom.parsing.encoding import (
    Encoding,
    IncompleteError,
    MalformedError,
    TagPath,
    tag_name,
)
from xarray_dicom.parsing.functional_groups import FunctionalGroups
from xarray_dicom.parsing.items import trace_items
from xarray_dicom.parsing.traced_items import Trace, concatenate
from xarray_dicom.parsing.walk import TagSelection
from xarray_dicom.warn import warn

_SEQUENCE = "Per-Frame Functional Groups Sequence (5200,9230)"
_SEQUENCE_TAG = 0x52009230


def read_columns(
    groups: FunctionalGroups, paths: Mapping[TagPath, str], n_frames: int
) -> dict[TagPath, Column]:
    """Read elements of all items of the Per-Frame Functional Groups Sequence.

    Parameters
    ----------
    groups
        The sequence as it was cut out of the header.
    paths
        Tags from an item down to an element, mapped to its VR. Nested sequences are
        followed through their first item. Where the bytes state a VR other than UN, that
        one is taken.
    n_frames
        Number of Frames: there must be as many items.

    Returns
    -------
    dict
        One column for each path, also where no frame has the element; every column has
        `n_frames` rows, and room for at least one value a row.

    Raises
    ------
    CorruptDicomError
        If there are fewer items than `n_frames`, if an item is damaged, or if a value
        contradicts its VR.

    Warns
    -----
    DicomWarning
        If there are more items than `n_frames`.
    """
    selected = TagSelection(paths)
    if () in selected.elements or selected.elements & selected.sequences:
        raise ValueError("a path must lead to an element, and no path through another's end")
    trace = groups.trace
    if trace is None or not selected.elements <= trace.selected:
        try:
            trace = _trace(groups, selected)
        except (MalformedError, IncompleteError) as error:
            raise CorruptDicomError(f"{_SEQUENCE}: {error}", tag=_SEQUENCE_TAG) from error
    counts = f"{_SEQUENCE} has {trace.count} items, but Number of Frames (0028,0008) is {n_frames}"
    if trace.count < n_frames:
        raise CorruptDicomError(counts, tag=_SEQUENCE_TAG)
    if trace.count > n_frames:
        warn(f"{counts}; the last items are passed over", tag=_SEQUENCE_TAG)
    return {path: _column(groups, trace, path, vr, n_frames) for path, vr in paths.items()}


def _column(
    groups: FunctionalGroups, trace: Trace, path: TagPath, vr: str, n_frames: int
) -> Column:
    octets = np.frombuffer(groups.content, np.uint8)
    ranges = concatenate(trace.values.get(path, []))
    if trace.count > n_frames:
        ranges = ranges.where(ranges.item < n_frames)
    try:
        return decode_column(octets, ranges, vr, n_frames, groups.little_endian, groups.nbytes)
    except (ValueError, ArithmeticError, UnevenValuesError) as error:
        names = " > ".join(tag_name(tag) for tag in path)
        raise CorruptDicomError(
            f"{_SEQUENCE}: {names} can't be read: {error}", tag=path[-1]
        ) from error


def _trace(groups: FunctionalGroups, selected: TagSelection) -> Trace:
    encoding = Encoding(groups.implicit_vr, groups.little_endian)
    end = len(groups.content) if groups.end is None else groups.end
    stop = None if groups.length_is_undefined else end
    trace = trace_items(groups.content, groups.start, stop, encoding, selected)
    if stop is None and not trace.closed and trace.end != end:
        raise MalformedError(f"item {trace.count + 1} is cut off")
    return trace
