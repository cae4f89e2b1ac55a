"""Lazy views of arrays, with chunks and without."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from xarray_dicom.layout.grid_match import AxisMatch

Pixels = NDArray[Any]


def lazy_variable(
    array: BackendArray,
    dims: tuple[Any, ...],
    attrs: dict[str, Any],
    encoding: dict[str, Any] | None = None,
) -> xr.Variable:
    """A variable that reads `array` when its values are asked for, and then keeps them."""
    # As `xarray.open_dataset` wraps arrays that are not to be chunked.
    lazy: Any = indexing.LazilyIndexedArray(array)
    lazy = indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy))  # type: ignore[no-untyped-call]
    return xr.Variable(dims, lazy, attrs, encoding)


def mapped(
    source: xr.Variable,
    function: Callable[[Pixels], Pixels],
    dtype: np.dtype[Any],
    *,
    added: dict[str, int] | None = None,
    whole: int = 0,
) -> xr.Variable:
    """Apply `function` to the pixels of `source` when they are read.

    Parameters
    ----------
    source
        The pixels, in memory, lazy or chunked.
    function
        From an array to one of the same shape, with `added` at its end. Must be picklable.
    dtype
        Type of the result.
    added
        Sizes of the dimensions that `function` adds, by name.
    whole
        How many of the last dimensions of `source` it needs whole.
    """
    added = added or {}
    dims = (*source.dims, *added)
    if source.chunks is None:
        array = MappedArray(source, function, dtype, added=tuple(added.values()), whole=whole)
        return lazy_variable(array, dims, dict(source.attrs))
    source = source.chunk(dict.fromkeys(source.dims[source.ndim - whole :], -1))
    blocks = source.data.map_blocks(
        function,
        dtype=dtype,
        chunks=(*source.data.chunks, *added.values()),
        new_axis=list(range(source.ndim, len(dims))),
        meta=np.empty((0,) * len(dims), dtype),
    )
    return xr.Variable(dims, blocks, dict(source.attrs))


class ViewArray(BackendArray):
    """An array that answers orthogonal selections by reading another one."""

    shape: tuple[int, ...]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Pixels:
        # xarray's adapter fails for empty slices with a negative step.
        if not isinstance(key, indexing.VectorizedIndexer):
            return self._read(key.tuple)
        found: Pixels = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return found

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Pixels:
        """Read without blocking the caller's event loop."""
        return await asyncio.to_thread(self.__getitem__, key)

    def _read(self, key: tuple[Any, ...]) -> Pixels:
        raise NotImplementedError


class MappedArray(ViewArray):
    """A function of each pixel, applied to what is read; parameters as those of `mapped`."""

    def __init__(
        self,
        source: xr.Variable,
        function: Callable[[Pixels], Pixels],
        dtype: np.dtype[Any],
        *,
        added: tuple[int, ...] = (),
        whole: int = 0,
    ) -> None:
        self.source = source
        self.function = function
        self.added = added
        self.whole = whole
        self.shape = (*source.shape, *added)
        self.dtype = dtype

    def _read(self, key: tuple[Any, ...]) -> Pixels:
        free = self.source.ndim - self.whole
        picked = self.source[key[:free]].values if free else self.source.values
        kept = picked.ndim - self.whole
        mapped = self.function(picked)
        # One axis after another is orthogonal indexing; from the end, since integers drop theirs.
        for axis, own in reversed(list(enumerate(key[free:], kept))):
            mapped = mapped[(slice(None),) * axis + (own,)]
        return mapped


class PlacedArray(ViewArray):
    """An array on a larger or smaller grid: padded, cropped and reversed, never resampled.

    Parameters
    ----------
    source
        The pixels.
    shape
        Shape of the grid.
    matches
        For each axis how `source` lies on the grid; None for axes that stay as they are.
    fill
        Value where `source` has no pixel.
    """

    def __init__(
        self,
        source: xr.Variable,
        shape: tuple[int, ...],
        matches: tuple[AxisMatch | None, ...],
        fill: Any,
    ) -> None:
        self.source = source
        self.shape = shape
        self.matches = matches
        self.fill = fill
        self.dtype = source.dtype

    def _read(self, key: tuple[Any, ...]) -> Pixels:
        asked = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)]
        dropped = tuple(
            0 if not isinstance(k, slice) and np.ndim(k) == 0 else slice(None) for k in key
        )
        out = np.full([len(positions) for positions in asked], self.fill, self.dtype)
        inside = []
        into = []
        for positions, match, size in zip(asked, self.matches, self.source.shape, strict=True):
            own = source_positions(positions, match)
            there = np.flatnonzero((own >= 0) & (own < size))
            inside.append(own[there])
            into.append(there)
        if all(len(there) for there in into):
            out[np.ix_(*into)] = self.source[tuple(as_slice(own) for own in inside)].values
        return out[dropped]


def source_positions(grid: NDArray[np.int64], match: AxisMatch | None) -> NDArray[np.int64]:
    """Positions in the source of positions on the grid; may lie outside of it."""
    if match is None:
        return grid
    return match.offset - grid if match.flip else grid - match.offset


def as_slice(positions: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """An arithmetic progression as a slice, which stays lazy and cheap."""
    if len(positions) == 0:
        return slice(0, 0)
    steps = np.diff(positions)
    step = int(steps[0]) if len(steps) else 1
    if step == 0 or (steps != step).any():
        return positions
    stop = int(positions[-1]) + (1 if step > 0 else -1)
    return slice(int(positions[0]), stop if stop >= 0 else None, step)
