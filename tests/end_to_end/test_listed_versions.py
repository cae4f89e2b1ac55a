"""A second open of a prefix: versions that its listing states are not requested again."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem

from support.counting import CountingFileSystem
from support.generate.series import ct_series
from support.proxy import LatencyProxy
from support.records import difference
from support.servers import Server
from xarray_dicom import SourceChangedError
from xarray_dicom.runtime import run
from xarray_dicom.storage import Fingerprint, URLSource, expand

PLANES = 5


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("ct")
    ct_series(folder, planes=PLANES, shape=(8, 9))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@dataclass(frozen=True)
class Prefix:
    """A series below a prefix of a real store, behind a proxy that counts requests."""

    url: str
    server: Server
    proxy: LatencyProxy
    folder: str

    @property
    def options(self) -> dict[str, Any]:
        return {**self.server.storage_options, "endpoint_url": self.proxy.endpoint_url}

    def open(self, obj: Any, cache: Path) -> xr.Dataset:
        return xr.open_dataset(obj, engine="dicom", storage_options=self.options, index_cache=cache)

    def requests_to_open(self, obj: Any, cache: Path) -> int:
        before = self.proxy.requests
        self.open(obj, cache)
        return self.proxy.requests - before


@pytest.fixture(params=["s3", "moto", "gcs"])
def prefix(
    request: pytest.FixtureRequest, files: dict[str, bytes], tmp_path: Path
) -> Iterator[Prefix]:
    server: Server = request.getfixturevalue(f"{request.param}_server")
    folder = f"listed/{tmp_path.name}"
    for name, content in files.items():
        url = server.put(f"{folder}/{name}", content)
    with LatencyProxy(server.port, partial_status=request.param == "s3") as proxy:
        yield Prefix(url.rpartition("/")[0] + "/", server, proxy, folder)


def test_a_second_open_is_the_listing_alone(prefix: Prefix, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = prefix.open(prefix.url, cache)
    for obj in (prefix.url, [prefix.url], f"{prefix.url}*.dcm"):
        before = prefix.proxy.requests
        run(expand(obj, prefix.options))
        listing = prefix.proxy.requests - before
        assert listing < PLANES
        assert prefix.requests_to_open(obj, cache) == listing
    again = prefix.open(prefix.url, cache)
    assert difference(xr.DataTree(again), xr.DataTree(first)) == ""
    np.testing.assert_array_equal(again.image.values, first.image.values)


def test_replaced_before_the_listing(
    prefix: Prefix, files: dict[str, bytes], tmp_path: Path
) -> None:
    prefix.open(prefix.url, tmp_path / "cache")
    name, content = next(iter(files.items()))
    changed = content[:-1] + bytes([content[-1] ^ 1])
    prefix.server.put(f"{prefix.folder}/{name}", changed)
    fresh = xr.open_dataset(
        prefix.url, engine="dicom", storage_options=prefix.options, index_cache=False
    )
    again = prefix.open(prefix.url, tmp_path / "cache")
    np.testing.assert_array_equal(again.image.values, fresh.image.values)


def test_replaced_between_listing_and_read(
    prefix: Prefix, files: dict[str, bytes], tmp_path: Path
) -> None:
    prefix.open(prefix.url, tmp_path / "cache")
    again = prefix.open(prefix.url, tmp_path / "cache")
    name, content = next(iter(files.items()))
    prefix.server.put(f"{prefix.folder}/{name}", content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SourceChangedError, match=name):
        again.image.values  # noqa: B018


def test_listings_that_spell_versions_differently_cost_a_request(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        CountingFileSystem.put(f"respelled/{name}", content)

    def opened() -> xr.Dataset:
        CountingFileSystem.forget()
        return xr.open_dataset("counted://respelled/", engine="dicom", index_cache=tmp_path)

    first = opened()
    # Listings of this store state times as numbers, replies as dates.
    again = opened()
    assert len(CountingFileSystem.ranges) == PLANES
    np.testing.assert_array_equal(again.image.values, first.image.values)

    def with_versions_of_replies(
        self: CountingFileSystem, path: str, **options: Any
    ) -> dict[str, Any]:
        return {name: self.info(name) for name in MemoryFileSystem.find(self, path)}

    monkeypatch.setattr(CountingFileSystem, "find", with_versions_of_replies)
    opened()
    assert CountingFileSystem.ranges == []

    def without_sizes(self: CountingFileSystem, path: str, **options: Any) -> dict[str, Any]:
        entries = MemoryFileSystem.find(self, path, **options)
        return {name: {**entry, "size": "many"} for name, entry in entries.items()}

    monkeypatch.setattr(CountingFileSystem, "find", without_sizes)
    np.testing.assert_array_equal(opened().image.values, first.image.values)


def test_a_listing_alone_pins_nothing_and_is_not_pickled() -> None:
    listed = Fingerprint(3, 'etag:"a"')
    source = URLSource("memory://a", listed=listed)
    assert source.fingerprint is None
    assert not source.pin_listed(Fingerprint(3, 'etag:"b"'))
    assert source.fingerprint is None
    assert source == URLSource("memory://a")
    assert pickle.loads(pickle.dumps(source)).listed is None
    assert source.pin_listed(Fingerprint(3, 'etag:"a"'))
    assert source.fingerprint == listed
    assert not source.pin_listed(Fingerprint(3, 'etag:"b"'))


def test_a_version_that_is_only_a_size_is_never_pinned() -> None:
    source = URLSource("memory://a", listed=Fingerprint(3))
    assert not source.pin_listed(Fingerprint(3))
    assert source.fingerprint is None
