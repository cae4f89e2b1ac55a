"""Requirements on every source of bytes, wherever the bytes lie."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import select
import signal
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import fsspec.asyn
import numpy as np
import pytest

from xarray_dicom import runtime as runtime_module
from xarray_dicom.errors import CorruptDicomError, SourceChangedError
from xarray_dicom.runtime import Runtime, enter_loop, run, run_async
from xarray_dicom.storage import ByteSource, Fingerprint, URLSource, expand, open_source
from xarray_dicom.storage.clients.select import client_of

T = TypeVar("T")

CONTENT = np.random.default_rng(0).bytes(300_001)
SECONDS = 30


@dataclass(frozen=True)
class Place:
    """Somewhere that a test can put objects.

    Attributes
    ----------
    put
        Stores bytes under a key, and returns what `open_source` takes.
    delete
        Removes the object under a key; None where nothing can be removed.
    storage_options
        Storage options of the objects.
    """

    put: Callable[[str, bytes], Any]
    delete: Callable[[str], None] | None = None
    storage_options: dict[str, Any] = field(default_factory=dict)

    def source(self, key: str, content: bytes = CONTENT) -> ByteSource:
        """Return a source of an object that holds `content`."""
        return open_source(self.put(key, content), self.storage_options)


def service_client(source: ByteSource) -> Any:
    """Return the client of the service that a source reads, without its wrappers."""
    assert isinstance(source, URLSource)
    return run(client_of(source.parsed_url, source.storage_options))


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine by hand, in this thread: it must not wait for anything."""
    try:
        awaited = coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    coroutine.close()
    raise AssertionError(f"waits for {awaited!r}")


def first_awaited(coroutine: Coroutine[Any, Any, Any]) -> object:
    """Return what a coroutine yields first, and close it."""
    awaited: object = coroutine.send(None)
    coroutine.close()
    return awaited


def read_in_process(source: ByteSource, offset: int, length: int) -> bytes:
    """Read in another process."""
    return run(source.read(offset, length))


