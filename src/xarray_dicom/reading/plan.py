"""Plan of a read: frames that a selection touches, and where their pixels go. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import overload

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.layout.placement import Hits, Placement, last_of_each

Int64s = NDArray[np.int64]

#: What an axis is indexed by: an integer drops the axis; slices have positive steps.
AxisKey = int | np.integer | slice | Int64s

Picks = slice | Int64s

#: Frames of a read that are planned without NumPy, whose calls cost more then.
FEW = 64


@dataclass(frozen=True, slots=True)
class Run:
    """An arithmetic progression of positions on one axis."""

    start: int
    step: int
    count: int

    @property
    def bounds(self) -> tuple[int, int]:
        """First position, and one behind the last."""
        return self.start, self.start + (self.count - 1) * self.step + 1

    def positions(self) -> Int64s:
        """Return every position."""
        return self.start + self.step * np.arange(self.count, dtype=np.int64)

    def overlap(self, start: int, size: int) -> tuple[Picks, Picks, int]:
        """Return the picks in ``start:start + size``, their output positions, and their count."""
        first = max(0, -(-(start - self.start) // self.step))
        stop = min(self.count, -(-(start + size - self.start) // self.step))
        if stop <= first:
            return slice(0, 0), slice(0, 0), 0
        begin = self.start + first * self.step - start
        end = begin + (stop - first - 1) * self.step + 1
        return slice(begin, end, self.step), slice(first, stop), stop - first


@dataclass(frozen=True, slots=True)
class Scatter:
    """Arbitrary positions on one axis: unsorted, repeated."""

    asked: Int64s
    order: Int64s
    ascending: Int64s

    @classmethod
    def of(cls, asked: Int64s) -> Scatter:
        """Sort the positions once, so that each frame finds its own by bisection."""
        order = np.argsort(asked, kind="stable")
        return cls(asked, order, asked[order])

    @property
    def count(self) -> int:
        """Number of positions."""
        return len(self.asked)

    @property
    def bounds(self) -> tuple[int, int]:
        """First position, and one behind the last."""
        return int(self.ascending[0]), int(self.ascending[-1]) + 1

    def positions(self) -> Int64s:
        """Return every position."""
        return self.asked

    def overlap(self, start: int, size: int) -> tuple[Picks, Picks, int]:
        """Return the picks in ``start:start + size``, their output positions, and their count."""
        low, high = np.searchsorted(self.ascending, (start, start + size))
        return self.ascending[low:high] - start, self.order[low:high], int(high - low)


AxisPicks = Run | Scatter


def axis_picks(key: AxisKey, size: int) -> AxisPicks:
    """Return the positions that `key` picks on an axis of `size`.

    Raises
    ------
    IndexError
        If a position lies outside the axis.
    """
    if isinstance(key, slice):
        picked = range(*key.indices(size))
        if picked.step < 0:
            return Scatter.of(np.asarray(picked, dtype=np.int64))
        return Run(picked.start, picked.step, len(picked))
    positions = np.asarray(key)
    if positions.size and (positions.min() < -size or positions.max() >= size):
        raise IndexError(f"index {key} is out of bounds for an axis of size {size}")
    positions = np.where(positions < 0, positions + size, positions).astype(np.int64)
    if positions.ndim == 0:
        return Run(int(positions), 1, 1)
    return Scatter.of(positions)


@dataclass(frozen=True, slots=True)
class Target:
    """One frame of a read, and the part of the output that it fills.

    ``output[row, into_y, into_x] = frame[from_y, from_x]`` for every `row` of `rows`, with
    the outer axes of the output flattened to rows.
    """

    frame: int
    rows: Int64s
    from_y: Picks
    from_x: Picks
    into_y: Picks
    into_x: Picks


@dataclass(frozen=True, slots=True, eq=False)
class Targets(Sequence[Target]):
    """Targets of an orthogonal selection as columns; each is made on access.

    Attributes
    ----------
    frame
        Frame numbers, shape ``(targets,)``.
    rows, ends
        Rows of all targets one after another, and where those of each target end.
    y, x
        Which of the overlaps each target has, shape ``(targets,)``.
    overlaps_y, overlaps_x
        What frames can have of the picks of an axis: inside the frame, in the output.
    aligned
        Whether all targets fill the same rectangle, each of rows of its own.
    """

    frame: Int64s
    rows: Int64s
    ends: Int64s
    y: NDArray[np.intp]
    x: NDArray[np.intp]
    overlaps_y: Sequence[tuple[Picks, Picks]]
    overlaps_x: Sequence[tuple[Picks, Picks]]
    aligned: bool

    def __len__(self) -> int:
        return len(self.frame)

    @overload
    def __getitem__(self, index: int) -> Target: ...

    @overload
    def __getitem__(self, index: slice) -> list[Target]: ...

    def __getitem__(self, index: int | slice) -> Target | list[Target]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        from_y, into_y = self.overlaps_y[self.y[index]]
        from_x, into_x = self.overlaps_x[self.x[index]]
        rows = self.rows_of(index, index + 1)
        return Target(int(self.frame[index]), rows, from_y, from_x, into_y, into_x)

    def rows_of(self, first: int, last: int) -> Int64s:
        """Return the rows of the targets ``first:last``, one target after another."""
        return self.rows[(self.ends[first - 1] if first else 0) : self.ends[last - 1]]


@dataclass(frozen=True, slots=True)
class Plan:
    """All frames of one read, in the order of their numbers, each named once or more.

    Attributes
    ----------
    targets
        What to read and where it goes.
    frames
        The frame number of each target.
    covered
        Whether the targets fill the whole output.
    overlapping
        Whether targets may share pixels of the output, of which later frames win.
    """

    targets: Sequence[Target]
    frames: Int64s
    covered: bool
    overlapping: bool


_NOTHING = Plan([], np.zeros(0, np.int64), covered=True, overlapping=False)


def plan_outer(
    placement: Placement,
    outer_shape: tuple[int, ...],
    tile: tuple[int, int],
    outer: Sequence[AxisPicks],
    y: AxisPicks,
    x: AxisPicks,
    ordered: bool = True,
) -> Plan:
    """Plan an orthogonal selection.

    Parameters
    ----------
    placement
        Where the frames lie.
    outer_shape
        Sizes of the outer axes.
    tile
        Rows and columns of one frame.
    outer, y, x
        The positions picked on each axis.
    ordered
        Whether later frames win where frames overlap, so that those hidden are not read.
    """
    counts = [picks.count for picks in outer]
    if not prod(counts) or not y.count or not x.count:
        return _NOTHING
    asked = np.zeros(counts, np.int64)
    for axis, (picks, size) in enumerate(zip(outer, outer_shape, strict=True)):
        shape = [-1 if a == axis else 1 for a in range(len(counts))]
        asked = asked * size + picks.positions().reshape(shape)
    cells, by_cell, ends = _grouped(asked.reshape(-1))

    overlapping = ordered and placement.overlapping
    hits = _visible(placement.find(cells, y.bounds, x.bounds), overlapping)
    order = np.argsort(hits.frame, kind="stable")
    overlaps_y, n_y, at_y = _overlaps(y, tile[0], hits.y[order])
    overlaps_x, n_x, at_x = _overlaps(x, tile[1], hits.x[order])
    areas = n_y * n_x
    if not areas.all():
        meets = np.flatnonzero(areas)
        order, at_y, at_x, areas = order[meets], at_y[meets], at_x[meets], areas[meets]
    cell = hits.cell[order]
    frames = hits.frame[order]
    if by_cell is None:
        rows, stops = cell, np.arange(1, len(cell) + 1)
        filled = int(areas.sum())
    else:
        rows, stops, n_rows = _rows(cell, by_cell, ends)
        filled = int((areas * n_rows).sum())
    covered = not overlapping and filled == asked.size * y.count * x.count
    aligned = bool((at_y == at_y[:1]).all() and (at_x == at_x[:1]).all())
    targets = Targets(frames, rows, stops, at_y, at_x, overlaps_y, overlaps_x, aligned)
    return Plan(targets, frames, covered, overlapping)


def _grouped(asked: Int64s) -> tuple[Int64s, Int64s | None, Int64s]:
    """Group positions by cell.

    Returns
    -------
    tuple
        The distinct cells, the positions of all of them by cell, and where those of each cell
        end; no positions where cells ascend, so that each has one, its own.
    """
    if len(asked) < 2 or (asked[1:] > asked[:-1]).all():
        return asked, None, asked
    cells, counts = np.unique(asked, return_counts=True)
    return cells, np.argsort(asked, kind="stable"), np.cumsum(counts)


def _rows(cell: Int64s, by_cell: Int64s, ends: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Return the rows of targets one after another, where those of each end, and their counts."""
    n_rows = np.diff(ends, prepend=0)[cell]
    stops = np.cumsum(n_rows)
    within = np.arange(n_rows.sum()) - np.repeat(stops - n_rows, n_rows)
    places = np.repeat(ends[cell] - n_rows, n_rows) + within
    return by_cell[places], stops, n_rows


