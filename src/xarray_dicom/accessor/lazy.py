"""Lazy views of arrays, chunked and not."""

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
    """Wrap an array as a variable that reads its values once, when they are asked for.

    Parameters
    ----------
    array
        Values, read by indexing.
    dims, attrs, encoding
        As for `xarray.Variable`.
    """
    # The wrappers that `xarray.open_dataset` uses without chunks.
    lazy: Any = indexing.LazilyIndexedArray(array)
    lazy = indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy))  # type: ignore[no-untyped-call]
    return xr.Variable(dims, lazy, attrs, encoding)


def map_pixels(
    source: xr.Variable,
    function: Callable[[Pixels], Pixels],
    dtype: np.dtype[Any],
    *,
    added: dict[str, int] | None = None,
    whole: int = 0,
) -> xr.Variable:
    """Apply a function to the pixels of a variable when they are read.

    Parameters
    ----------
    source
        Pixels, in memory, lazy or chunked.
    function
        Picklable function from an array to one of the same shape, with `added` at its end.
    dtype
        Type of the result.
    added
        Sizes of the dimensions that `function` adds, by name.
    whole
        Number of last dimensions of `source` that `function` needs whole.

    Returns
    -------
    Variable
        Chunked as `source`, lazy where it has no chunks, with its attributes.
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
    """Array that answers orthogonal selections by reading another one."""

    shape: tuple[int, ...]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Pixels:
        # xarray's adapter fails for empty slices with a negative step.
        if not isinstance(key, indexing.VectorizedIndexer):
            return self._read(key.tuple)
        pixels: Pixels = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return pixels

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Pixels:
        """Read without blocking the caller's event loop."""
        return await asyncio.to_thread(self.__getitem__, key)

    def _read(self, key: tuple[Any, ...]) -> Pixels:
        raise NotImplementedError


class MappedArray(ViewArray):
    """Array of a function of each pixel of another one.

    Parameters
    ----------
    source, function, dtype, whole
        As for `map_pixels`.
    added
        Sizes of the dimensions that `function` adds.
    """

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
        n_selected = self.source.ndim - self.whole
        selected = self.source[key[:n_selected]].values if n_selected else self.source.values
        first_whole = selected.ndim - self.whole
        result = self.function(selected)
        # Orthogonal indexing is one axis after another; from the last, as integers drop theirs.
        for axis, key_of_axis in reversed(list(enumerate(key[n_selected:], first_whole))):
            result = result[(slice(None),) * axis + (key_of_axis,)]
        return result


class PlacedArray(ViewArray):
    """Array on another grid: padded, cropped and reversed, never resampled.

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
        indices = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)]
        without_integers = tuple(
            0 if not isinstance(k, slice) and np.ndim(k) == 0 else slice(None) for k in key
        )
        out = np.full([len(index) for index in indices], self.fill, self.dtype)
        read_from = []
        write_to = []
        for index, match, size in zip(indices, self.matches, self.source.shape, strict=True):
            positions = source_positions(index, match)
            inside = np.flatnonzero((positions >= 0) & (positions < size))
            read_from.append(positions[inside])
            write_to.append(inside)
        if all(len(inside) for inside in write_to):
            key_of_source = tuple(as_slice(positions) for positions in read_from)
            out[np.ix_(*write_to)] = self.source[key_of_source].values
        return out[without_integers]


def source_positions(grid: NDArray[np.int64], match: AxisMatch | None) -> NDArray[np.int64]:
    """Return the positions in a source of positions on a grid; they may lie outside of it."""
    if match is None:
        return grid
    return match.offset - grid if match.flip else grid - match.offset


def as_slice(positions: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return an arithmetic progression as a slice, which stays lazy; else the positions."""
    if len(positions) == 0:
        return slice(0, 0)
    steps = np.diff(positions)
    step = int(steps[0]) if len(steps) else 1
    if step == 0 or (steps != step).any():
        return positions
    stop = int(positions[-1]) + (1 if step > 0 else -1)
    return slice(int(positions[0]), stop if stop >= 0 else None, step)
