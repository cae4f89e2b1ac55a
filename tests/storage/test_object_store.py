"""obstore's stores that users pass."""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from support.object_stores import gcs_store, http_store, s3_store
from support.proxy import LatencyProxy
from support.servers import BUCKET, KEY, SECRET, Server
from support.source_conformance import SECONDS, ByteSourceConformance, Place
from xarray_dicom.errors import DicomError, SourceChangedError, UnsupportedDicomError
from xarray_dicom.runtime import enter_loop, run
from xarray_dicom.storage import URLSource, expand, list_folder, open_source

obstore = pytest.importorskip("obstore")
from obstore.store import (  # noqa: E402
    AzureStore,
    GCSStore,
    HTTPStore,
    LocalStore,
    MemoryStore,
    S3Store,
)

CONTENT = np.random.default_rng(0).bytes(400_000)


def source_of(obj: Any, store: Any) -> URLSource:
    source = open_source(obj, {"store": store})
    assert isinstance(source, URLSource)
    return source


def location_of(obj: Any, store: Any) -> str:
    return source_of(obj, store).location


class ObjectStoreConformance(ByteSourceConformance):
    """obstore has threads of its own, which a forked process lacks: it says so."""

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
    def test_read_in_a_forked_process(self, place: Place) -> None:
        source = place.source("forked.dcm")
        run(source.open(10))
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                run(source.read(9, 100))
            except DicomError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.close(writing)
        try:
            ready, _, _ = select.select([reading], [], [], SECONDS)
            assert ready, "the forked process hangs"
            assert b"'spawn' or 'forkserver'" in os.read(reading, 1000)
        finally:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert run(source.read(0, 5))


def served(server: Server, store: Any) -> Place:
    """A place whose objects are named by their paths in a store that has the prefix ``stored``."""

    def put(key: str, content: bytes) -> str:
        server.put(f"stored/{key}", content)
        return key

    return Place(put, lambda key: server.delete(f"stored/{key}"), {"store": store})


class TestStoreOfS3(ObjectStoreConformance):
    @pytest.fixture
    def place(self, s3_server: Server) -> Iterator[Place]:
        with LatencyProxy(s3_server.port, partial_status=True) as proxy:
            yield served(s3_server, s3_store(proxy.endpoint_url, prefix="stored"))


class TestStoreOfS3WithConditions(ObjectStoreConformance):
    @pytest.fixture
    def place(self, moto_server: Server) -> Place:
        return served(moto_server, s3_store(moto_server.endpoint_url, prefix="stored/"))


class TestStoreOfGCS(ObjectStoreConformance):
    @pytest.fixture
    def place(self, gcs_server: Server) -> Place:
        return Place(gcs_server.put, gcs_server.delete, {"store": gcs_store(gcs_server)})


class TestStoreOfHTTP(ObjectStoreConformance):
    tells_same_size = False

    @pytest.fixture
    def place(self, http_server: Server) -> Place:
        return served(http_server, http_store(f"{http_server.endpoint_url}/stored"))


