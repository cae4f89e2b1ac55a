"""Dimensions of frames that lie in one plane, made of the attributes that distinguish them.

Times, echoes, b-values and the like come from the Dimension Index of an enhanced object
(PS3.3 C.7.6.17) or from attributes of classic ones. Values that fill a grid are one dimension
each; else every combination is a step along ``volume``; what can't be arranged stays a
sequence of frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xarray_dicom.layout.coordinate import Coordinate

Indices = NDArray[np.intp]
Values = NDArray[np.generic]

VOLUME = "volume"
FRAME = "frame"
PLANE = "z"

_MOST_DIMENSIONS = 5


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Extra dimensions of an image, and the place of each frame along them.

    Attributes
    ----------
    dims
        Name and size of each extra dimension, slowest first.
    coords
        Coordinates of the extra dimensions, then attributes that vary with them or with
        ``z``, by name.
    cells
        For each extra dimension the index of every frame, shape ``(frames,)``.
    has_planes
        True if ``z`` is a dimension too; not so when the dimension is ``frame``.
    warnings
        Texts of warnings.
    """

    dims: tuple[tuple[str, int], ...]
    coords: dict[str, Coordinate]
    cells: tuple[Indices, ...]
    has_planes: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    """An attribute as codes: ``values[codes]`` are the values of frames; values ascend."""

    name: str
    values: Values
    codes: Indices

    @property
    def size(self) -> int:
        return len(self.values)


def arrange(plane: ArrayLike, columns: Mapping[str, ArrayLike]) -> Arrangement:
    """Choose the extra dimensions, given each frame's plane and its attributes.

    Parameters
    ----------
    plane
        Plane of each frame, integers, shape ``(frames,)``.
    columns
        Dimension name to the value of each frame, numbers or strings, shape ``(frames,)``; NaN
        and ``""`` stand for an absent value. Of two that always vary together the earlier one
        names the dimension and the other becomes a coordinate on it.

    Returns
    -------
    Arrangement
        - No extra dimension where no plane has two frames.
        - One dimension per attribute where values fill a grid: every combination occurs, and
          no cell has two frames. Cells without a frame are counted in a warning.
        - Else ``volume``, one step per combination, or, where values differ from plane to plane
          (trigger times), one step per frame of each plane in ascending order.
        - Else ``frame``, with a warning that names the reason.
    """
    planes, z = np.unique(np.asarray(plane), return_inverse=True)
    varying = [c for c in (_encode(k, np.asarray(v)) for k, v in columns.items()) if c.size > 1]
    per_plane = np.bincount(z, minlength=len(planes))
    if per_plane.max(initial=0) <= 1:
        return _place([], [], varying, z, len(planes))

    separating = _distinct([c for c in varying if not _depends(c.codes, z)])
    joint = _joint([c.codes for c in separating], len(z))
    clash = _first_pair(joint * len(planes) + z)
    if clash is not None:
        first, second = clash
        return _sequence(
            varying,
            len(z),
            f"frames {first + 1} and {second + 1} lie in one plane and no attribute tells them "
            "apart, so frames are kept in their order",
        )
    # More than half of the cells must be filled, or values that jitter would look like steps
    filled = 0.5 if per_plane.min() == per_plane.max() else 0.25
    most = ceil(len(z) / (filled * len(planes))) - 1
    grid = _grid(separating, z, len(planes), most)
    if grid:
        return _place([c.name for c in grid], grid, varying, z, len(planes))
    steps = _steps(separating, z, len(planes), most)
    if steps is None and per_plane.min() == per_plane.max():
        steps = _ranks(separating, z)
    if steps is None:
        names = ", ".join(c.name for c in separating)
        return _sequence(
            varying,
            len(z),
            f"planes have {per_plane.min()} to {per_plane.max()} frames with values of {names} "
            "that do not recur from plane to plane, so frames are kept in their order",
        )
    volume = _Column(VOLUME, np.arange(int(steps.max()) + 1), steps)
    return _place([VOLUME], [volume], varying, z, len(planes))


def _encode(name: str, values: Values) -> _Column:
    if values.dtype == object:
        values = values.astype(str)
    distinct, codes = np.unique(values, return_inverse=True)
    return _Column(name, distinct, codes.reshape(-1))


def _depends(codes: Indices, key: Indices) -> bool:
    """Return True if equal keys always have equal codes."""
    sample = np.zeros(int(key.max()) + 1, np.intp)
    sample[key] = codes
    return bool(np.array_equal(sample[key], codes))


def _distinct(columns: Sequence[_Column]) -> list[_Column]:
    """Return the columns without those that always vary together with an earlier one."""
    distinct: list[_Column] = []
    for column in columns:
        if not any(
            column.size == other.size and _depends(column.codes, other.codes) for other in distinct
        ):
            distinct.append(column)
    return distinct


def _joint(codes: Sequence[Indices], n: int) -> Indices:
    """Return the number of each frame's combination, in lexicographic order of the columns."""
    joint = np.zeros(n, np.intp)
    for column in codes:
        combined = joint * (int(column.max(initial=0)) + 1) + column
        joint = np.unique(combined, return_inverse=True)[1].reshape(-1)
    return joint


def _first_pair(cells: Indices) -> tuple[int, int] | None:
    """Return the first two frames that share a cell, if any do."""
    order = np.argsort(cells, kind="stable")
    same = np.flatnonzero(np.diff(cells[order]) == 0)
    if same.size == 0:
        return None
    second = order[same + 1].min()
    first = np.flatnonzero(cells == cells[second])[0]
    return int(first), int(second)


