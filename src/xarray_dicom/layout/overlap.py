"""Overlap of frames of one size that lie anywhere in planes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


def cells_of_overlap(
    cell: Int64s,
    y: NDArray[np.integer[Any]],
    x: NDArray[np.integer[Any]],
    tile: tuple[int, int],
) -> Int64s:
    """Return the cells in which any two frames, all at different places, share a pixel.

    In bins as large as a frame, a frame shares pixels with every other one of its own bin,
    and else at most with frames of the eight bins around it.

    Parameters
    ----------
    cell, y, x
        Place of each frame.
    tile
        Rows and columns of a frame.
    """
    if _on_one_grid(y, tile[0]) and _on_one_grid(x, tile[1]):
        return np.empty(0, np.int64)
    row, column = y // tile[0], x // tile[1]
    rows, columns = np.unique(row), np.unique(column)

    def bins(down: int, across: int) -> Int64s:
        r, r_exists = _search(rows, row + down)
        c, c_exists = _search(columns, column + across)
        return np.where(r_exists & c_exists, (cell * len(rows) + r) * len(columns) + c, -1)

    own = bins(0, 0)
    order = np.argsort(own, kind="stable")
    ordered = own[order]
    shared = [cell[order[1:][ordered[1:] == ordered[:-1]]]]
    for down, across in ((0, 1), (1, -1), (1, 0), (1, 1)):
        # The first frame of a bin will do: a bin of several has its cell in the list already.
        at, exists = _search(ordered, bins(down, across))
        near = order[at]
        close = (np.abs(y[near] - y) < tile[0]) & (np.abs(x[near] - x) < tile[1])
        shared.append(cell[exists & close])
    return np.unique(np.concatenate(shared))


def _on_one_grid(start: NDArray[np.integer[Any]], size: int) -> bool:
    """Return True if all starts are multiples of `size` apart."""
    return not len(start) or bool((start % size == start[0] % size).all())


def _search(
    ascending: NDArray[Any], values: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the position of each value in an ascending array, and if it is there."""
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return at, ascending[at] == values