class ByteSourceConformance:
    """Inherit, and give a fixture `place`.

    Attributes
    ----------
    immediate
        True if sources answer without a network.
    can_leave
        True if a source may be pickled to another process.
    can_change
        True if an object may be replaced under a source.
    tells_same_size
        True if replacing an object by one of the same size at once is noticed.
    """

    immediate = False
    can_leave = True
    can_change = True
    tells_same_size = True

    def test_is_a_source(self, place: Place) -> None:
        assert isinstance(place.source("is.dcm"), ByteSource)

    def test_open_returns_the_first_bytes(self, place: Place) -> None:
        source = place.source("open.dcm")
        head = run(source.open(1000))
        assert head.content == CONTENT[:1000]
        assert head.fingerprint.size == len(CONTENT)
        assert source.fingerprint == head.fingerprint

    def test_open_again_returns_the_same(self, place: Place) -> None:
        source = place.source("again.dcm")
        assert run(source.open(1000)) == run(source.open(1000))

    def test_open_of_no_bytes_pins_the_version(self, place: Place) -> None:
        source = place.source("none.dcm")
        assert run(source.open(0)).content == b""
        assert source.fingerprint is not None
        assert source.fingerprint.size == len(CONTENT)

    def test_open_a_short_object(self, place: Place) -> None:
        head = run(place.source("short.dcm", b"DICM").open(1000))
        assert head.content == b"DICM"
        assert head.fingerprint.size == 4

    def test_open_an_empty_object(self, place: Place) -> None:
        source = place.source("empty.dcm", b"")
        head = run(source.open(1000))
        assert head.content == b""
        assert head.fingerprint.size == 0
        with pytest.raises(CorruptDicomError, match="has 0"):
            run(source.read(0, 1))

    def test_read(self, place: Place) -> None:
        source = place.source("read.dcm")
        run(source.open(10))
        assert run(source.read(1234, 100_000)) == CONTENT[1234:101_234]
        assert run(source.read(len(CONTENT) - 1, 1)) == CONTENT[-1:]
        assert run(source.read(0, len(CONTENT))) == CONTENT

    def test_read_of_no_bytes(self, place: Place) -> None:
        source = place.source("zero.dcm")
        run(source.open(10))
        assert run(source.read(5, 0)) == b""

    def test_read_before_open(self, place: Place) -> None:
        source = place.source("unopened.dcm")
        assert run(source.read(7, 3)) == CONTENT[7:10]
        assert source.fingerprint is not None

    def test_read_past_the_end(self, place: Place) -> None:
        source = place.source("past.dcm")
        run(source.open(10))
        with pytest.raises(CorruptDicomError, match=str(len(CONTENT))):
            run(source.read(len(CONTENT) - 1, 2))
        with pytest.raises(CorruptDicomError):
            run(source.read_many([(0, 1), (len(CONTENT), 1)]))

    def test_read_of_a_negative_range(self, place: Place) -> None:
        source = place.source("negative.dcm")
        run(source.open(10))
        with pytest.raises(ValueError, match="-1"):
            run(source.read(-1, 2))

    def test_read_many_keeps_order(self, place: Place) -> None:
        source = place.source("many.dcm")
        run(source.open(10))
        generator = np.random.default_rng(1)
        offsets = generator.integers(0, len(CONTENT) - 200, 300).tolist()
        lengths = generator.integers(0, 200, 300).tolist()
        ranges = list(zip(offsets, lengths, strict=True))
        expected = [CONTENT[offset : offset + length] for offset, length in ranges]
        assert run(source.read_many(ranges)) == expected
        assert run(source.read_many([])) == []

    def test_first_reads_are_concurrent(self, place: Place) -> None:
        source = place.source("first-reads.dcm")
        spread = [(offset, 10) for offset in range(0, len(CONTENT) - 10, 30_000)]
        expected = [CONTENT[offset : offset + 10] for offset, _ in spread]
        assert run(source.read_many(spread)) == expected

        async def read_all(source: ByteSource) -> list[bytes]:
            await enter_loop()
            return await asyncio.gather(*(source.read(*item) for item in spread))

        obj = place.put("first-reads-2.dcm", CONTENT)
        assert run(read_all(open_source(obj, place.storage_options))) == expected

    def test_concurrent_reads(self, place: Place) -> None:
        source = place.source("concurrent.dcm")
        run(source.open(10))

        def read(start: int) -> bool:
            return run(source.read(start, 1000)) == CONTENT[start : start + 1000]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(0, 200_000, 5000)))

    def test_immediate_sources_need_no_loop_and_no_thread(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, unopened = place.source("inline.dcm"), place.source("inline-2.dcm")
        assert source.immediate == self.immediate
        if not self.immediate:
            pytest.skip("waits for a network")
        fresh = Runtime()
        monkeypatch.setattr(runtime_module, "_runtime", fresh)
        assert driven(source.open(1000)).content == CONTENT[:1000]
        assert driven(source.read(1234, 100_000)) == CONTENT[1234:101_234]
        assert driven(source.read(7, 0)) == b""
        assert driven(unopened.read(1234, 10)) == CONTENT[1234:1244]
        assert driven(source.read_many([(5, 3), (200_000, 9)])) == [
            CONTENT[5:8],
            CONTENT[200_000:200_009],
        ]
        driven(source.verify())
        with pytest.raises(CorruptDicomError, match=str(len(CONTENT))) as caught:
            driven(source.read(len(CONTENT), 1))
        assert caught.value.location == source.location
        (listed,) = driven(expand(place.put("inline-3.dcm", CONTENT), place.storage_options))
        assert driven(listed.open(10)).content == CONTENT[:10]
        assert fresh._loop is None
        assert fresh._storage is None

    def test_other_sources_enter_the_loop_first(self, place: Place) -> None:
        if self.immediate:
            pytest.skip("waits for nothing")
        source = place.source("waiting.dcm")
        run(source.open(10))
        loop = first_awaited(enter_loop())
        for coroutine in (
            source.open(10),
            source.read(5, 10),
            source.read_many([(5, 10)]),
            source.verify(),
        ):
            assert first_awaited(coroutine) is loop

    def test_threads_read_at_once(self, place: Place) -> None:
        source = place.source("threads.dcm")

        def read(start: int) -> bool:
            content = run(source.read(start, 1000))
            run(source.verify())
            return content == CONTENT[start : start + 1000]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(0, 200_000, 5000)))

    def test_verify_accepts_the_same_version(self, place: Place) -> None:
        source = place.source("same.dcm")
        run(source.verify())
        run(source.open(10))
        run(source.verify())

    def test_reads_on_the_loop_of_fsspec(self, place: Place) -> None:
        source = place.source("loop.dcm")

        async def awaited() -> bytes:
            await run_async(source.open(10))
            return await run_async(source.read(5, 10))

        async def synchronous() -> bytes:
            run(source.open(10))
            return run(source.read(5, 10))

        loop = fsspec.asyn.get_loop()
        for read in (awaited, synchronous):
            future = asyncio.run_coroutine_threadsafe(read(), loop)
            assert future.result(SECONDS) == CONTENT[5:15]

    def test_first_touch_on_the_loop_of_fsspec(self, place: Place) -> None:
        obj = place.put("first.dcm", CONTENT)

        async def synchronous() -> bytes:
            return run(open_source(obj, place.storage_options).read(5, 10))

        future = asyncio.run_coroutine_threadsafe(synchronous(), fsspec.asyn.get_loop())
        assert future.result(SECONDS) == CONTENT[5:15]

    def test_expand_of_one_object(self, place: Place) -> None:
        obj = place.put("expand.dcm", CONTENT)
        (source,) = run(expand(obj, place.storage_options))
        assert run(source.read(0, 4)) == CONTENT[:4]

    def test_pickle(self, place: Place) -> None:
        if not self.can_leave:
            pytest.skip("stays in its process")
        source = place.source("pickle.dcm")
        run(source.open(10))
        before = pickle.dumps(source)
        run(source.read_many([(0, 100), (200_000, 5)]))
        run(source.verify())
        assert pickle.dumps(source) == before
        again: ByteSource = pickle.loads(before)
        assert again == source
        assert hash(again) == hash(source)
        assert again.fingerprint == source.fingerprint
        assert run(again.read(20, 5)) == CONTENT[20:25]

    def test_read_in_a_spawned_process(self, place: Place) -> None:
        if not self.can_leave:
            pytest.skip("stays in its process")
        source = place.source("spawned.dcm")
        run(source.open(10))
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            task = pool.apply_async(read_in_process, (source, 9, 100))
            assert task.get(SECONDS) == CONTENT[9:109]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
    def test_read_in_a_forked_process(self, place: Place) -> None:
        source = place.source("forked.dcm")
        spread = [(offset, 10) for offset in range(0, len(CONTENT) - 10, 30_000)]
        expected = run(source.read_many(spread))
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, run(source.read(9, 100)))
            finally:
                os._exit(0)
        os.close(writing)
        try:
            ready, _, _ = select.select([reading], [], [], SECONDS)
            assert ready, "the forked process hangs"
            assert os.read(reading, 1000) == CONTENT[9:109]
            # The child must not have taken the parent's connections with it.
            began = time.monotonic()
            assert run(source.read_many(spread)) == expected
            assert time.monotonic() - began < 12
        finally:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def test_missing(self, place: Place) -> None:
        if place.delete is None:
            pytest.skip("nothing can be removed")
        source = place.source("missing.dcm")
        place.delete("missing.dcm")
        with pytest.raises(FileNotFoundError, match=r"missing\.dcm") as caught:
            run(source.open(10))
        assert str(caught.value.filename) == source.location

    def test_removed_after_opening(self, place: Place) -> None:
        if place.delete is None:
            pytest.skip("nothing can be removed")
        source = place.source("removed.dcm")
        run(source.open(10))
        place.delete("removed.dcm")
        with pytest.raises(FileNotFoundError, match=r"removed\.dcm"):
            run(_read_and_verify(source, 100, 10))

    @pytest.mark.parametrize("kept", [len(CONTENT) + 7, 50, 0], ids=["longer", "shorter", "empty"])
    def test_replaced(self, place: Place, kept: int) -> None:
        if not self.can_change:
            pytest.skip("can't be replaced")
        key = f"replaced-{kept}.dcm"
        source = place.source(key)
        before = run(source.open(10)).fingerprint
        place.put(key, (CONTENT + CONTENT)[::-1][:kept])
        with pytest.raises(SourceChangedError, match="open it again"):
            run(_read_and_verify(source, 100, 10))
        with pytest.raises(SourceChangedError):
            run(_open_and_verify(source))
        assert source.fingerprint == before

    def test_replaced_by_the_same_size(self, place: Place) -> None:
        if not (self.can_change and self.tells_same_size):
            pytest.skip("the store tells sizes or seconds only")
        source = place.source("same-size.dcm")
        run(source.open(10))
        place.put("same-size.dcm", CONTENT[::-1])
        with pytest.raises(SourceChangedError, match="open it again"):
            run(_read_and_verify(source, 100, 10))
        # Opened anew, it is the new object.
        fresh = place.source("same-size.dcm", CONTENT[::-1])
        assert isinstance(run(fresh.open(10)).fingerprint, Fingerprint)
        assert run(_read_and_verify(fresh, 100, 10)) == CONTENT[::-1][100:110]


async def _read_and_verify(source: ByteSource, offset: int, length: int) -> bytes:
    content = await source.read(offset, length)
    await source.verify()
    return content


async def _open_and_verify(source: ByteSource) -> None:
    await source.open(10)
    await source.verify()
