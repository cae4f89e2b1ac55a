"""Index caches: entries whole or missing, private, bounded, shared by processes."""

from __future__ import annotations

import multiprocessing
import os
import random
import stat
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.servers import Server
from xarray_dicom import DicomError, DicomWarning
from xarray_dicom.index_cache import cache as cache_module
from xarray_dicom.index_cache.cache import (
    IndexCache,
    choose_cache,
    choose_cache_to_fill,
    entry_name,
)
from xarray_dicom.index_cache.checksummed import (
    HEADER_SIZE,
    MAGIC,
    MAX_PAYLOAD,
    add_checksum,
    stored_size,
    verified_payload,
)
from xarray_dicom.index_cache.local_folder import DRAFT_LIFETIME, TOUCH_INTERVAL, LocalFolder
from xarray_dicom.index_cache.remote import FIRST_REQUEST
from xarray_dicom.runtime import run
from xarray_dicom.storage import URLSource, open_source

NOT_WINDOWS = pytest.mark.skipif(os.name == "nt", reason="modes and owners as POSIX has them")


def source(name: str = "slide.dcm") -> URLSource:
    return URLSource(f"s3://bucket/{name}")


def get(cache: IndexCache | None, name: str = "slide.dcm") -> bytes | None:
    assert cache is not None
    return run(cache.get(source(name)))


def put(cache: IndexCache | None, entry: bytes, name: str = "slide.dcm") -> None:
    assert cache is not None
    run(cache.put(source(name), entry))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def _forget_warnings() -> Iterator[None]:
    cache_module._warned.clear()
    yield
    cache_module._warned.clear()


class TestChecksum:
    @given(st.binary(max_size=200))
    def test_round_trip(self, payload: bytes) -> None:
        assert verified_payload(add_checksum(payload)) == payload
        assert stored_size(add_checksum(payload)[:HEADER_SIZE]) == HEADER_SIZE + len(payload)

    @given(st.binary(max_size=60), st.data())
    def test_any_change_is_detected(self, payload: bytes, data: st.DataObject) -> None:
        stored = bytearray(add_checksum(payload))
        position = data.draw(st.integers(0, len(stored) - 1))
        stored[position] ^= data.draw(st.integers(1, 255))
        assert verified_payload(bytes(stored)) is None

    def test_any_truncation_and_extension_is_detected(self) -> None:
        stored = add_checksum(b"payload")
        assert all(verified_payload(stored[:length]) is None for length in range(len(stored)))
        assert verified_payload(stored + b"\0") is None

    def test_a_length_that_is_too_large_is_rejected(self) -> None:
        stored = add_checksum(b"payload")
        version = stored[len(MAGIC) : len(MAGIC) + 4]
        vast = MAGIC + version + (MAX_PAYLOAD + 1).to_bytes(8, "little") + stored[len(MAGIC) + 12 :]
        assert stored_size(vast) is None


class TestNames:
    def test_a_name_reveals_nothing(self) -> None:
        name = entry_name(URLSource("https://host/slide.dcm?X-Amz-Signature=secret"))
        assert name is not None
        assert set(name) <= set("0123456789abcdef")
        # Signatures differ each time, the object is the same.
        assert name == entry_name(URLSource("https://host/slide.dcm"))
        assert name != entry_name(URLSource("https://host/other.dcm"))

    def test_an_object_of_this_process_alone_has_none(self, tmp_path: Path) -> None:
        cache = choose_cache(source(), tmp_path)
        assert cache is not None
        for obj in (b"\0" * 200, "memory://slide.dcm"):
            inside = open_source(obj)
            assert entry_name(inside) is None
            run(cache.put(inside, b"entry"))
            assert run(cache.get(inside)) is None
        assert files(tmp_path) == []