def _overlaps(
    picks: AxisPicks, size: int, starts: Int64s
) -> tuple[list[tuple[Picks, Picks]], Int64s, NDArray[np.intp]]:
    """Return the distinct overlaps of frames at `starts`, and for each frame its picks and overlap.

    Returns
    -------
    tuple
        The distinct overlaps; for each frame how many positions it has; and which overlap.
    """
    if len(starts) <= FEW:
        # For few frames a dictionary is ten times as fast as `unique`.
        values = starts.tolist()
        numbers = {start: number for number, start in enumerate(dict.fromkeys(values))}
        distinct = list(numbers)
        which = np.array([numbers[start] for start in values], np.intp)
    elif (starts == starts[0]).all():
        distinct, which = starts[:1].tolist(), np.zeros(len(starts), np.intp)
    else:
        unique, which = np.unique(starts, return_inverse=True)
        distinct = unique.tolist()
    overlaps = [picks.overlap(start, size) for start in distinct]
    counts = np.array([count for _, _, count in overlaps], np.int64)
    return [(inside, into) for inside, into, _ in overlaps], counts[which], which


def _visible(hits: Hits, overlapping: bool) -> Hits:
    """Drop frames that a later one hides entirely."""
    if not overlapping:
        return hits
    top = last_of_each(hits.cell, hits.y, hits.x)
    return Hits(hits.frame[top], hits.cell[top], hits.y[top], hits.x[top])


