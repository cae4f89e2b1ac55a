"""Lazy views of lazy arrays, for datasets that were opened without chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from xarray_dicom.layout.geometry import AxisMatch

Pixels = NDArray[Any]


def lazy_variable(array: BackendArray, dims: tuple[Any, ...], attrs: dict[str, Any]) -> xr.Variable:
    """A variable that reads `array` when its values are asked for."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), attrs)


class MappedArray(BackendArray):
    """A function of each pixel, applied to what is read.

    Parameters
    ----------
    source
        The pixels.
    function
        From an array to one of the same shape, with `added` at its end. Must be picklable.
    dtype
        Type of the result.
    added
        Sizes of the dimensions that `function` adds.
    whole
        How many of the last dimensions of `source` it needs whole.
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

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Pixels:
        found: Pixels = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return found

    def _read(self, key: tuple[Any, ...]) -> Pixels:
        free = self.source.ndim - self.whole
        picked = self.source[key[:free]].values if free else self.source.values
        kept = picked.ndim - self.whole
        mapped = self.function(picked)
        # One axis after another is orthogonal indexing; from the end, since integers drop theirs.
        for axis, own in reversed(list(enumerate(key[free:], kept))):
            mapped = mapped[(slice(None),) * axis + (own,)]
        return mapped


class PlacedArray(BackendArray):
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

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Pixels:
        found: Pixels = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return found

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
            out[np.ix_(*into)] = self.source[tuple(_compact(own) for own in inside)].values
        return out[dropped]


def source_positions(grid: NDArray[np.int64], match: AxisMatch | None) -> NDArray[np.int64]:
    """Positions in the source of positions on the grid; may lie outside of it."""
    if match is None:
        return grid
    return match.offset - grid if match.flip else grid - match.offset


def _compact(positions: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    if len(positions) and (np.diff(positions) == 1).all():
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions
