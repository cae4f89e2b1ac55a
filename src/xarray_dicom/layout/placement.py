"""Where frames lie in an array: its outer cells, and a rectangle of each cell's plane.

The outer axes of an array (segment, optical path, z, …) are flattened to one cell number
in row-major order; a frame covers a rectangle of the plane of one cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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
        order = np.lexsort((frame, cell))
        zeros = np.broadcast_to(np.int32(0), frame.shape)
        self.frame = frame[order].astype(np.int32)
        self.cell = cell[order].astype(np.int64)
        self.y = zeros if y is None else y[order].astype(np.int32)
        self.x = zeros if x is None else x[order].astype(np.int32)
        self.n_cells = n_cells
        self.plane = plane
        self.tile = tile

    def __reduce__(self) -> tuple[Any, ...]:
        whole = not self.y.strides[0] and not self.x.strides[0] if len(self.y) else True
        places = (None, None) if whole else (np.asarray(self.y), np.asarray(self.x))
        return _restore_placed, (
            self.frame,
            self.cell,
            *places,
            self.n_cells,
            self.plane,
            self.tile,
        )

    @cached_property
    def complete(self) -> bool:
        """Whether every pixel of every cell is covered by a frame."""
        if self.overlapping:
            # A count can't tell a pixel covered twice from two pixels; overlaps are rare.
            return self._covered_exactly()
        rows = np.minimum(self.y + self.tile[0], self.plane[0]) - np.maximum(self.y, 0)
        columns = np.minimum(self.x + self.tile[1], self.plane[1]) - np.maximum(self.x, 0)
        area = np.maximum(rows, 0).astype(np.int64) * np.maximum(columns, 0)
        return int(area.sum()) == self.n_cells * self.plane[0] * self.plane[1]

    @cached_property
    def overlapping(self) -> bool:
        """Whether two frames cover the same pixel."""
        if len(self.frame) < 2:
            return False
        if self.tile == self.plane:
            return bool((np.diff(self.cell) == 0).any())
        on_grid = not (self.y % self.tile[0]).any() and not (self.x % self.tile[1]).any()
        if on_grid:
            places = np.stack([self.cell, self.y, self.x])
            return bool(np.unique(places, axis=1).shape[1] < len(self.frame))
        order = np.lexsort((self.y, self.cell))
        cell, y, x = self.cell[order], self.y[order], self.x[order]
        for lag in range(1, len(order)):
            near = (cell[lag:] == cell[:-lag]) & (y[lag:] - y[:-lag] < self.tile[0])
            if not near.any():
                return False
            if (near & (np.abs(x[lag:] - x[:-lag]) < self.tile[1])).any():
                return True
        return False

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

    def _covered_exactly(self) -> bool:
        if len(np.unique(self.cell)) < self.n_cells:
            return False
        if self.tile == self.plane:
            return True
        covered = np.zeros(self.plane, bool)
        for cell in range(self.n_cells):
            covered[:] = False
            one, two = np.searchsorted(self.cell, [cell, cell + 1])
            for top, left in zip(self.y[one:two], self.x[one:two], strict=True):
                covered[
                    max(top, 0) : max(top + self.tile[0], 0),
                    max(left, 0) : max(left + self.tile[1], 0),
                ] = True
            if not covered.all():
                return False
        return True


def _restore_placed(
    frame: Int64s,
    cell: Int64s,
    y: Int64s | None,
    x: Int64s | None,
    n_cells: int,
    plane: tuple[int, int],
    tile: tuple[int, int],
) -> Placed:
    return Placed(frame, cell, y, x, n_cells=n_cells, plane=plane, tile=tile)