def _subsets(columns: Sequence[_Column]) -> Iterator[tuple[_Column, ...]]:
    """Yield sets of columns: several before few, earlier ones before later ones."""
    for count in range(min(len(columns), _MOST_DIMENSIONS), 1, -1):
        yield from itertools.combinations(columns, count)


def _grid(
    columns: Sequence[_Column], z: Indices, planes: int, most: int
) -> tuple[_Column, ...] | None:
    """Return columns whose combinations all occur and place every frame by itself, if any.

    A single column is a dimension only where nothing else varies within it: a coarser one
    (b-value along with direction) makes the combination a volume.

    Parameters
    ----------
    columns
        Columns to choose from.
    z, planes
        Plane of each frame, and the number of planes.
    most
        Most steps that the dimensions may have together.
    """
    for chosen in _subsets(columns):
        if _fills(chosen, z, planes, most):
            return chosen
    for column in columns:
        if _fills((column,), z, planes, most) and not any(
            _depends(other.codes, column.codes) for other in columns if other is not column
        ):
            return (column,)
    return None


def _fills(chosen: tuple[_Column, ...], z: Indices, planes: int, most: int) -> bool:
    """Return True if the columns are a grid of dimensions; arguments as in `_grid`."""
    cells = prod(column.size for column in chosen)
    if cells > most or cells * planes < len(z):
        return False
    combination = _ravel(chosen)
    every = np.bincount(combination, minlength=cells).all()
    return bool(every) and int(np.bincount(combination * planes + z).max()) == 1


def _steps(columns: Sequence[_Column], z: Indices, planes: int, most: int) -> Indices | None:
    """Return the step of each frame by its combination of recurring values; else None.

    Values recur if they are the same from plane to plane. Arguments as in `_grid`.
    """
    recurring = [column.codes for column in columns if column.size <= most]
    joint = _joint(recurring, len(z))
    if int(joint.max()) + 1 > most or np.bincount(joint * planes + z).max() > 1:
        return None
    return joint


def _ranks(columns: Sequence[_Column], z: Indices) -> Indices:
    """Return the step of each frame by its rank in its plane, by the columns in turn."""
    order = np.lexsort([*(column.codes for column in reversed(columns)), z])
    ranks = np.empty(len(z), np.intp)
    ranks[order] = np.arange(len(z)) % int(np.bincount(z).max())
    return ranks


def _ravel(columns: Sequence[_Column]) -> Indices:
    return np.ravel_multi_index(
        tuple(column.codes for column in columns), tuple(column.size for column in columns)
    )


def _place(
    names: Sequence[str],
    axes: Sequence[_Column],
    varying: Sequence[_Column],
    z: Indices,
    planes: int,
) -> Arrangement:
    """Return the arrangement with `axes` as extra dimensions, other columns as coordinates.

    Parameters
    ----------
    names
        Names of the columns that are dimensions.
    axes
        The extra dimensions.
    varying
        All columns with more than one value.
    z, planes
        Plane of each frame, and the number of planes.
    """
    along = [*axes, _Column(PLANE, np.arange(planes), z)]
    coords = {c.name: Coordinate((c.name,), c.values) for c in axes if c.name != VOLUME}
    coords |= {c.name: _spread(c, along) for c in varying if c.name not in names}
    cells = prod(column.size for column in along)
    empty = cells - len(z)
    warnings = (
        (f"{empty} of {cells} planes have no frame and read as fill",) if axes and empty else ()
    )
    return Arrangement(
        tuple((column.name, column.size) for column in axes),
        coords,
        tuple(column.codes for column in axes),
        warnings=warnings,
    )


def _spread(column: _Column, along: Sequence[_Column]) -> Coordinate:
    """Return a column as a coordinate on as few of the dimensions as determine it."""
    for count in range(1, len(along) + 1):
        for chosen in itertools.combinations(along, count):
            cell = _ravel(chosen)
            if count == len(along) or _depends(column.codes, cell):
                shape = tuple(axis.size for axis in chosen)
                values = _fill(column, cell, prod(shape)).reshape(shape)
                return Coordinate(tuple(axis.name for axis in chosen), values)
    raise AssertionError("every column depends on all dimensions together")


def _fill(column: _Column, cell: Indices, cells: int) -> Values:
    """Return the values by cell; NaN or ``""`` where no frame lies.

    Parameters
    ----------
    column
        Values of the frames.
    cell
        Cell of each frame.
    cells
        Number of cells.
    """
    has_frame = np.zeros(cells, bool)
    has_frame[cell] = True
    codes = np.zeros(cells, np.intp)
    codes[cell] = column.codes
    values = column.values[codes]
    if has_frame.all():
        return values
    if values.dtype.kind in "iub":
        values = values.astype(np.float64)
    values[~has_frame] = np.nan if values.dtype.kind == "f" else values.dtype.type()
    return values


def _sequence(varying: Sequence[_Column], n: int, warning: str) -> Arrangement:
    """Return `n` frames in their own order, with their attributes and the reason for it."""
    coords = {c.name: Coordinate((FRAME,), c.values[c.codes]) for c in varying}
    return Arrangement(((FRAME, n),), coords, (np.arange(n),), False, (warning,))
