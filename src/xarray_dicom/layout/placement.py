"""Where frames lie in an array: its outer cells, and a rectangle of each cell's plane.

The outer axes of an array (segment, optical path, z, …) are flattened to one cell number
in row-major order; a frame covers a rectangle of the plane of one cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hits:
    """Frames that a selection touches, in ascending order of cell, then frame.

    Attributes
    ----------
    frame
        Frame numbers, counted from 0 through all instances.
    cell
        For each frame, the position of its cell in the cells asked for.
    y, x
        Row and column of each frame's first pixel in the plane; may be negative.
    """

    frame: Int64s
    cell: Int64s
    y: Int64s
    x: Int64s


class Placement(Protocol):
    """Which frames cover which part of an array."""

    @property
    def complete(self) -> bool:
        """Whether every pixel of every cell is covered by a frame."""
        ...

    @property
    def overlapping(self) -> bool:
        """Whether two frames cover the same pixel."""
        ...

    def find(self, cells: Int64s, y: tuple[int, int], x: tuple[int, int]) -> Hits:
        """Frames that meet rows ``y[0]:y[1]`` and columns ``x[0]:x[1]`` of the distinct `cells`."""
        ...

    def inside(self, frame: int) -> tuple[int, int]:
        """Rows and columns of a frame, counted from its first, that reach into the plane."""
        ...


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Every tile of every plane is stored, in raster order (PS3.3 C.7.6.17.3, TILED_FULL).

    Attributes
    ----------
    rows, columns
        Size of the total pixel matrix, in pixels.
    tile_rows, tile_columns
        Size of one frame, in pixels.
    planes
        For each cell the number of its plane in the order stored, -1 where none is.
    """

    rows: int
    columns: int
    tile_rows: int
    tile_columns: int
    planes: Int64s

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles down and across one plane."""
        return -(-self.rows // self.tile_rows), -(-self.columns // self.tile_columns)

    @property
    def complete(self) -> bool:
        """Whether no plane is missing."""
        return bool((self.planes >= 0).all())

    @property
    def overlapping(self) -> bool:
        """Tiles of a grid never overlap."""
        return False

    def find(self, cells: Int64s, y: tuple[int, int], x: tuple[int, int]) -> Hits:
        """Arithmetic on the raster order; see `Placement.find`."""
        down, across = self.grid
        tile_y = np.arange(max(y[0], 0) // self.tile_rows, min(-(-y[1] // self.tile_rows), down))
        tile_x = np.arange(
            max(x[0], 0) // self.tile_columns, min(-(-x[1] // self.tile_columns), across)
        )
        stored = np.flatnonzero(self.planes[cells] >= 0)
        planes = self.planes[cells[stored]]
        shape = (len(stored), len(tile_y), len(tile_x))
        frame = (planes[:, None, None] * down + tile_y[:, None]) * across + tile_x
        return Hits(
            frame.reshape(-1),
            np.broadcast_to(stored[:, None, None], shape).reshape(-1),
            np.broadcast_to(tile_y[:, None] * self.tile_rows, shape).reshape(-1),
            np.broadcast_to(tile_x * self.tile_columns, shape).reshape(-1),
        )

    def inside(self, frame: int) -> tuple[int, int]:
        """What is left of the matrix at a tile; see `Placement.inside`."""
        down, across = self.grid
        row, column = divmod(frame % (down * across), across)
        return (
            min(self.tile_rows, self.rows - row * self.tile_rows),
            min(self.tile_columns, self.columns - column * self.tile_columns),
        )


class Placed:
    """Frames placed one by one: stacks, sparse tiles, segments.

    Parameters
    ----------
    frame, cell
        Number and cell of each frame. Frames that are not named are not part of the array.
    y, x
        Row and column of each frame's first pixel; None when every frame starts at 0.
    n_cells
        Cells of the array.
    plane, tile
        Size of one plane and of one frame, ``(rows, columns)`` in pixels.
    """

    def __init__(
        self,
        frame: Int64s,
        cell: Int64s,
        y: Int64s | None,
        x: Int64s | None,
        *,
        n_cells: int,
        plane: tuple[int, int],
        tile: tuple[int, int],
    ) -> None:
        order = _order(cell, frame)
        zeros = np.broadcast_to(np.int32(0), frame.shape)
        self.frame = frame[order].astype(np.int32)
        self.cell = cell[order].astype(np.int64)
        self.y = zeros if y is None else y[order].astype(np.int32)
        self.x = zeros if x is None else x[order].astype(np.int32)
        self.n_cells = n_cells
        self.plane = plane
        self.tile = tile

    @property
    def _at_origin(self) -> bool:
        """Whether every frame is known to start at the first pixel of its plane."""
        return not len(self.y) or not (self.y.strides[0] or self.x.strides[0])

    def __reduce__(self) -> tuple[Any, ...]:
        places = (None, None) if self._at_origin else (np.asarray(self.y), np.asarray(self.x))
        place = partial(Placed, n_cells=self.n_cells, plane=self.plane, tile=self.tile)
        return place, (self.frame, self.cell, *places)

    @cached_property
    def complete(self) -> bool:
        """Whether every pixel of every cell is known to be covered by a frame.

        Frames that lie partly over each other are not: counting pixels can't tell.
        """
        topmost = self._topmost
        if not self._at_origin and _meet(
            self.cell[topmost], self.y[topmost], self.x[topmost], self.tile
        ):
            return False
        rows, columns = (
            np.minimum(start[topmost].astype(np.int64) + size, limit)
            - np.maximum(start[topmost], 0)
            for start, size, limit in zip((self.y, self.x), self.tile, self.plane, strict=True)
        )
        area = np.maximum(rows, 0) * np.maximum(columns, 0)
        return int(area.sum()) == self.n_cells * self.plane[0] * self.plane[1]

    @cached_property
    def overlapping(self) -> bool:
        """Whether two frames cover the same pixel."""
        if len(self._topmost) < len(self.frame):
            return True
        return not self._at_origin and _meet(self.cell, self.y, self.x, self.tile)

    @property
    def _topmost(self) -> NDArray[np.intp]:
        """Positions of the last frame of each place."""
        if self._at_origin:
            return np.flatnonzero(
                np.append(self.cell[1:] != self.cell[:-1], True)[: len(self.cell)]
            )
        return last_of_each(self.cell, self.y, self.x)

    def find(self, cells: Int64s, y: tuple[int, int], x: tuple[int, int]) -> Hits:
        """Bisect by cell, then compare rectangles; see `Placement.find`."""
        first = np.searchsorted(self.cell, cells, "left")
        count = np.searchsorted(self.cell, cells, "right") - first
        position = np.repeat(np.arange(len(cells)), count)
        within = np.arange(len(position)) - np.repeat(np.cumsum(count) - count, count)
        entry = np.repeat(first, count) + within
        top, left = self.y[entry], self.x[entry]
        meets = (
            (top < y[1])
            & (top + self.tile[0] > y[0])
            & (left < x[1])
            & (left + self.tile[1] > x[0])
        )
        entry = entry[meets]
        return Hits(
            self.frame[entry].astype(np.int64),
            position[meets],
            self.y[entry].astype(np.int64),
            self.x[entry].astype(np.int64),
        )

    def inside(self, frame: int) -> tuple[int, int]:
        """What is left of the plane at the place of a frame; see `Placement.inside`."""
        entry = int(np.flatnonzero(self.frame == frame)[0])
        return (
            min(self.tile[0], self.plane[0] - int(self.y[entry])),
            min(self.tile[1], self.plane[1] - int(self.x[entry])),
        )


def _order(cell: Int64s, frame: Int64s) -> slice | NDArray[np.intp]:
    """What sorts by cell, then by frame; most files are sorted so already."""
    after = (cell[1:] > cell[:-1]) | ((cell[1:] == cell[:-1]) & (frame[1:] >= frame[:-1]))
    return slice(None) if after.all() else np.lexsort((frame, cell))


def last_of_each(*columns: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Positions, ascending, of the last row of each set of rows that are equal in every column."""
    order = np.lexsort(columns)
    differs = np.zeros(max(len(order) - 1, 0), bool)
    for column in columns:
        ordered = column[order]
        differs |= ordered[1:] != ordered[:-1]
    # `lexsort` is stable, so the last of equal rows stands last.
    return np.sort(order[np.append(differs, True)[: len(order)]])


