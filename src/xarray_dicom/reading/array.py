"""The lazy array that xarray holds."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core.indexing import ExplicitIndexer, VectorizedIndexer

from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.placement import Placement
from xarray_dicom.reading.plan import (
    AxisPicks,
    Plan,
    Scatter,
    axis_picks,
    plan_outer,
    plan_points,
)
from xarray_dicom.reading.reader import read
from xarray_dicom.runtime import off_loop, run, run_async

#: Points of a pointwise selection that are planned at a time.
POINTS_AT_ONCE = 2**21


class DicomArray(BackendArray):
    """Array of frames that reads a selection when its values are needed.

    Parameters
    ----------
    frames
        The frame table.
    """

    def __init__(self, frames: FrameArray) -> None:
        self.frames = frames
        self.shape = frames.shape
        self.dtype = frames.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return DicomArray, (self.frames,)

    def __repr__(self) -> str:
        return f"DicomArray(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, key: ExplicitIndexer) -> NDArray[Any]:
        return run(self._get(key))

    async def async_getitem(self, key: ExplicitIndexer) -> NDArray[Any]:
        """Read without blocking the caller's event loop."""
        return await run_async(self._get(key))

    async def _get(self, key: ExplicitIndexer) -> NDArray[Any]:
        if isinstance(key, VectorizedIndexer):
            return await self._vectorized(key.tuple)
        return await self._outer(key.tuple)

    async def _outer(self, key: tuple[Any, ...]) -> NDArray[Any]:
        picks = [axis_picks(k, size) for k, size in zip(key, self.shape, strict=True)]
        pixels = await self._read_outer(picks)
        sizes = [
            axis.count
            for axis, k in zip(picks, key, strict=True)
            if isinstance(k, slice) or np.ndim(k)
        ]
        return pixels.reshape(sizes)

    async def _read_outer(self, picks: list[AxisPicks]) -> NDArray[Any]:
        """Read an orthogonal selection, keeping every axis."""
        n_outer = len(self.frames.outer_shape)
        outer, y, x = picks[:n_outer], picks[n_outer], picks[n_outer + 1]
        channels = picks[-1] if self.frames.samples > 1 else None
        plan = await off_loop(plan_outer, *self._grid, outer, y, x, self._ordered)
        shape = (prod(axis.count for axis in outer), y.count, x.count)
        pixels = await read(self.frames, plan, shape, _positions(channels))
        return pixels.reshape([axis.count for axis in picks])

    async def _vectorized(self, key: tuple[Any, ...]) -> NDArray[Any]:
        arrays = [axis for axis, k in enumerate(key) if not isinstance(k, slice)]
        shape = np.broadcast_shapes(*(np.shape(key[axis]) for axis in arrays))
        separable = _separable(key, arrays, len(shape))
        if separable is not None:
            return await self._transposed(key, arrays, shape, separable)
        return await self._points(key, arrays, shape)

    async def _transposed(
        self,
        key: tuple[Any, ...],
        arrays: list[int],
        shape: tuple[int, ...],
        dims: list[int | None],
    ) -> NDArray[Any]:
        """Read a pointwise key that is an orthogonal one in another order of axes."""
        picks = [
            axis_picks(k if isinstance(k, slice) else np.reshape(k, -1), size)
            for k, size in zip(key, self.shape, strict=True)
        ]
        pixels = await self._read_outer(picks)
        varying = [(dim, axis) for dim, axis in zip(dims, arrays, strict=True) if dim is not None]
        single = [axis for dim, axis in zip(dims, arrays, strict=True) if dim is None]
        slices = [axis for axis in range(len(key)) if axis not in arrays]
        order = single + [axis for _, axis in sorted(varying)] + slices
        moved = pixels.transpose(order)
        return moved.reshape((*shape, *(picks[axis].count for axis in slices)))

    async def _points(
        self, key: tuple[Any, ...], arrays: list[int], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        spatial = len(self.frames.outer_shape) + 2
        slices = [axis for axis in range(spatial) if axis not in arrays]
        ranges = {axis: axis_picks(key[axis], self.shape[axis]).positions() for axis in slices}
        full = (*shape, *(len(ranges[axis]) for axis in slices))
        columns = []
        for axis in range(spatial):
            if axis in ranges:
                place = len(shape) + slices.index(axis)
                dims = [-1 if dim == place else 1 for dim in range(len(full))]
                columns.append(np.broadcast_to(ranges[axis].reshape(dims), full))
            else:
                indices = _checked(key[axis], self.shape[axis])
                dims = [1] * (len(shape) - indices.ndim) + list(indices.shape) + [1] * len(slices)
                columns.append(np.broadcast_to(indices.reshape(dims), full))
        channels = self._point_channels(key)
        n = prod(full)
        pixels = None
        # Index arrays are larger than pixels, so a dense pointwise key is taken in pieces.
        for start in range(0, max(n, 1), POINTS_AT_ONCE):
            part = slice(start, min(start + POINTS_AT_ONCE, n))
            plan = await off_loop(self._plan_part, columns, full, part)
            piece = await read(self.frames, plan, (part.stop - part.start,), channels)
            if n <= POINTS_AT_ONCE:
                pixels = piece
                break
            if pixels is None:
                pixels = np.empty((n, *piece.shape[1:]), piece.dtype)
            pixels[part] = piece
        assert pixels is not None
        pixels = pixels.reshape(*full, *pixels.shape[1:])
        return self._pick_channels(pixels, key, shape)

    def _plan_part(
        self, columns: list[NDArray[np.int64]], full: tuple[int, ...], part: slice
    ) -> Plan:
        places = np.unravel_index(np.arange(part.start, part.stop), full)
        *outer, y, x = (column[places] for column in columns)
        return plan_points(*self._grid, outer, y, x, self._ordered)

    @property
    def _grid(self) -> tuple[Placement, tuple[int, ...], tuple[int, int]]:
        return self.frames.placement, self.frames.outer_shape, self.frames.tile

    @property
    def _ordered(self) -> bool:
        # Masks that are painted are ranked by label, so all of them count.
        return self.frames.paint is None

    def _point_channels(self, key: tuple[Any, ...]) -> slice | NDArray[np.int64] | None:
        if self.frames.samples == 1:
            return None
        if isinstance(key[-1], slice):
            return _positions(axis_picks(key[-1], self.frames.samples))
        return slice(None)

    def _pick_channels(
        self, pixels: NDArray[Any], key: tuple[Any, ...], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Apply a pointwise index on the samples, which vary with the points."""
        if self.frames.samples == 1 or isinstance(key[-1], slice):
            return pixels
        indices = np.broadcast_to(_checked(key[-1], self.frames.samples), shape)
        extra = pixels.ndim - 1 - len(shape)
        indices = indices.reshape(*shape, *[1] * (extra + 1))
        picked: NDArray[Any] = np.take_along_axis(pixels, indices, axis=-1)[..., 0]
        return picked


def _positions(picks: AxisPicks | None) -> slice | NDArray[np.int64] | None:
    if picks is None:
        return None
    if isinstance(picks, Scatter):
        return picks.asked
    return slice(picks.start, picks.start + picks.step * picks.count, picks.step)


def _checked(indices: Any, size: int) -> NDArray[np.int64]:
    positions = np.asarray(indices)
    if positions.size and (positions.min() < -size or positions.max() >= size):
        raise IndexError(f"index out of bounds for an axis of size {size}")
    return np.where(positions < 0, positions + size, positions).astype(np.int64)


def _separable(key: tuple[Any, ...], arrays: list[int], ndim: int) -> list[int | None] | None:
    """Return the dimension along which each index array varies; None if one has several."""
    dims: list[int | None] = []
    for axis in arrays:
        shape = np.shape(key[axis])
        varying = [ndim - len(shape) + dim for dim, size in enumerate(shape) if size != 1]
        if len(varying) > 1:
            return None
        dims.append(varying[0] if varying else None)
    named = [dim for dim in dims if dim is not None]
    return dims if len(set(named)) == len(named) else None
