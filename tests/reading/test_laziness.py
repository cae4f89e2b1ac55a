"""What must not read a byte, asserted by counting requests."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client
from distributed.protocol import deserialize, serialize

from support.counting import CountingFileSystem
from support.generate.slide import slide
from support.kinds import NAMES, WITH_TABLE, content, kind


@pytest.fixture(autouse=True)
def fresh_counts() -> Iterator[None]:
    CountingFileSystem.forget()
    yield
    CountingFileSystem.forget()


def opened(name: str, **options: Any) -> xr.Dataset:
    dataset = xr.open_dataset(kind(name).put(), engine="dicom", **options)
    CountingFileSystem.forget()
    return dataset


def assert_nothing_read() -> None:
    assert CountingFileSystem.ranges == []
    assert CountingFileSystem.stats == []


def _renamed(dataset: xr.Dataset) -> xr.Dataset:
    (name,) = dataset.data_vars
    return dataset.rename({name: "renamed", "x": "across"})


LAZY: dict[str, Callable[[xr.Dataset], Any]] = {
    "repr": repr,
    "html": lambda dataset: dataset._repr_html_(),
    "repr of the variable": lambda dataset: [repr(v) for v in dataset.data_vars.values()],
    "copy": lambda dataset: dataset.copy(),
    "deep copy": lambda dataset: dataset.copy(deep=True),
    "copy.deepcopy": copy.deepcopy,
    "isel": lambda dataset: dataset.isel(y=slice(3, 9), x=-1),
    "isel by list": lambda dataset: dataset.isel(x=[5, 2, 2]),
    "isel by points": lambda dataset: dataset.isel(
        y=xr.DataArray([1, 2], dims="p"), x=xr.DataArray([3, 3], dims="p")
    ),
    "transpose": lambda dataset: dataset.transpose("x", ...),
    "rename": _renamed,
    "head": lambda dataset: dataset.head(y=2),
    "reversed": lambda dataset: dataset.isel(y=slice(None, None, -1)),
    "squeeze": lambda dataset: dataset.isel(y=[0]).squeeze("y"),
    "drop": lambda dataset: dataset.drop_vars("x", errors="ignore"),
    "assign_coords": lambda dataset: dataset.assign_coords(x=np.arange(dataset.sizes["x"])),
    "nbytes": lambda dataset: dataset.nbytes,
    "to_dataarray": lambda dataset: next(iter(dataset.data_vars.values())).attrs,
}


@pytest.mark.parametrize("operation", LAZY)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_read_by(name: str, operation: str) -> None:
    dataset = opened(name)
    result = LAZY[operation](dataset)
    assert_nothing_read()
    if isinstance(result, xr.Dataset):
        # What was lazy is still readable.
        for variable in result.data_vars.values():
            variable.values  # noqa: B018
        # The first tiles of the slide without a table came with its header.
        assert CountingFileSystem.ranges or name not in WITH_TABLE


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_read_by_selecting_labels(name: str) -> None:
    dataset = opened(name)
    for dim, index in dataset.indexes.items():
        if dim in dataset.dims:
            dataset.sel({dim: index[0]})
    for dim in ("z", "y", "x"):
        if dim in dataset.indexes:
            dataset.sel({dim: dataset[dim].values[1] + 1e-3}, method="nearest")
            dataset.sel({dim: slice(*sorted(dataset[dim].values[[0, 1]]))})
    assert_nothing_read()


@pytest.mark.parametrize("name", NAMES)
def test_a_deep_copy_reads_the_same(name: str) -> None:
    dataset = opened(name)
    xr.testing.assert_identical(dataset.copy(deep=True).load(), dataset.load())


GRAPH: dict[str, Callable[[xr.Dataset], Any]] = {
    **LAZY,
    "concat": lambda dataset: xr.concat(
        [dataset.isel(x=slice(0, 3)), dataset.isel(x=slice(3, 6))], "x"
    ),
    "arithmetic": lambda dataset: (dataset * 2 + dataset) / 3,
    "reduction": lambda dataset: dataset.mean(),
    "stack": lambda dataset: dataset.stack(pixel=["y", "x"]),
    "astype": lambda dataset: dataset.astype("float64"),
    "pad": lambda dataset: dataset.pad(y=1),
    "expand_dims": lambda dataset: dataset.expand_dims("case"),
    "map_blocks": lambda dataset: dataset.map_blocks(lambda block: block, template=dataset),
    "pickle": pickle.dumps,
    "serialize": serialize,
}


@pytest.mark.parametrize("operation", GRAPH)
@pytest.mark.parametrize("name", WITH_TABLE)
def test_nothing_is_read_with_chunks_by(name: str, operation: str) -> None:
    dataset = opened(name, chunks={})
    GRAPH[operation](dataset)
    assert_nothing_read()


@pytest.mark.parametrize("name", WITH_TABLE)
def test_nothing_is_read_by_pickling(name: str) -> None:
    for options in ({}, {"chunks": {}}):
        dataset = opened(name, **options)
        again = pickle.loads(pickle.dumps(dataset))
        assert_nothing_read()
        xr.testing.assert_equal(again.compute(), dataset.compute())


def test_chunks_scan_nothing_when_opened() -> None:
    dataset = xr.open_dataset(kind("slide-no-table").put(), engine="dicom", chunks={})
    header = [end for _, _, end in CountingFileSystem.ranges]
    assert len(header) == 1
    CountingFileSystem.forget()
    mean = dataset.image.mean()
    assert_nothing_read()
    assert mean.compute() > 0


def test_a_scan_is_kept() -> None:
    tiles = content(lambda file: slide(file, shape=(3072, 3072), tile=256, offset_table="none"))
    CountingFileSystem.put("scanned/object.dcm", tiles)
    dataset = xr.open_dataset("counted://scanned/object.dcm", engine="dicom")
    ((_, _, fetched),) = CountingFileSystem.ranges
    assert fetched < len(tiles) / 2
    CountingFileSystem.forget()
    dataset.image[-1, -1].values  # noqa: B018
    assert CountingFileSystem.ranges
    for y, x in ((-1, -1), (2000, 70)):
        CountingFileSystem.forget()
        dataset.image[y, x].values  # noqa: B018
        assert len(CountingFileSystem.ranges) == 1
    CountingFileSystem.forget()
    again = pickle.loads(pickle.dumps(dataset))
    assert_nothing_read()
    again.image[2000, 70].values  # noqa: B018
    assert len(CountingFileSystem.ranges) == 1


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
    ) as found:
        yield found


@pytest.mark.parametrize("name", WITH_TABLE)
def test_nothing_is_read_to_submit(name: str, client: Client) -> None:
    dataset = opened(name, chunks={})
    shapes = client.submit(lambda given: dict(given.sizes), dataset, pure=False).result()
    assert shapes == dict(dataset.sizes)
    assert_nothing_read()


def test_serialized_frames_come_back(client: Client) -> None:
    dataset = opened("slide-eot", chunks={})
    again = deserialize(*serialize(dataset))
    assert_nothing_read()
    xr.testing.assert_equal(again.compute(), dataset.compute())
