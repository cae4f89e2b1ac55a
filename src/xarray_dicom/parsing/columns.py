"""Per-frame functional groups as columns (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.notices import notice
from xarray_dicom.parsing.elements import Column, FunctionalGroups, Path
from xarray_dicom.parsing.encoding import (
    Encoding,
    IncompleteError,
    MalformedError,
    tag_name,
)
from xarray_dicom.parsing.items import trace_items
from xarray_dicom.parsing.lockstep import Leaves
from xarray_dicom.parsing.values import UnevenValuesError, decode
from xarray_dicom.parsing.walk import Wanted


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
    stop = None if groups.length_is_undefined else len(groups.content)
    try:
        trace = trace_items(groups.content, 0, stop, encoding, wanted)
        if stop is None and not trace.closed and trace.end != len(groups.content):
            raise MalformedError(f"item {trace.count + 1} is cut off")
    except (MalformedError, IncompleteError) as error:
        raise CorruptDicomError(f"{place}: {error}") from error
    counts = f"{place} has {trace.count} items, but Number of Frames (0028,0008) is {n_frames}"
    if trace.count < n_frames:
        raise CorruptDicomError(counts)
    if trace.count > n_frames:
        notice(f"{counts}; the last items are passed over")
    octets = np.frombuffer(groups.content, np.uint8)
    columns = {}
    for path, vr in paths.items():
        try:
            column = _column(octets, trace.leaves.get(path, []), vr, trace.count, encoding)
            columns[path] = Column(column.values[:n_frames], column.count[:n_frames])
        except (ValueError, OverflowError, UnevenValuesError, RuntimeWarning) as error:
            names = " > ".join(tag_name(tag) for tag in path)
            raise CorruptDicomError(f"{place}: {names} can't be read: {error}") from error
    return Columns(columns, trace.walked)


def _column(
    octets: NDArray[np.uint8],
    parts: list[Leaves],
    declared: str,
    n_frames: int,
    encoding: Encoding,
) -> Column:
    def joined(arrays: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.concatenate(arrays) if arrays else np.empty(0, np.int64)

    codes = np.concatenate([part.vr for part in parts]) if parts else np.empty(0, np.uint16)
    return decode(
        octets,
        joined([part.item for part in parts]),
        joined([part.offset for part in parts]),
        joined([part.length for part in parts]),
        _names(codes, declared),
        declared,
        n_frames,
        encoding.little_endian,
    )


def _names(codes: NDArray[np.uint16], declared: str) -> NDArray[np.str_]:
    """VRs as text; the declared one where the bytes state none, or UN."""
    different, again = np.unique(codes, return_inverse=True)
    names = []
    for code in different:
        stated = int(code).to_bytes(2, "little").decode("latin-1")
        names.append(declared if code == 0 or stated == "UN" else stated)
    return np.array(names, "U2")[again]
