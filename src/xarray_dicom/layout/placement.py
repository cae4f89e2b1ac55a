"""Placement of frames in an array: a cell of its outer axes, and a rectangle of that plane.

The outer axes of an array (segment, optical path, z, …) are flattened to one cell number
in row-major order; a frame covers a rectangle of the plane of one cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.layout.overlap import cells_of_overlap

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hits:
    """Frames that a selection touches, in ascending order of cell, then frame.

    A frame that is placed twice is listed twice.

    Attributes
    ----------
    frame
        Frame numbers, counted from 0 through all instances.
    cell
        For each frame, the position of its cell in the cells of the selection.
    y, x
        Row and column of each frame's first pixel in the plane; may be negative.
    """

    frame: Int64s
    cell: Int64s
    y: Int64s
    x: Int64s


class Placement(Protocol):
    """The part of an array that each frame covers.

    It answers four questions: which frames a selection touches (`find`), where all of them
    are (`every`), which frame each tile is where tiles are a grid (`chunk_grid`), and what no
    frame covers (`absent`). Each takes time in proportion to the frames, and no Python loop.
    """

    @property
    def plane(self) -> tuple[int, int]:
        """Rows and columns of the plane of a cell."""
        ...

    @property
    def complete(self) -> bool:
        """Return True if every pixel of every cell is covered by a frame."""
        ...

    @property
    def overlapping(self) -> bool:
        """Return True if two frames cover the same pixel."""
        ...

    def find(self, cells: Int64s, y: tuple[int, int], x: tuple[int, int]) -> Hits:
        """Return the frames that touch a box of rows and columns in some cells.

        Parameters
        ----------
        cells
            Numbers of the cells, none twice.
        y, x
            First row and column, and those after the last.
        """
        ...

    def every(self) -> Hits:
        """Return every frame of the array, with the number of its cell.

        Frames that lie outside of their plane are no part of the array.
        """
        ...

    def chunk_grid(self) -> Int64s | None:
        """Return the frame number at each tile, where the tiles of all planes are a grid.

        Returns
        -------
        array or None
            Frame numbers, -1 where no frame is stored, shape ``(cells, down, across)``; tiles
            of the last row and column may reach beyond the plane. None where a frame starts
            elsewhere than at a multiple of the tile size, or two frames have one place.
        """
        ...

    def absent(self) -> Int64s:
        """Return the cells that have pixels without a frame, ascending.

        None exactly where `complete`: cells in which frames lie partly over each other are
        counted in, since the area of frames does not tell if they cover the plane.
        """
        ...

    def inside(self, frame: int) -> tuple[int, int]:
        """Return how many rows and columns of a frame, from its first, lie in the plane."""
        ...


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Planes of which every tile is stored, in raster order (PS3.3 C.7.6.17.3, TILED_FULL).

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
        """Number of tiles down and across one plane."""
        return -(-self.rows // self.tile_rows), -(-self.columns // self.tile_columns)

    @property
    def plane(self) -> tuple[int, int]:
        """Rows and columns of the total pixel matrix."""
        return self.rows, self.columns

    @property
    def complete(self) -> bool:
        """Return True if no plane is missing."""
        return bool((self.planes >= 0).all())

    @property
    def overlapping(self) -> bool:
        """Return False: tiles of a grid never overlap."""
        return False

    def find(self, cells: Int64s, y: tuple[int, int], x: tuple[int, int]) -> Hits:
        """Compute frame numbers from the raster order; see `Placement.find`."""
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

    def every(self) -> Hits:
        """Return every tile of the planes that are stored; see `Placement.every`."""
        cells = np.arange(len(self.planes), dtype=np.int64)
        return self.find(cells, (0, self.rows), (0, self.columns))

    def chunk_grid(self) -> Int64s:
        """Return the frame number at each tile; see `Placement.chunk_grid`."""
        down, across = self.grid
        tiles = np.arange(down * across, dtype=np.int64)
        planes = self.planes[:, None].astype(np.int64)
        frame = np.where(planes >= 0, planes * (down * across) + tiles, -1)
        return frame.reshape(len(self.planes), down, across)

    def absent(self) -> Int64s:
        """Return the cells without a plane; see `Placement.absent`."""
        return np.flatnonzero(self.planes < 0).astype(np.int64)

    def inside(self, frame: int) -> tuple[int, int]:
        """Return the part of a tile inside the matrix; see `Placement.inside`."""
        down, across = self.grid
        row, column = divmod(frame % (down * across), across)
        return (
            min(self.tile_rows, self.rows - row * self.tile_rows),
            min(self.tile_columns, self.columns - column * self.tile_columns),
        )


class Placed:
    """Frames that each have a place of their own: stacks, sparse tiles, segments.

    Parameters
    ----------
    frame, cell
        Number and cell of each frame. Frames that are not listed are not part of the array.
    y, x
        Row and column of each frame's first pixel; None when every frame starts at 0.
    n_cells
        Number of cells of the array.
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
        """Return True if every frame was placed without a row and column."""
        return not len(self.y) or not (self.y.strides[0] or self.x.strides[0])

    def __reduce__(self) -> tuple[Any, ...]:
        places = (None, None) if self._at_origin else (np.asarray(self.y), np.asarray(self.x))
        place = partial(Placed, n_cells=self.n_cells, plane=self.plane, tile=self.tile)
        return place, (self.frame, self.cell, *places)

    @cached_property
    def complete(self) -> bool:
        """Return True if every pixel of every cell is known to be covered by a frame.

        It is not where frames lie partly over each other: their area does not tell.
        """
        topmost = self._topmost
        if len(self._shared_cells(topmost)):
            return False
        return int(self._area(topmost).sum()) == self.n_cells * self.plane[0] * self.plane[1]

    @cached_property
    def overlapping(self) -> bool:
        """Return True if two frames cover the same pixel."""
        topmost = self._topmost
        return len(topmost) < len(self.frame) or bool(len(self._shared_cells(topmost)))

    def _area(self, entries: NDArray[np.intp]) -> Int64s:
        """Return the number of pixels of each entry that lie in its plane."""
        rows, columns = (
            np.minimum(start[entries].astype(np.int64) + size, limit)
            - np.maximum(start[entries], 0)
            for start, size, limit in zip((self.y, self.x), self.tile, self.plane, strict=True)
        )
        area: Int64s = np.maximum(rows, 0) * np.maximum(columns, 0)
        return area

    def _shared_cells(self, entries: NDArray[np.intp]) -> Int64s:
        """Return the cells in which two of the entries, all at different places, overlap."""
        return cells_of_overlap(self.cell[entries], self.y[entries], self.x[entries], self.tile)

    @property
    def _topmost(self) -> NDArray[np.intp]:
        """Return the entries of the last frame of each place."""
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
        touches = _touch(self.y[entry], y, self.tile[0]) & _touch(self.x[entry], x, self.tile[1])
        return self._hits(entry[touches], position[touches])

    def every(self) -> Hits:
        """Return the frames that reach into their plane; see `Placement.every`."""
        inside = _touch(self.y, (0, self.plane[0]), self.tile[0])
        inside &= _touch(self.x, (0, self.plane[1]), self.tile[1])
        entry = np.flatnonzero(inside)
        return self._hits(entry, self.cell[entry])

    def _hits(self, entry: NDArray[np.intp], cell: Int64s) -> Hits:
        return Hits(
            self.frame[entry].astype(np.int64),
            cell,
            self.y[entry].astype(np.int64),
            self.x[entry].astype(np.int64),
        )

    def chunk_grid(self) -> Int64s | None:
        """Return the frame number at each tile, if tiles are a grid; see `Placement.chunk_grid`."""
        hits = self.every()
        rows, columns = self.tile
        starts = (hits.y, rows), (hits.x, columns)
        if any((start < 0).any() or (start % size).any() for start, size in starts):
            return None
        down, across = -(-self.plane[0] // rows), -(-self.plane[1] // columns)
        tile = (hits.cell * down + hits.y // rows) * across + hits.x // columns
        grid = np.full(self.n_cells * down * across, -1, np.int64)
        grid[tile] = hits.frame
        if np.count_nonzero(grid >= 0) < len(tile):
            return None
        return grid.reshape(self.n_cells, down, across)

    def absent(self) -> Int64s:
        """Return the cells not known to be covered; see `Placement.absent`."""
        topmost = self._topmost
        cells, first = np.unique(self.cell[topmost], return_index=True)
        covered = np.zeros(self.n_cells, bool)
        if len(cells):
            area = np.add.reduceat(self._area(topmost), first)
            covered[cells[area == self.plane[0] * self.plane[1]]] = True
        covered[self._shared_cells(topmost)] = False
        return np.flatnonzero(~covered).astype(np.int64)

    def inside(self, frame: int) -> tuple[int, int]:
        """Return the part of a frame inside the plane; see `Placement.inside`."""
        entry = int(np.flatnonzero(self.frame == frame)[0])
        return (
            min(self.tile[0], self.plane[0] - int(self.y[entry])),
            min(self.tile[1], self.plane[1] - int(self.x[entry])),
        )


def _order(cell: Int64s, frame: Int64s) -> slice | NDArray[np.intp]:
    """Return the order by cell, then by frame, in which most files are already."""
    after = (cell[1:] > cell[:-1]) | ((cell[1:] == cell[:-1]) & (frame[1:] >= frame[:-1]))
    return slice(None) if after.all() else np.lexsort((frame, cell))


def last_of_each(*columns: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Return the positions, ascending, of the last of the rows that are equal in every column."""
    order = np.lexsort(columns)
    differs = np.zeros(max(len(order) - 1, 0), bool)
    for column in columns:
        ordered = column[order]
        differs |= ordered[1:] != ordered[:-1]
    # `lexsort` is stable, so the last of equal rows stands last.
    return np.sort(order[np.append(differs, True)[: len(order)]])


def _touch(
    start: NDArray[np.integer[Any]], bounds: tuple[int, int], size: int
) -> NDArray[np.bool_]:
    """Return which runs of `size` pixels from each `start` reach into ``bounds``."""
    return (start < bounds[1]) & (start + size > bounds[0])