def _meet(
    cell: Int64s,
    y: NDArray[np.integer[Any]],
    x: NDArray[np.integer[Any]],
    tile: tuple[int, int],
) -> bool:
    """Whether any two of the frames at these places, all different, share a pixel.

    In bins as large as a frame, a frame meets whatever is in its own bin, and else can meet
    only frames of the eight bins around.
    """
    if len(cell) < 2:
        return False
    row, column = y // tile[0], x // tile[1]
    rows, columns = np.unique(row), np.unique(column)

    def bins(down: int, across: int) -> Int64s:
        r, r_there = _position(rows, row + down)
        c, c_there = _position(columns, column + across)
        return np.where(r_there & c_there, (cell * len(rows) + r) * len(columns) + c, -1)

    own = bins(0, 0)
    order = np.argsort(own, kind="stable")
    ordered = own[order]
    if not np.diff(ordered).all():
        return True
    for down, across in ((0, 1), (1, -1), (1, 0), (1, 1)):
        at, there = _position(ordered, bins(down, across))
        near = order[at]
        close = (np.abs(y[near] - y) < tile[0]) & (np.abs(x[near] - x) < tile[1])
        if (there & close).any():
            return True
    return False


def _position(
    ascending: NDArray[Any], wanted: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each wanted value stands, and whether it does."""
    at = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return at, ascending[at] == wanted
