"""Whatever is selected from an array of frames equals the same selection of the whole array."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from xarray.core.indexing import (
    BasicIndexer,
    LazilyIndexedArray,
    OuterIndexer,
    VectorizedIndexer,
)

from support.memory_frames import Scene, scene
from xarray_dicom.layout.placement import Placed
from xarray_dicom.reading.array import DicomArray

quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Full grids with padded edges, and frames placed anywhere: holes, overlaps, off the grid."""
    outer_shape = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    tile = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    samples = draw(st.sampled_from([1, 3]))
    n_cells = int(np.prod(outer_shape, dtype=int))
    kind = draw(st.sampled_from(["grid", "stack", "placed"]))
    if kind == "stack":
        cells = draw(st.lists(st.integers(0, n_cells - 1), max_size=2 * n_cells))
        return scene(outer_shape, tile, tile, samples, [(cell, 0, 0) for cell in cells])
    plane = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    if kind == "grid":
        absent = tuple(draw(st.sets(st.integers(0, n_cells - 1), max_size=1)))
        return scene(outer_shape, plane, tile, samples, None, absent)
    place = st.tuples(
        st.integers(0, n_cells - 1),
        st.integers(-tile[0] - 1, plane[0] + 1),
        st.integers(-tile[1] - 1, plane[1] + 1),
    )
    return scene(outer_shape, plane, tile, samples, draw(st.lists(place, max_size=12)))


def slices(size: int) -> st.SearchStrategy[slice]:
    """Slices with positive steps, empty ones among them."""
    edge = st.none() | st.integers(-size - 1, size + 1)
    return st.builds(slice, edge, edge, st.none() | st.integers(1, 3))


def positions(size: int) -> st.SearchStrategy[NDArray[np.int64]]:
    """Unsorted, repeated, negative or no positions."""
    return st.lists(st.integers(-size, size - 1), max_size=size + 2).map(
        lambda chosen: np.asarray(chosen, np.int64)
    )


