"""The two main uses from every kind of store, pixel for pixel against highdicom."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import highdicom
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from support.generate.segmentation import multi_organ_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide
from support.object_stores import http_store, s3_store
from support.proxy import LatencyProxy

#: The region read, in pixels.
ROWS, COLUMNS = slice(180, 437), slice(250, 700)

Opened = tuple[Any, dict[str, Any]]
Put = Callable[[str, bytes], Opened]


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    """A slide, and a segmentation of several organs."""
    slide_file, segmentation_file = io.BytesIO(), io.BytesIO()
    slide(slide_file, shape=(700, 900), tile=256, codec="jpeg-rgb")
    multi_organ_segmentation(segmentation_file, ct_series(planes=12))
    return {"slide.dcm": slide_file.getvalue(), "organs.dcm": segmentation_file.getvalue()}


@pytest.fixture(scope="module")
def region(objects: dict[str, bytes]) -> NDArray[np.uint8]:
    """The region as highdicom reads it."""
    image = highdicom.imread(io.BytesIO(objects["slide.dcm"]))
    return image.get_total_pixel_matrix(
        row_start=ROWS.start + 1,
        row_end=ROWS.stop + 1,
        column_start=COLUMNS.start + 1,
        column_end=COLUMNS.stop + 1,
        dtype=np.uint8,
        apply_icc_profile=False,
    )


@pytest.fixture(scope="module")
def liver(objects: dict[str, bytes]) -> NDArray[np.uint8]:
    """The liver as highdicom reads it; its volumes run against the normal."""
    segmentation = highdicom.seg.segread(io.BytesIO(objects["organs.dcm"]))
    volume = segmentation.get_volume(segment_numbers=[1], combine_segments=False)
    return volume.array[::-1, :, :, 0]


def _bytes(request: pytest.FixtureRequest) -> Put:
    return lambda key, content: (content, {})


def _local(request: pytest.FixtureRequest) -> Put:
    folder: Path = request.getfixturevalue("tmp_path")

    def put(key: str, content: bytes) -> Opened:
        (folder / key).write_bytes(content)
        return folder / key, {}

    return put


def _file_object(request: pytest.FixtureRequest) -> Put:
    local = _local(request)

    def put(key: str, content: bytes) -> Opened:
        file = open(local(key, content)[0], "rb")  # noqa: SIM115 - closed by the finalizer
        request.addfinalizer(file.close)
        return file, {}

    return put


def _memory(request: pytest.FixtureRequest) -> Put:
    def put(key: str, content: bytes) -> Opened:
        fsspec.filesystem("memory").pipe_file(f"/stores/{key}", content)
        return f"memory://stores/{key}", {}

    return put


def _zip(request: pytest.FixtureRequest) -> Put:
    local = _local(request)

    def put(key: str, content: bytes) -> Opened:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as writer:
            writer.writestr(key, content)
        path, _ = local("archive.zip", archive.getvalue())
        return f"zip://{key}::{path}", {}

    return put


def _server(name: str) -> Callable[[pytest.FixtureRequest], Put]:
    def place(request: pytest.FixtureRequest) -> Put:
        server = request.getfixturevalue(name)
        return lambda key, content: (server.put(key, content), server.storage_options)

    return place


def _object_store(name: str, kind: str) -> Callable[[pytest.FixtureRequest], Put]:
    """A store of obstore for one of the servers."""

    def place(request: pytest.FixtureRequest) -> Put:
        pytest.importorskip("obstore")
        server = request.getfixturevalue(name)
        proxy = LatencyProxy(server.port, partial_status=True)
        request.addfinalizer(proxy.close)
        store = (
            s3_store(proxy.endpoint_url)
            if kind == "s3"
            else http_store(f"{proxy.endpoint_url}/stores")
        )

        def put(key: str, content: bytes) -> Opened:
            server.put(f"stores/{key}", content)
            return f"stores/{key}" if kind == "s3" else key, {"store": store}

        return put

    return place


def _local_store(request: pytest.FixtureRequest) -> Put:
    stores = pytest.importorskip("obstore.store")
    local = _local(request)

    def put(key: str, content: bytes) -> Opened:
        path, _ = local(key, content)
        return SimpleNamespace(store=stores.LocalStore(path.parent), path=key), {}

    return put


def _memory_store(request: pytest.FixtureRequest) -> Put:
    stores = pytest.importorskip("obstore.store")
    store = stores.MemoryStore()

    def put(key: str, content: bytes) -> Opened:
        store.put(key, content)
        return key, {"store": store}

    return put


def _blob(request: pytest.FixtureRequest) -> Put:
    """An open file of Google's own client, as its users pass it."""
    storage = pytest.importorskip("google.cloud.storage")
    from google.auth.credentials import AnonymousCredentials

    server = request.getfixturevalue("gcs_server")

    def put(key: str, content: bytes) -> Opened:
        bucket, _, path = server.put(key, content).removeprefix("gs://").partition("/")
        client = storage.Client(
            project="test",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": server.endpoint_url},
        )
        file = client.bucket(bucket).blob(path).open("rb")
        request.addfinalizer(file.close)
        return file, {}

    return put


