"""Views that map or move pixels while they are read, held to NumPy on arrays in memory."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from support.counting import CountingFileSystem
from support.kinds import kind
from xarray_dicom.accessor.lazy import (
    PlacedArray,
    as_slice,
    lazy_variable,
    map_pixels,
    source_positions,
)
from xarray_dicom.layout.grid_match import AxisMatch

SHAPE = (4, 5, 6)


class Counted(BackendArray):
    """An array in memory that remembers how many pixels were asked of it."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.pixels = pixels
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.read: list[int] = []

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            found = indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._orthogonal
            )
        else:
            found = self._orthogonal(key.tuple)
        self.read.append(np.size(found))
        return found

    def _orthogonal(self, key: tuple[Any, ...]) -> Any:
        found = self.pixels
        for axis, own in reversed(list(enumerate(key))):
            found = found[(slice(None),) * axis + (own,)]
        return found


def counted(shape: tuple[int, ...] = SHAPE) -> tuple[xr.Variable, Counted]:
    array = Counted(np.arange(np.prod(shape), dtype=np.int64).reshape(shape))
    return lazy_variable(array, ("z", "y", "x")[: len(shape)], {"units": "1"}), array


def as_triple(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.stack([pixels, -pixels, 2 * pixels], axis=-1)


def turned(pixels: NDArray[Any]) -> NDArray[Any]:
    """Needs the last axis whole."""
    return pixels[..., ::-1] * 10


def keys(size: int) -> st.SearchStrategy[Any]:
    ends = st.none() | st.integers(-size, size - 1)  # beyond, xarray itself goes wrong
    steps = st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3])
    return st.one_of(
        st.integers(-size, size - 1),
        st.builds(slice, ends, ends, steps),
        st.lists(st.integers(-size, size - 1), max_size=4),
    )


@settings(deadline=None, max_examples=60)
@given(st.tuples(*map(keys, (*SHAPE, 3))))
def test_a_function_that_adds_an_axis(key: tuple[Any, ...]) -> None:
    source, array = counted()
    view = map_pixels(source, as_triple, np.dtype(np.int64), added={"c": 3})
    assert view.dims == ("z", "y", "x", "c")
    selected = view[key]
    assert array.read == []
    expected = xr.Variable(view.dims, as_triple(array.pixels))[key]
    assert selected.shape == expected.shape
    np.testing.assert_array_equal(selected.values, expected.values)
    # Only the pixels asked for were read.
    asked = source[key[:3]].size
    assert sum(array.read) <= asked


@settings(deadline=None, max_examples=60)
@given(st.tuples(*map(keys, SHAPE)))
def test_a_function_that_needs_an_axis_whole(key: tuple[Any, ...]) -> None:
    source, array = counted()
    view = map_pixels(source, turned, np.dtype(np.int64), whole=1)
    expected = xr.Variable(view.dims, turned(array.pixels))[key]
    np.testing.assert_array_equal(view[key].values, expected.values)
    assert sum(array.read) <= source[key[:2]].size


@settings(deadline=None, max_examples=80)
@given(
    st.tuples(*map(keys, (7, 3, 6))),
    st.tuples(st.integers(-5, 9), st.integers(-6, 5)),
    st.tuples(st.booleans(), st.booleans()),
)
def test_a_move(key: tuple[Any, ...], offsets: tuple[int, int], flips: tuple[bool, bool]) -> None:
    source, array = counted()
    matches = (*(AxisMatch(o, f) for o, f in zip(offsets, flips, strict=True)), None)
    view = lazy_variable(PlacedArray(source, (7, 3, 6), matches, -1), source.dims, {})
    expected = np.full((7, 3, 6), -1)
    for z, y in np.ndindex(SHAPE[:2]):
        into = [o - i if f else o + i for i, o, f in zip((z, y), offsets, flips, strict=True)]
        if 0 <= into[0] < 7 and 0 <= into[1] < 3:
            expected[into[0], into[1]] = array.pixels[z, y]
    wanted = xr.Variable(source.dims, expected)[key].values
    np.testing.assert_array_equal(view[key].values, wanted)
    assert sum(array.read) <= (wanted >= 0).sum()


@given(st.lists(st.integers(0, 20), max_size=6))
def test_slices_for_positions(positions: list[int]) -> None:
    key = as_slice(np.asarray(positions, np.int64))
    np.testing.assert_array_equal(np.arange(21)[key], positions)
    if len(set(np.diff(positions))) == 1 and np.diff(positions)[0]:
        assert isinstance(key, slice)


def test_positions_where_no_match_is() -> None:
    np.testing.assert_array_equal(source_positions(np.arange(3), None), [0, 1, 2])