def plan_points(
    placement: Placement,
    outer_shape: tuple[int, ...],
    tile: tuple[int, int],
    outer: Sequence[Int64s],
    y: Int64s,
    x: Int64s,
    ordered: bool = True,
) -> Plan:
    """Plan a pointwise selection: 1-D positions of equal length, one per axis.

    The output has one row; each target picks points of its frame by position in that row:
    ``output[into_y] = frame[from_y, from_x]``.
    """
    n = len(y)
    if not n:
        return _NOTHING
    cell = np.zeros(n, np.int64)
    for positions, size in zip(outer, outer_shape, strict=True):
        cell = cell * size + positions
    order = np.lexsort((y, cell))
    cells, starts = np.unique(cell[order], return_index=True)
    ends = np.append(starts[1:], n)
    overlapping = ordered and placement.overlapping
    bounds = [(int(places.min()), int(places.max()) + 1) for places in (y, x)]
    hits = _visible(placement.find(cells, bounds[0], bounds[1]), overlapping)
    sorted_y, sorted_x = y[order], x[order]
    targets = []
    touched: list[int] = []
    filled = 0
    none = np.zeros(0, np.int64)
    for hit in np.argsort(hits.frame, kind="stable").tolist():
        start, end = starts[hits.cell[hit]], ends[hits.cell[hit]]
        top, left = int(hits.y[hit]), int(hits.x[hit])
        low, high = start + np.searchsorted(sorted_y[start:end], (top, top + tile[0]))
        across = sorted_x[low:high]
        inside = np.flatnonzero((across >= left) & (across < left + tile[1])) + low
        if not len(inside):
            continue
        targets.append(
            Target(
                int(hits.frame[hit]),
                none,
                sorted_y[inside] - top,
                sorted_x[inside] - left,
                order[inside],
                none,
            )
        )
        touched.append(hit)
        filled += len(inside)
    covered = not overlapping and filled == n
    return Plan(targets, hits.frame[touched], covered, overlapping)