def outer_keys(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    """One integer, slice or list of positions per axis."""
    return st.tuples(
        *(
            st.one_of(st.integers(-size, size - 1), slices(size), positions(size))
            if size
            else slices(size)
            for size in shape
        )
    )


@st.composite
def pointwise_keys(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Index arrays that broadcast against each other, 0-d ones too, and slices."""
    common = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    key: list[Any] = []
    for size in shape:
        if draw(st.booleans()):
            key.append(draw(slices(size)))
            continue
        own = tuple(n if draw(st.booleans()) else min(n, 1) for n in common)
        count = int(np.prod(own, dtype=int))
        chosen = draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count))
        key.append(np.asarray(chosen, np.int64).reshape(own))
    if all(isinstance(k, slice) for k in key):
        key[0] = np.zeros(common, np.int64)
    return tuple(key)


def orthogonal(array: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Index each axis by itself."""
    for axis, k in reversed(list(enumerate(key))):
        array = array[(slice(None),) * axis + (k,)]
    return array


def pointwise(array: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Index by points; sliced axes come last."""
    arrays = [k for k in key if not isinstance(k, slice)]
    ndim = len(np.broadcast_shapes(*(k.shape for k in arrays)))
    n_slices = len(key) - len(arrays)
    full, place = [], ndim
    for k, size in zip(key, array.shape, strict=True):
        if isinstance(k, slice):
            chosen = np.arange(size)[k]
            full.append(chosen.reshape([-1 if d == place else 1 for d in range(ndim + n_slices)]))
            place += 1
        else:
            full.append(k.reshape((*k.shape, *[1] * n_slices)))
    return array[tuple(full)]


def read(made: Scene, key: Any) -> NDArray[Any]:
    return DicomArray(made.frames)[key]


@quick
@given(scenes(), st.data())
def test_basic_and_outer_selections(made: Scene, data: st.DataObject) -> None:
    key = data.draw(outer_keys(made.expected.shape))
    basic = all(not isinstance(k, np.ndarray) for k in key)
    got = read(made, BasicIndexer(key) if basic else OuterIndexer(key))
    np.testing.assert_array_equal(got, orthogonal(made.expected, key))
    assert got.dtype == made.expected.dtype


@quick
@given(scenes(), st.data())
def test_pointwise_selections(made: Scene, data: st.DataObject) -> None:
    key = data.draw(pointwise_keys(made.expected.shape))
    got = read(made, VectorizedIndexer(key))
    np.testing.assert_array_equal(got, pointwise(made.expected, key))


@quick
@given(scenes(), st.data())
def test_dense_pointwise_selections_in_pieces(made: Scene, data: st.DataObject) -> None:
    key = data.draw(pointwise_keys(made.expected.shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xarray_dicom.reading.array.POINTS_AT_ONCE", 3)
        got = read(made, VectorizedIndexer(key))
    np.testing.assert_array_equal(got, pointwise(made.expected, key))


@quick
@given(scenes())
def test_what_a_placement_says_of_itself(made: Scene) -> None:
    placement = made.frames.placement
    if not isinstance(placement, Placed):
        return
    counted = np.zeros((placement.n_cells, *placement.plane), int)
    share = False
    places = list(zip(placement.cell, placement.y, placement.x, strict=True))
    for number, (cell, y, x) in enumerate(places):
        rows, columns = placement.tile
        counted[cell, max(y, 0) : max(y + rows, 0), max(x, 0) : max(x + columns, 0)] += 1
        share |= any(
            cell == c and abs(y - top) < rows and abs(x - left) < columns
            for c, top, left in places[:number]
        )
    assert placement.overlapping == share
    if placement.complete:
        assert counted.all()
    elif not share:
        assert not counted.all()
    again = pickle.loads(pickle.dumps(placement))
    assert (again.overlapping, again.complete) == (share, placement.complete)
    assert pickle.dumps(again) == pickle.dumps(placement)


@pytest.mark.parametrize(("samples", "tile"), [(1, (3, 2)), (3, (2, 5))])
def test_later_frames_win(samples: int, tile: tuple[int, int]) -> None:
    places = [(0, 0, 0), (0, 0, 0), (0, 1, 1), (0, 0, 1), (0, -1, 2), (0, 1, 1)]
    made = scene((), (4, 6), tile, samples, places)
    assert made.frames.placement.overlapping
    np.testing.assert_array_equal(
        read(made, BasicIndexer((slice(None),) * made.expected.ndim)), made.expected
    )


@st.composite
def lazy_operations(draw: st.DrawFn, array: xr.DataArray) -> list[tuple[str, Any]]:
    """Selections and transpositions, one after another."""
    operations: list[tuple[str, Any]] = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(["isel", "points", "transpose", "reverse"]))
        if not array.ndim:
            break
        dim = draw(st.sampled_from(list(array.dims)))
        size = array.sizes[dim]
        argument: Any
        if name == "isel":
            argument = {
                dim: draw(slices(size) if not size else outer_keys((size,)).map(lambda k: k[0]))
            }
        elif name == "reverse":
            name, argument = "isel", {dim: slice(None, None, -1)}
        elif name == "transpose":
            argument = draw(st.permutations(list(array.dims)))
        elif len(array.dims) > 1 and all(array.sizes.values()):
            name = "isel"
            two = draw(st.permutations(list(array.dims)))[:2]
            n = draw(st.integers(1, 4))
            argument = {
                d: xr.DataArray(
                    draw(st.lists(st.integers(0, array.sizes[d] - 1), min_size=n, max_size=n)),
                    dims=f"points{array.ndim}",
                )
                for d in two
            }
        else:
            continue
        operations.append((name, argument))
        array = applied(array, name, argument)
    return operations


def applied(array: xr.DataArray, name: str, argument: Any) -> xr.DataArray:
    return array.transpose(*argument) if name == "transpose" else array.isel(argument)


@quick
@given(scenes(), st.data())
def test_lazy_operations_of_xarray(made: Scene, data: st.DataObject) -> None:
    dims = [f"d{axis}" for axis in range(made.expected.ndim)]
    lazy = xr.DataArray(xr.Variable(dims, LazilyIndexedArray(DicomArray(made.frames))))
    whole = xr.DataArray(made.expected, dims=dims)
    for name, argument in data.draw(lazy_operations(whole)):
        lazy, whole = applied(lazy, name, argument), applied(whole, name, argument)
        assert not lazy.variable._in_memory or not lazy.size
    assert lazy.dims == whole.dims
    np.testing.assert_array_equal(lazy.values, whole.values)


@pytest.mark.parametrize("indexer", [OuterIndexer, VectorizedIndexer])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("position", [-4, 3])
def test_positions_off_an_axis(indexer: Any, axis: int, position: int) -> None:
    made = scene((3,), (3, 3), (2, 2), 3, None)
    key: list[Any] = [np.array([0, 1])] * 4
    key[axis] = np.array([0, position])
    with pytest.raises(IndexError, match="out of bounds for an axis of size 3"):
        read(made, indexer(tuple(key)))