class TestLocalStore(ObjectStoreConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(key: str, content: bytes) -> Any:
            (tmp_path / key).write_bytes(content)
            return SimpleNamespace(store=LocalStore(tmp_path), path=key)

        return Place(put, lambda key: (tmp_path / key).unlink())


class TestMemoryStore(ObjectStoreConformance):
    can_leave = False

    @pytest.fixture
    def place(self) -> Place:
        store = MemoryStore()

        def put(key: str, content: bytes) -> str:
            store.put(key, content)
            return key

        return Place(put, store.delete, {"store": store})


LOCAL = Path(__file__).parent
ONCE: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


@pytest.mark.parametrize(
    ("store", "objects", "location"),
    [
        (
            S3Store("b", prefix="p/q"),
            ["a.dcm", "/a.dcm", "s3://b/p/q/a.dcm", "s3a://b/p/q/a.dcm"],
            "s3://b/p/q/a.dcm",
        ),
        (S3Store("b"), ["x/a b%41?.dcm", "s3://b/x/a b%41?.dcm"], "s3://b/x/a b%41"),
        (S3Store("b", prefix="p"), ["p/a.dcm"], "s3://b/p/p/a.dcm"),
        (GCSStore("b"), ["a.dcm", "gs://b/a.dcm", "gcs://b/a.dcm"], "gs://b/a.dcm"),
        (
            AzureStore("c", account_name="n", prefix="p"),
            ["a.dcm", "az://c/p/a.dcm", "abfss://c@n.dfs.core.windows.net/p/a.dcm"],
            "az://c/p/a.dcm",
        ),
        (
            HTTPStore.from_url("https://u:secret@h:8/x/?sig=secret"),
            ["a b.dcm", "https://h:8/x/a b.dcm", "https://h:8/x/a%20b.dcm"],
            "https://h:8/x/a%20b.dcm",
        ),
        (LocalStore(LOCAL), ["a.dcm", f"{LOCAL}/a.dcm", f"file://{LOCAL}/a.dcm"], f"{LOCAL}/a.dcm"),
        (LocalStore(), ["/x/a.dcm", "x/a.dcm"], "/x/a.dcm"),
        (MemoryStore(), ["a.dcm", "/a.dcm", "memory://a.dcm"], "memory://a.dcm"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_names_an_object(store: Any, objects: list[str], location: str) -> None:
    for obj in objects:
        assert location_of(obj, store) == location
        assert location_of(Path(obj), store) == location or "://" in obj
        assert open_source(SimpleNamespace(store=store, path=obj)).location == location


@pytest.mark.parametrize(
    ("store", "url"),
    [
        (S3Store("b"), "s3://other/a.dcm"),
        (S3Store("b", prefix="p"), "s3://b/pq/a.dcm"),
        (S3Store("b"), "gs://b/a.dcm"),
        (S3Store("b"), "zip://a.dcm::s3://b/a.zip"),
        (HTTPStore.from_url("https://h/x"), "http://h/x/a.dcm"),
        (MemoryStore(), "file:///a.dcm"),
    ],
)
def test_urls_outside_of_the_store(store: Any, url: str) -> None:
    with pytest.raises(DicomError, match=r"not in the store .*; pass the path"):
        open_source(url, {"store": store})


def test_a_query_that_a_store_would_not_send() -> None:
    store = HTTPStore.from_url("https://h/x")
    with pytest.raises(DicomError, match="query") as caught:
        open_source("https://h/x/a.dcm?sig=secret", {"store": store})
    assert "secret" not in str(caught.value)


def test_what_is_no_store() -> None:
    with pytest.raises(DicomError, match="is a dict; pass a store of obstore"):
        open_source("a.dcm", {"store": {}})
    with pytest.raises(DicomError, match=r"\['anon'\] beside 'store'"):
        open_source("a.dcm", {"store": MemoryStore(), "anon": True})


def test_objects_of_zarr() -> None:
    storage = pytest.importorskip("zarr.storage")
    store = storage.ObjectStore(S3Store("b", prefix="p"))
    assert location_of("a.dcm", store) == "s3://b/p/a.dcm"
    assert open_source(storage.StorePath(store, "a.dcm")).location == "s3://b/p/a.dcm"


def test_a_local_store_means_the_same_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.dcm").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    source = source_of("a.dcm", LocalStore("files"))
    monkeypatch.chdir("/")
    assert run(pickle.loads(pickle.dumps(source)).read(5, 5)) == CONTENT[5:10]


@pytest.mark.parametrize(
    "store",
    [
        s3_store("http://127.0.0.1:9", config={"session_token": "a-secret"}, retry_config=ONCE),
        HTTPStore.from_url(
            "http://user:a-secret@127.0.0.1:9/x?sig=a-secret",
            client_options={"allow_http": True},
            retry_config=ONCE,
        ),
    ],
    ids=["s3", "http"],
)
def test_nothing_shows_secrets(store: Any) -> None:
    source = source_of("a.dcm", store)
    with pytest.raises(OSError, match=r"a\.dcm") as caught:
        run(source.open(10))
    shown = [source.location, repr(source), repr(source.storage_options), str(source.identity)]
    for text in (*shown, str(caught.value)):
        assert "a-secret" not in text
        assert SECRET not in text


def test_identities_are_those_without_a_store(moto_server: Server) -> None:
    options = moto_server.storage_options
    url = f"s3://{BUCKET}/a.dcm"
    store = s3_store(moto_server.endpoint_url)
    assert source_of("a.dcm", store).identity == open_source(url, options).identity
    other = s3_store("http://h:1")
    assert source_of("a.dcm", other).identity != open_source(url, options).identity
    assert source_of("a.dcm", MemoryStore()).identity is None
    azure = [source_of("a.dcm", AzureStore("c", account_name=name)).identity for name in "mn"]
    assert azure[0] != azure[1]


def test_pickles_of_equal_stores_are_equal() -> None:
    """Dask names what it caches by pickles."""
    config = {"session_token": "t", "request_payer": True, "skip_signature": False}
    pickles = {
        pickle.dumps(
            pickle.loads(pickle.dumps(source_of("a.dcm", s3_store("http://h", config=config))))
        )
        for _ in range(8)
    }
    assert len(pickles) == 1


def test_threads_of_obstore_are_waited_for() -> None:
    assert not source_of("a.dcm", LocalStore()).immediate
    assert not source_of("a.dcm", MemoryStore()).immediate
    assert URLSource("/a.dcm").immediate


def test_memory_stays_in_its_process() -> None:
    source = source_of("a.dcm", MemoryStore())
    with pytest.raises(DicomError, match="can't be sent to another process; put its objects"):
        pickle.dumps(source)


@pytest.fixture(params=["s3", "moto", "gcs", "local", "memory"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store with a few objects, of which two lie in a folder."""
    keys = ["f/a.dcm", "f/b c%41.dcm", "f/.hidden", "f/a.dcm.xdi", "f2/c.dcm", "top.dcm"]
    if request.param in ("local", "memory"):
        store = LocalStore(tmp_path) if request.param == "local" else MemoryStore()
        for key in keys:
            store.put(key, CONTENT[:9])
        yield store
        return
    server: Server = request.getfixturevalue(f"{request.param}_server")
    for key in keys:
        server.put(f"filled/{key}", CONTENT[:9])
    if request.param == "gcs":
        # obstore's store of GCS takes a prefix in its URL only.
        yield GCSStore(
            BUCKET,
            prefix="filled",
            config={"base_url": server.endpoint_url, "skip_signature": True},
            client_options={"allow_http": True},
        )
        return
    with LatencyProxy(server.port, partial_status=True) as proxy:
        yield s3_store(proxy.endpoint_url, prefix="filled")


def names(sources: list[Any]) -> list[str]:
    return [source.location.rpartition("/")[2] for source in sources]


def test_folders_and_patterns(filled: Any) -> None:
    def listed(obj: Any) -> list[str]:
        return names(run(expand(obj, {"store": filled}, skip=(".xdi",))))

    in_folder = ["a.dcm", "b c%41.dcm"]
    assert listed("f/") == in_folder
    assert listed("f/*.dcm") == in_folder
    assert listed("*/*.dcm") == [*in_folder, "c.dcm"]
    assert listed(["f/", "top.dcm"]) == [*in_folder, "top.dcm"]
    prefix = open_source("f", {"store": filled})
    assert names(run(list_folder(prefix, skip=(".xdi",)))) == in_folder
    sources = run(expand("f/", {"store": filled}))
    assert run(sources[1].read(0, 9)) == CONTENT[:9]


def test_folders_with_nothing(filled: Any) -> None:
    for obj in ("nothing/", "nothing/*.dcm"):
        with pytest.raises(FileNotFoundError, match="no object"):
            run(expand(obj, {"store": filled}))


def test_the_root_of_a_store(filled: Any) -> None:
    source = open_source("", {"store": filled})
    with pytest.raises((IsADirectoryError, FileNotFoundError)):
        run(source.open(10))
    assert names(run(list_folder(source, skip=(".xdi",)))) == [
        "a.dcm",
        "b c%41.dcm",
        "c.dcm",
        "top.dcm",
    ]


def test_a_web_server_that_lists_nothing(http_server: Server) -> None:
    http_server.put("stored/listed.dcm", b"1")
    store = http_store(http_server.endpoint_url)
    with pytest.raises(FileNotFoundError, match="no object here, and none below"):
        run(expand("stored/", {"store": store}))


def test_a_server_that_sends_status_200_is_not_asked_by_fsspec(s3_server: Server) -> None:
    s3_server.put("stored/refused.dcm", CONTENT)
    source = source_of("stored/refused.dcm", s3_store(s3_server.endpoint_url))
    with pytest.raises(UnsupportedDicomError, match="doesn't send byte ranges"):
        run(source.open(10))


def test_refused_access(s3_server: Server) -> None:
    s3_server.put("stored/refused.dcm", b"1")
    store = s3_store(s3_server.endpoint_url, config={"secret_access_key": "another"})
    with pytest.raises(PermissionError, match="access is refused") as caught:
        run(source_of("stored/refused.dcm", store).open(1))
    assert "another" not in str(caught.value)
    assert caught.value.filename == f"s3://{BUCKET}/stored/refused.dcm"


def test_a_changed_object_is_caught_by_the_request_itself(moto_server: Server) -> None:
    moto_server.put("stored/changed.dcm", CONTENT)
    with LatencyProxy(moto_server.port) as proxy:
        source = source_of("stored/changed.dcm", s3_store(proxy.endpoint_url))
        run(source.open(10))
        moto_server.put("stored/changed.dcm", CONTENT[::-1])
        sent = proxy.bytes_sent
        with pytest.raises(SourceChangedError, match="open it again"):
            run(source.read(0, 300_000))
        assert proxy.bytes_sent - sent < 10_000


def test_a_file_overwritten_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(CONTENT)
    source = source_of("a.dcm", LocalStore(tmp_path))
    run(source.read(0, 10))
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(SourceChangedError):
        run(source.verify())


def _requests(
    server: Server, work: Callable[[str, dict[str, Any]], None], options: Callable[[str], Any]
) -> int:
    with LatencyProxy(server.port) as proxy:
        work(f"s3://{BUCKET}/counted", options(proxy.endpoint_url))
        return proxy.requests


def test_as_many_requests_as_without_a_store(moto_server: Server) -> None:
    for name in "abc":
        moto_server.put(f"counted/{name}.dcm", CONTENT)

    def without(endpoint_url: str) -> dict[str, Any]:
        return {"key": KEY, "secret": SECRET, "endpoint_url": endpoint_url}

    def with_store(endpoint_url: str) -> dict[str, Any]:
        return {"store": s3_store(endpoint_url)}

    async def read(url: str, options: dict[str, Any]) -> None:
        (source,) = await expand(url, options)
        await source.open(1000)
        await source.read_many([(0, 10), (100, 10), (300_000, 10)])
        await source.verify()

    def one(url: str, options: dict[str, Any]) -> None:
        run(read(f"{url}/a.dcm", options))

    def folder(url: str, options: dict[str, Any]) -> None:
        async def open_all() -> None:
            await enter_loop()
            sources = await expand(f"{url}/", options)
            await asyncio.gather(*(source.open(10) for source in sources))

        run(open_all())

    for work in (one, folder):
        expected = _requests(moto_server, work, without)
        assert _requests(moto_server, work, with_store) <= expected
    assert _requests(moto_server, one, with_store) == 3
    assert _requests(moto_server, folder, with_store) == 1 + 3


BUSY = """
import asyncio, pickle, sys, time
from xarray_dicom.runtime import run, runtime
source = pickle.loads(bytes.fromhex(sys.argv[1]))
run(source.open(10))
for start in range(30):
    asyncio.run_coroutine_threadsafe(source.read(start, 1_000_000), runtime().loop)
time.sleep(float(sys.argv[2]))
"""


def test_a_process_may_end_while_it_reads(moto_server: Server) -> None:
    moto_server.put("exit/store.dcm", bytes(2_000_000))
    with LatencyProxy(moto_server.port, latency=0.05, bandwidth=30e6) as proxy:
        source = source_of("exit/store.dcm", s3_store(proxy.endpoint_url))
        for seconds in ("0.0", "0.1"):
            ended = subprocess.run(
                [sys.executable, "-c", BUSY, pickle.dumps(source).hex(), seconds],
                capture_output=True,
                timeout=30,
                text=True,
            )
            assert ended.returncode == 0, ended.stderr
            assert "atal" not in ended.stderr