VIEWS: dict[str, Callable[[xr.Variable], xr.Variable]] = {
    "mapped": lambda v: map_pixels(v, as_triple, np.dtype(np.int64), added={"c": 3}),
    "whole": lambda v: map_pixels(v, turned, np.dtype(np.int64), whole=1),
    "placed": lambda v: lazy_variable(
        PlacedArray(v, (6, 6, 6), (AxisMatch(1, False), AxisMatch(5, True), None), 7), v.dims, {}
    ),
    "placed, then mapped": lambda v: VIEWS["mapped"](VIEWS["placed"](v)),
}


@pytest.mark.parametrize("view", VIEWS)
def test_what_was_read_is_kept_and_may_be_changed(view: str) -> None:
    source, array = counted()
    found = VIEWS[view](source)
    values = found.values
    times = len(array.read)
    np.testing.assert_array_equal(found.values, values)
    assert len(array.read) == times
    found[0] = -5
    assert (found.values[0] == -5).all()
    # The source stays as it was.
    np.testing.assert_array_equal(source.values, array.pixels)


@pytest.mark.parametrize("view", VIEWS)
def test_copies_pickles_and_chunks_are_lazy_and_equal(view: str) -> None:
    source, array = counted()
    found = VIEWS[view](source)
    expected = VIEWS[view](source).values
    array.read.clear()
    copies = [
        found.copy(deep=True),
        copy.deepcopy(found),
        pickle.loads(pickle.dumps(found)) if view != "placed, then mapped" else found,
        found.transpose(*found.dims[::-1]).transpose(*found.dims),
        found.chunk({"y": 2}),
    ]
    assert array.read == []
    for one in copies:
        np.testing.assert_array_equal(one.values, expected)


@pytest.mark.parametrize("view", ["mapped", "whole"])
@pytest.mark.parametrize("chunks", [{"z": 1}, {"y": 2, "x": 4}, {}])
def test_chunks_keep_their_blocks(view: str, chunks: dict[str, int]) -> None:
    source, array = counted()
    chunked = source.chunk(chunks)
    found = VIEWS[view](chunked)
    assert array.read == []
    assert found.chunks is not None
    assert found.chunksizes["z"] == chunked.chunksizes["z"]
    assert found.data._meta.dtype == np.int64
    np.testing.assert_array_equal(found.values, VIEWS[view](source).values)


def test_attributes_are_copied() -> None:
    source, _ = counted()
    found = VIEWS["mapped"](source)
    assert found.attrs == {"units": "1"}
    found.attrs["units"] = "2"
    assert source.attrs == {"units": "1"}


ACCESSOR: dict[str, tuple[str, Callable[[xr.Dataset], xr.DataArray]]] = {
    "labelmap": ("segmentation", lambda ds: ds.dicom.labelmap(overlap="last")),
    "to_rgb": ("enhanced-ct", lambda ds: ds.dicom.to_rgb()),
    "to_rgb of colour": ("slide-eot", lambda ds: ds.dicom.to_rgb()),
    "on_grid_of": ("enhanced-ct", lambda ds: ds.image.dicom.on_grid_of(ds.isel(z=[1, 2]))),
    "mask_padding": (
        "enhanced-ct",
        lambda ds: ds.image.assign_attrs(pixel_padding_value=1100).dicom.mask_padding(),
    ),
}


@pytest.mark.parametrize("method", ACCESSOR)
def test_results_are_read_from_any_loop(method: str) -> None:
    name, call = ACCESSOR[method]
    result = call(xr.open_dataset(kind(name).put(), engine="dicom"))

    async def load() -> xr.DataArray:
        return await result.isel(y=slice(2, 9)).load_async()

    found = asyncio.run(load())
    xr.testing.assert_identical(found, result.isel(y=slice(2, 9)).compute())


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "dask"])
@pytest.mark.parametrize("method", ACCESSOR)
def test_results_are_lazy_and_written(method: str, chunks: Any, tmp_path: Any) -> None:
    name, call = ACCESSOR[method]
    dataset = xr.open_dataset(kind(name).put(), engine="dicom", chunks=chunks)
    CountingFileSystem.forget()
    result = call(dataset)
    repr(result), result._repr_html_()
    result.copy(deep=True)
    result.isel(y=slice(3, None, 2)).transpose("x", ...)
    # Of the header alone, which only `to_rgb` needs.
    assert len(CountingFileSystem.ranges) <= ("to_rgb" in method)
    assert (result.chunks is None) is (chunks is None)
    result.to_dataset(name="result").to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "result.nc", engine="h5netcdf") as again:
        np.testing.assert_array_equal(again.result, result)


@pytest.mark.parametrize("view", VIEWS)
def test_pointwise_selections(view: str) -> None:
    source, _ = counted()
    found = VIEWS[view](source)
    points = {"z": xr.Variable("p", [0, 3, 1]), "x": xr.Variable("p", [5, 0, 0])}
    expected = xr.Variable(found.dims, VIEWS[view](source).values).isel(points)
    np.testing.assert_array_equal(found.isel(points).values, expected.values)
