"""Per-frame functional groups as columns (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing.elements import Column, FunctionalGroups, Path, Trace, joined
from xarray_dicom.parsing.encoding import (
    Encoding,
    IncompleteError,
    MalformedError,
    tag_name,
)
from xarray_dicom.parsing.items import trace_items
from xarray_dicom.parsing.values import UnevenValuesError, decode
from xarray_dicom.parsing.walk import Wanted
from xarray_dicom.warn import warn


@dataclass(frozen=True, slots=True)
class Columns:
    """Elements of the per-frame functional groups.

    Attributes
    ----------
    columns
        One `Column` for each path asked for, also where no frame has the element.
    walked
        Items that were built so unusually that they were taken one by one.
    """

    columns: dict[Path, Column]
    walked: int


def read_columns(
    groups: FunctionalGroups,
    paths: Mapping[Path, str],
    n_frames: int,
    location: str = "the object",
) -> Columns:
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
    location
        Named in errors.

    Returns
    -------
    Columns
        Every column has `n_frames` rows and at least one value a row.

    Raises
    ------
    CorruptDicomError
        If there are fewer items than `n_frames`, if an item is damaged, or if a value is not
        what its VR says.

    Warns
    -----
    DicomWarning
        If there are more items than `n_frames`.
    """
    place = f"{location}: Per-Frame Functional Groups Sequence (5200,9230)"
    wanted = Wanted(paths)
    if () in wanted.leaves or wanted.leaves & wanted.sequences:
        raise ValueError("a path must lead to an element, and no path through another's end")
    encoding = Encoding(groups.implicit_vr, groups.little_endian)
    trace = groups.trace
    if trace is None or not wanted.leaves <= trace.wanted:
        try:
            trace = _traced(groups, encoding, wanted)
        except (MalformedError, IncompleteError) as error:
            raise CorruptDicomError(f"{place}: {error}") from error
    counts = f"{place} has {trace.count} items, but Number of Frames (0028,0008) is {n_frames}"
    if trace.count < n_frames:
        raise CorruptDicomError(counts)
    if trace.count > n_frames:
        warn(f"{counts}; the last items are passed over")
    octets = np.frombuffer(groups.content, np.uint8)
    columns = {}
    for path, vr in paths.items():
        found = joined(trace.leaves.get(path, []))
        if trace.count > n_frames:
            found = found.where(found.item < n_frames)
        try:
            columns[path] = decode(octets, found, vr, n_frames, groups.little_endian, groups.nbytes)
        except (ValueError, ArithmeticError, UnevenValuesError) as error:
            names = " > ".join(tag_name(tag) for tag in path)
            raise CorruptDicomError(f"{place}: {names} can't be read: {error}") from error
    return Columns(columns, trace.walked)


def _traced(groups: FunctionalGroups, encoding: Encoding, wanted: Wanted) -> Trace:
    end = len(groups.content) if groups.end is None else groups.end
    stop = None if groups.length_is_undefined else end
    trace = trace_items(groups.content, groups.start, stop, encoding, wanted)
    if stop is None and not trace.closed and trace.end != end:
        raise MalformedError(f"item {trace.count + 1} is cut off")
    return trace