class TestFolder:
    def test_round_trip(self, tmp_path: Path) -> None:
        cache = choose_cache(source(), tmp_path / "a" / "cache")
        assert get(cache) is None
        put(cache, b"one")
        assert get(cache) == b"one"
        put(cache, b"two")
        assert get(cache) == b"two"
        assert get(cache, "other.dcm") is None
        assert len(files(tmp_path)) == 1

    @NOT_WINDOWS
    def test_nobody_else_can_read_it(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        before = os.umask(0)
        try:
            put(choose_cache(source(), tmp_path / "above" / "cache"), b"entry")
        finally:
            os.umask(before)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)}
        folders = {
            stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_dir()
        }
        assert (modes, folders) == ({0o600}, {0o700})

    @NOT_WINDOWS
    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
    def test_a_folder_that_others_can_write_is_not_used(self, tmp_path: Path, mode: int) -> None:
        cache = choose_cache(source(), tmp_path)
        put(cache, b"entry")
        tmp_path.chmod(mode)
        assert get(cache) is None
        with pytest.warns(DicomWarning, match="chmod go-w"):
            put(cache, b"other")
        tmp_path.chmod(0o700)
        assert get(cache) == b"entry"

    @NOT_WINDOWS
    def test_a_folder_of_another_user_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = choose_cache(source(), tmp_path)
        put(cache, b"entry")
        monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
        assert get(cache) is None
        with pytest.warns(DicomWarning, match="another user"):
            put(cache, b"entry")

    @NOT_WINDOWS
    def test_links_and_pipes_in_place_of_files_are_not_opened(self, tmp_path: Path) -> None:
        cache = choose_cache(source(), tmp_path / "cache")
        put(cache, b"entry")
        (file,) = files(tmp_path / "cache")
        elsewhere = tmp_path / "elsewhere"
        file.rename(elsewhere)
        file.symlink_to(elsewhere)
        assert get(cache) is None
        file.unlink()
        os.mkfifo(file)
        assert get(cache) is None
        put(cache, b"new")
        assert get(cache) == b"new"
        assert verified_payload(elsewhere.read_bytes()) == b"entry"

    def test_damage_is_a_miss(self, tmp_path: Path) -> None:
        cache = choose_cache(source(), tmp_path)
        put(cache, b"entry" * 100)
        (file,) = files(tmp_path)
        whole = file.read_bytes()
        for damaged in (
            b"",
            whole[:-1],
            whole[: HEADER_SIZE - 1],
            whole + b"\0",
            b"\0" + whole[1:],
        ):
            file.write_bytes(damaged)
            assert get(cache) is None
        # One that claims to be larger than anything is not even read.
        with open(file, "wb") as sparse:
            sparse.truncate(HEADER_SIZE + MAX_PAYLOAD + 1)
        assert get(cache) is None
        put(cache, b"again")
        assert get(cache) == b"again"

    def test_a_failed_write_leaves_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = choose_cache(source(), tmp_path)
        put(cache, b"entry")

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.warns(DicomWarning, match="No space left"):
            put(cache, b"other")
        assert get(cache) == b"entry"
        assert len(files(tmp_path)) == 1

    def test_a_named_cache_warns_once_that_it_fails(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        cache = choose_cache(source(), tmp_path / "file")
        with pytest.warns(DicomWarning, match="file can't be written"):
            put(cache, b"entry")
        # Warnings are errors here, so this one draws none.
        put(choose_cache(source(), tmp_path / "file"), b"entry", "other.dcm")
        with pytest.raises(OSError, match="no folder"):
            put(choose_cache_to_fill(source(), tmp_path / "file"), b"entry")

    def test_the_default_cache_never_warns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_bytes(b"")
        monkeypatch.setattr(
            platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "file" / "below"
        )
        put(choose_cache(source(), True), b"entry")
        assert get(choose_cache(source(), True)) is None


class TestBounds:
    LIMIT = 100_000
    ENTRY_SIZE = 9_500

    def folder(self, path: Path) -> IndexCache:
        return IndexCache(LocalFolder(path, self.LIMIT))

    def test_the_least_recently_used_are_evicted_first(self, tmp_path: Path) -> None:
        cache = self.folder(tmp_path)
        now, seen = time.time(), set[Path]()
        for number in range(10):
            put(cache, bytes([number]) * self.ENTRY_SIZE, f"{number}")
            (newest,) = set(files(tmp_path)) - seen
            seen.add(newest)
            os.utime(newest, (now - 100_000 + number,) * 2)
        # The oldest is used again, so the second oldest goes first.
        assert get(cache, "0") is not None
        put(cache, b"x" * self.ENTRY_SIZE, "10")
        remaining = {name for name in map(str, range(11)) if get(cache, name) is not None}
        assert {"0", "9", "10"} <= remaining
        assert not {"1", "2"} & remaining
        assert sum(path.stat().st_size for path in files(tmp_path)) <= self.LIMIT

    def test_the_limit_holds_for_entries_of_any_size(self, tmp_path: Path) -> None:
        cache = self.folder(tmp_path)
        sizes = random.Random(5)
        for number in range(200):
            put(cache, bytes(sizes.randrange(1, 20_000)), str(number))
            assert sum(path.stat().st_size for path in files(tmp_path)) <= self.LIMIT
            assert get(cache, str(number)) is not None

    def test_an_entry_larger_than_the_limit_stays_alone(self, tmp_path: Path) -> None:
        cache = self.folder(tmp_path)
        put(cache, b"small", "small")
        put(cache, bytes(2 * self.LIMIT), "large")
        assert get(cache, "large") is not None
        assert get(cache, "small") is None

    def test_the_time_of_last_use_is_updated_once_an_hour(self, tmp_path: Path) -> None:
        cache = self.folder(tmp_path)
        put(cache, b"entry")
        (file,) = files(tmp_path)
        recent = time.time() - TOUCH_INTERVAL / 2
        os.utime(file, (recent, recent))
        get(cache)
        assert file.stat().st_mtime == pytest.approx(recent, abs=1)
        os.utime(file, (recent - TOUCH_INTERVAL, recent - TOUCH_INTERVAL))
        get(cache)
        assert file.stat().st_mtime > recent

    def test_old_drafts_are_deleted(self, tmp_path: Path) -> None:
        cache = self.folder(tmp_path)
        put(cache, b"entry")
        (folder,) = tmp_path.iterdir()
        old, young = folder / ".old.xdi.1234", folder / ".young.xdi.1234"
        for draft in (old, young):
            draft.write_bytes(b"half")
        os.utime(old, (time.time() - 2 * DRAFT_LIFETIME,) * 2)
        put(cache, bytes(2 * self.LIMIT), "large")
        assert not old.exists()
        assert young.exists() or sum(map(os.path.getsize, files(tmp_path))) > self.LIMIT


def _use(folder: str, seed: int, failures: Any) -> None:
    """Put and get in a cache that others use too, and note whatever is wrong."""
    cache = IndexCache(LocalFolder(folder, 60_000), required=True)
    chance = random.Random(seed)
    for _ in range(150):
        number = chance.randrange(20)
        name = f"object {number}"
        # Whoever wrote it, it starts with its own number.
        expected = number.to_bytes(2, "little")
        if chance.random() < 0.5:
            put(cache, expected * chance.randrange(1, 4_000), name)
        else:
            entry = get(cache, name)
            if entry is not None and entry != expected * (len(entry) // 2):
                failures.put(name)


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    failures = context.Queue()
    processes = [
        context.Process(target=_use, args=(str(tmp_path), seed, failures)) for seed in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert failures.empty()
    assert not [path for path in files(tmp_path) if path.name.startswith(".")]
    # Nobody knows what the others write at this moment, so the last one decides.
    put(IndexCache(LocalFolder(tmp_path, 60_000)), b"last")
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 60_000


class TestRemote:
    def test_a_store_of_any_kind(self) -> None:
        cache = choose_cache(source(), "memory://cache/xdi/")
        assert cache is not None
        assert not cache.answers_at_once(source())
        assert get(cache) is None
        put(cache, b"entry")
        assert get(cache) == b"entry"
        names = fsspec.filesystem("memory").find("/cache/xdi")
        assert [name.rpartition(".")[2] for name in names] == ["xdi"]

    def test_a_large_entry_takes_a_second_request(self) -> None:
        entry = random.Random(3).randbytes(3 * FIRST_REQUEST)
        cache = choose_cache(source(), "memory://large")
        put(cache, entry)
        assert get(cache) == entry

    def test_s3(self, s3_server: Server) -> None:
        url = s3_server.put("cached/slide.dcm", b"object")
        obj = URLSource(url, s3_server.storage_options)
        # The cache is asked like the objects, as it lies in a store of the same protocol.
        cache = choose_cache(obj, url.rpartition("/")[0] + "/cache")
        assert cache is not None
        assert run(cache.get(obj)) is None
        run(cache.put(obj, b"entry"))
        assert run(cache.get(obj)) == b"entry"

    def test_a_forbidden_store_is_a_miss(self, s3_server: Server) -> None:
        options = {**s3_server.storage_options, "key": "nobody", "secret": "wrong"}
        obj = URLSource("s3://images/forbidden.dcm", options)
        cache = choose_cache(obj, "s3://images/cache?token=SECRET")
        assert cache is not None
        assert run(cache.get(obj)) is None
        with pytest.warns(DicomWarning, match="s3://images/cache can't be written") as caught:
            run(cache.put(obj, b"entry"))
        assert "SECRET" not in str(caught[0].message)

    def test_a_store_that_can_not_be_written_is_read(self, http_server: Server) -> None:
        name = entry_name(source())
        assert name is not None
        url = http_server.put(f"cache/{name[:2]}/{name[2:]}.xdi", add_checksum(b"entry"))
        cache = choose_cache(source(), url.rpartition("/")[0].rpartition("/")[0])
        assert get(cache) == b"entry"
        with pytest.warns(DicomWarning, match="can't be written"):
            put(cache, b"other")
        assert get(cache) == b"entry"

    def test_options_go_to_no_other_protocol(self) -> None:
        obj = URLSource("s3://bucket/slide.dcm", {"secret": "of S3"})
        cache = choose_cache(obj, "memory://options")
        assert cache is not None
        assert cache.store.storage_options == {}  # type: ignore[attr-defined]


class TestSidecar:
    def test_opening_reads_and_never_writes(self, tmp_path: Path) -> None:
        (tmp_path / "slide.dcm").write_bytes(b"object")
        obj = open_source(tmp_path / "slide.dcm")
        reading = choose_cache(obj, "sidecar")
        assert reading is not None
        run(reading.put(obj, b"entry"))
        assert run(reading.get(obj)) is None
        assert [path.name for path in files(tmp_path)] == ["slide.dcm"]
        run(choose_cache_to_fill(obj, "sidecar").put(obj, b"entry"))
        assert run(reading.get(obj)) == b"entry"
        assert [path.name for path in files(tmp_path)] == ["slide.dcm", "slide.dcm.xdi"]

    def test_s3(self, s3_server: Server) -> None:
        obj = URLSource(s3_server.put("sidecar/a.dcm", b"object"), s3_server.storage_options)
        run(choose_cache_to_fill(obj, "sidecar").put(obj, b"entry"))
        reading = choose_cache(obj, "sidecar")
        assert reading is not None
        assert run(reading.get(obj)) == b"entry"
        assert run(obj.sibling(".xdi").open(1000)).content.startswith(MAGIC)

    def test_an_object_without_a_url_has_none(self) -> None:
        inside = open_source(b"\0" * 200)
        reading = choose_cache(inside, "sidecar")
        assert reading is not None
        assert run(reading.get(inside)) is None


class TestChoice:
    @pytest.mark.parametrize("off", ["off", "0", "false", "OFF"])
    def test_off_by_environment(self, monkeypatch: pytest.MonkeyPatch, off: str) -> None:
        monkeypatch.setenv(cache_module.CACHE_VARIABLE, off)
        assert choose_cache(source()) is None
        with pytest.raises(DicomError, match="no index cache"):
            choose_cache_to_fill(source())

    def test_off_by_keyword(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv(cache_module.CACHE_VARIABLE, str(tmp_path))
        assert choose_cache(source(), False) is None

    @pytest.mark.parametrize("on", [None, "", "on", "1", "true"])
    def test_on_by_default(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, on: str | None
    ) -> None:
        monkeypatch.delenv(cache_module.CACHE_VARIABLE) if on is None else monkeypatch.setenv(
            cache_module.CACHE_VARIABLE, on
        )
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "own")
        put(choose_cache(source()), b"entry")
        (file,) = files(tmp_path)
        assert file.is_relative_to(tmp_path / "own" / "instances")

    def test_without_a_home_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache"))
        assert choose_cache(source(), True) is None

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_a_place_by_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: str
    ) -> None:
        monkeypatch.setenv(cache_module.CACHE_VARIABLE, f"{prefix}{tmp_path}/cache")
        put(choose_cache(source()), b"entry")
        assert len(files(tmp_path / "cache")) == 1

    def test_a_size_by_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv(cache_module.SIZE_VARIABLE, "50000")
        for number in range(10):
            put(choose_cache(source(), tmp_path), bytes(9_000), str(number))
        assert 9_000 < sum(path.stat().st_size for path in files(tmp_path)) <= 50_000
        monkeypatch.setenv(cache_module.SIZE_VARIABLE, "0")
        assert choose_cache(source(), tmp_path) is None
        monkeypatch.setenv(cache_module.SIZE_VARIABLE, "1 GB")
        with pytest.raises(DicomError, match="number of bytes"):
            choose_cache(source(), tmp_path)


def test_no_warning_is_drawn_where_all_is_well(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put(choose_cache(source(), tmp_path), b"entry")