def _smart_open(request: pytest.FixtureRequest) -> Put:
    smart_open = pytest.importorskip("smart_open")
    local = _local(request)

    def put(key: str, content: bytes) -> Opened:
        file = smart_open.open(str(local(key, content)[0]), "rb")
        request.addfinalizer(file.close)
        return file, {}

    return put


def _fsspec_open(request: pytest.FixtureRequest) -> Put:
    memory = _memory(request)

    def put(key: str, content: bytes) -> Opened:
        file = fsspec.open(memory(key, content)[0], "rb").open()
        request.addfinalizer(file.close)
        return file, {}

    return put


PLACES = {
    "s3": _server("s3_server"),
    "s3-conditional": _server("moto_server"),
    "gcs": _server("gcs_server"),
    "http": _server("http_server"),
    "local": _local,
    "zip": _zip,
    "memory": _memory,
    "bytes": _bytes,
    "file-object": _file_object,
    "obstore-s3": _object_store("s3_server", "s3"),
    "obstore-s3-conditional": _object_store("moto_server", "s3"),
    "obstore-http": _object_store("http_server", "http"),
    "obstore-local": _local_store,
    "obstore-memory": _memory_store,
    "blob": _blob,
    "smart-open": _smart_open,
    "fsspec-open": _fsspec_open,
}


@pytest.fixture(params=PLACES)
def put(request: pytest.FixtureRequest) -> Put:
    """Puts an object into a store; gives what a user passes to open it."""
    return PLACES[request.param](request)


def opened(obj: Any, options: dict[str, Any], chunks: Any) -> xr.Dataset:
    """Open with chunks; xarray itself can't do so for `bytes`, which are chunked afterwards."""
    if isinstance(obj, bytes) and chunks is not None:
        return xr.open_dataset(obj, engine="dicom").chunk()
    return xr.open_dataset(obj, engine="dicom", storage_options=options, chunks=chunks)


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "dask"])
def test_a_region_of_a_slide(
    put: Put, objects: dict[str, bytes], region: NDArray[np.uint8], chunks: Any
) -> None:
    obj, options = put("slide.dcm", objects["slide.dcm"])
    ds = opened(obj, options, chunks)
    found = ds.image.isel(y=ROWS, x=COLUMNS).values
    # JPEG decoders may differ by one level.
    assert np.abs(found.astype(int) - region).max() <= 1
    by_millimetres = ds.image.sel(
        y=slice(ds.y[ROWS.start], ds.y[ROWS.stop - 1]),
        x=slice(ds.x[COLUMNS.start], ds.x[COLUMNS.stop - 1]),
    )
    np.testing.assert_array_equal(by_millimetres.values, found)


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "dask"])
def test_one_organ(
    put: Put, objects: dict[str, bytes], liver: NDArray[np.uint8], chunks: Any
) -> None:
    obj, options = put("organs.dcm", objects["organs.dcm"])
    ds = opened(obj, options, chunks)
    found = ds.segmentation.sel(segment_label="Liver")
    assert found.dims == ("z", "y", "x")
    np.testing.assert_array_equal(found.values, liver)


@pytest.mark.parametrize("place", ["s3", "gcs", "http", "local", "zip", "obstore-s3"])
def test_a_series_from_a_folder(place: str, request: pytest.FixtureRequest) -> None:
    """A prefix, named as the stores name it, is a volume."""
    written: Path = request.getfixturevalue("tmp_path") / "written"
    written.mkdir()
    images = ct_series(written, planes=7, shape=(40, 60))
    files = {f"planes/{path.name}": path.read_bytes() for path in written.iterdir()}
    if place == "zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as writer:
            for key, content in files.items():
                writer.writestr(key, content)
        path, options = _local(request)("archive.zip", archive.getvalue())
        folder = f"zip://planes/::{path}"
    elif place == "obstore-s3":
        put = PLACES[place](request)
        names = [put(key, content) for key, content in files.items()]
        folder, options = names[0][0].rpartition("/")[0], names[0][1]
    elif place == "local":
        root: Path = request.getfixturevalue("tmp_path")
        (root / "planes").mkdir()
        for key, content in files.items():
            (root / key).write_bytes(content)
        folder, options = str(root / "planes"), {}
    else:
        server = request.getfixturevalue(f"{place}_server")
        urls = [server.put(key, content) for key, content in files.items()]
        folder, options = urls[0].rpartition("/")[0] + "/", server.storage_options
    ds = xr.open_dataset(folder, engine="dicom", storage_options=options)
    ordered = sorted(images, key=lambda image: float(image.ImagePositionPatient[2]))
    expected = [
        image.pixel_array.astype(np.float32) * np.float32(image.RescaleSlope)
        + np.float32(image.RescaleIntercept)
        for image in ordered
    ]
    np.testing.assert_array_equal(ds.image.values, np.stack(expected))
    np.testing.assert_allclose(ds.z, [image.ImagePositionPatient[2] for image in ordered])
