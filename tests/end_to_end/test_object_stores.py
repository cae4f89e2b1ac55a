"""Stores of obstore that users pass: trees, lists, other processes, the index cache."""

from __future__ import annotations

import io
import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom import dcmread

from support.generate.attributes import uid
from support.generate.slide import slide
from support.object_stores import s3_store
from support.proxy import LatencyProxy
from support.servers import BUCKET, Server
from xarray_dicom import SourceChangedError

stores = pytest.importorskip("obstore.store")


@pytest.fixture(scope="module")
def levels() -> dict[str, bytes]:
    """Three levels of a slide."""
    files = {}
    for number, rows in enumerate((300, 600, 150)):
        level = io.BytesIO()
        slide(level, name=f"level {rows}", shape=(rows, rows), spacing=0.0005 * 600 / rows)
        dataset = dcmread(io.BytesIO(level.getvalue()))
        dataset.SeriesInstanceUID = uid("pyramid")
        written = io.BytesIO()
        dataset.save_as(written)
        files[f"pyramid/{number}.dcm"] = written.getvalue()
    return files


@pytest.fixture(params=["s3", "moto", "local", "memory"])
def store(
    request: pytest.FixtureRequest, levels: dict[str, bytes], tmp_path: Path
) -> Iterator[Any]:
    """A store with the levels below ``pyramid``."""
    if request.param in ("local", "memory"):
        empty = stores.LocalStore(tmp_path) if request.param == "local" else stores.MemoryStore()
        for key, content in levels.items():
            empty.put(key, content)
        yield empty
        return
    server: Server = request.getfixturevalue(f"{request.param}_server")
    for key, content in levels.items():
        server.put(f"object-stores/{key}", content)
    with LatencyProxy(server.port, partial_status=True) as proxy:
        yield s3_store(proxy.endpoint_url, prefix="object-stores")


@pytest.fixture
def expected(levels: dict[str, bytes], tmp_path: Path) -> xr.DataTree:
    folder = tmp_path / "expected"
    for key, content in levels.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)
    return xr.open_datatree(folder / "pyramid", engine="dicom")


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "dask"])
def test_a_pyramid(
    store: Any, expected: xr.DataTree, levels: dict[str, bytes], chunks: Any
) -> None:
    for obj in ("pyramid", "pyramid/", "pyramid/*.dcm", list(levels)):
        tree = xr.open_datatree(
            obj, engine="dicom", storage_options={"store": store}, chunks=chunks
        )
        assert list(tree.children) == list(expected.children) == ["scale0", "scale1", "scale2"]
        for name in tree.children:
            xr.testing.assert_identical(
                tree[name].to_dataset().load().drop_attrs(),
                expected[name].to_dataset().load().drop_attrs(),
            )


def read_level(pickled: bytes) -> NDArray[np.uint8]:
    dataset: xr.Dataset = pickle.loads(pickled)
    level: NDArray[np.uint8] = dataset.image.isel(y=slice(3, 80)).values
    return level


def test_a_dataset_in_a_spawned_process(
    moto_server: Server, levels: dict[str, bytes], expected: xr.DataTree
) -> None:
    moto_server.put("object-stores/pyramid/1.dcm", levels["pyramid/1.dcm"])
    opened = xr.open_dataset(
        f"s3://{BUCKET}/object-stores/pyramid/1.dcm",
        engine="dicom",
        storage_options={"store": s3_store(moto_server.endpoint_url)},
    )
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(read_level, (pickle.dumps(opened),)).get(60)
    np.testing.assert_array_equal(found, expected["scale0"].image.isel(y=slice(3, 80)))


def test_a_replaced_object(moto_server: Server, levels: dict[str, bytes]) -> None:
    first, second, _ = levels.values()
    moto_server.put("object-stores/replaced.dcm", first)
    options = {"store": s3_store(moto_server.endpoint_url, prefix="object-stores")}
    opened = xr.open_dataset("replaced.dcm", engine="dicom", storage_options=options)
    moto_server.put("object-stores/replaced.dcm", second)
    with pytest.raises(SourceChangedError, match=r"replaced\.dcm.*open it again"):
        opened.image.load()


def test_a_missing_object(moto_server: Server) -> None:
    options = {"store": s3_store(moto_server.endpoint_url)}
    with pytest.raises(FileNotFoundError) as caught:
        xr.open_dataset("object-stores/not.dcm", engine="dicom", storage_options=options)
    assert caught.value.filename == f"s3://{BUCKET}/object-stores/not.dcm"


def test_the_index_cache(s3_server: Server, levels: dict[str, bytes], tmp_path: Path) -> None:
    """Written and read through the store where it lies in it, and shared with fsspec."""
    for key, content in levels.items():
        s3_server.put(f"object-stores/{key}", content)
    with LatencyProxy(s3_server.port, partial_status=True) as proxy:
        store = s3_store(proxy.endpoint_url)

        def requests_to_open(cache: Any, obj: str, **options: Any) -> int:
            before = proxy.requests
            xr.open_datatree(obj, engine="dicom", storage_options=options, index_cache=cache)
            return proxy.requests - before

        inside = f"s3://{BUCKET}/object-stores-cache"
        requests_to_open(inside, "object-stores/pyramid/", store=store)
        assert len(store.list("object-stores-cache").collect()) == len(levels)
        # The listing has the versions, the cache all else.
        again = requests_to_open(inside, "object-stores/pyramid/", store=store)
        assert again == 1 + len(levels)
        requests_to_open(tmp_path, "object-stores/pyramid/", store=store)
        assert requests_to_open(tmp_path, "object-stores/pyramid/", store=store) == 1
        url = f"s3://{BUCKET}/object-stores/pyramid/"
        without = {**s3_server.storage_options, "endpoint_url": proxy.endpoint_url}
        assert requests_to_open(tmp_path, url, **without) <= 2
