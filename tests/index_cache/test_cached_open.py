"""Opening through an index cache: at once where nothing is waited for, else concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from support.kinds import kind
from xarray_dicom import DicomWarning
from xarray_dicom.index_cache import (
    IndexCache,
    cached_open,
    open_and_store,
    open_from_cache,
    open_with_cache,
)
from xarray_dicom.index_cache.local_folder import LocalFolder
from xarray_dicom.index_cache.serialize import serialize
from xarray_dicom.instance import Instance, open_instance
from xarray_dicom.runtime import enter_loop, run
from xarray_dicom.storage import BytesSource, Fingerprint, Head
from xarray_dicom.storage.source import ByteSource

T = TypeVar("T")

FIRST = 2**18


class NamedBytes(BytesSource):
    """Bytes that have an address and a version, as an object in a store has."""

    def __init__(self, content: bytes, name: str = "object.dcm", *, immediate: bool = True):
        super().__init__(content)
        self.name = name
        self.is_local = immediate

    @property
    def immediate(self) -> bool:
        """As chosen."""
        return self.is_local

    @property
    def location(self) -> str:
        """Name of the object."""
        return self.name

    @property
    def identity(self) -> str | None:
        """Name of the object."""
        return self.name

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Size and a version."""
        return Fingerprint(len(self.content), "etag:1")

    async def open(self, length: int) -> Head:
        """Slice off the first bytes."""
        return Head(Fingerprint(len(self.content), "etag:1"), self.content[:length])


class Dictionary:
    """Entries in a dictionary that takes its time."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def answers_at_once(self, source: ByteSource) -> bool:
        """Return False."""
        return False

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """Read after the loop has done something else."""
        await enter_loop()
        await asyncio.sleep(0)
        return self.entries.get(name)

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Write after the loop has done something else."""
        await enter_loop()
        await asyncio.sleep(0)
        self.entries[name] = content


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine in this thread; it fails if the coroutine waits for anything."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError(f"the coroutine waits for {waits_for!r}")


def waits(coroutine: Coroutine[Any, Any, Any]) -> bool:
    """Return True if a coroutine asks to be driven on the event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return False
    coroutine.close()
    return True


def opened(source: ByteSource) -> Instance:
    return run(open_instance(source, first=FIRST))


class TestWithoutALoop:
    def test_a_local_object_and_a_folder(self, tmp_path: Path) -> None:
        source = NamedBytes(kind("segmentation").objects["object.dcm"])
        cache = IndexCache(LocalFolder(tmp_path, 2**20))
        assert at_once(open_from_cache(source, cache)) is None
        first = at_once(open_with_cache(source, cache, first=FIRST))
        again = at_once(open_from_cache(source, cache))
        assert again is not None
        assert again.columns.keys() == first.columns.keys()
        assert at_once(open_with_cache(source, cache, first=FIRST)).dataset == again.dataset

    def test_a_large_entry(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cached_open, "_SMALL_ENTRY", 0)
        source = NamedBytes(kind("segmentation").objects["object.dcm"])
        cache = IndexCache(LocalFolder(tmp_path, 2**20))
        assert at_once(open_and_store(source, cache, first=FIRST))[1]
        assert at_once(open_from_cache(source, cache)) is not None

    def test_no_cache(self) -> None:
        source = NamedBytes(kind("single").objects["object.dcm"])
        assert at_once(open_with_cache(source, None, first=FIRST)).frames.n_frames == 1


class TestOnTheLoop:
    def test_a_remote_object_or_a_remote_cache(self, tmp_path: Path) -> None:
        content = kind("single").objects["object.dcm"]
        for source, store in [
            (NamedBytes(content, immediate=False), LocalFolder(tmp_path, 2**20)),
            (NamedBytes(content), Dictionary()),
        ]:
            cache = IndexCache(store)
            assert waits(open_from_cache(source, cache))
            assert run(open_from_cache(source, cache)) is None
            assert run(open_and_store(source, cache, first=FIRST))[1]
            assert run(open_from_cache(source, cache)) is not None

    def test_lookup_and_version_are_requested_at_the_same_time(self) -> None:
        content = kind("single").objects["object.dcm"]
        running: list[str] = []

        async def meet(name: str) -> None:
            """Wait until both requests are under way."""
            running.append(name)
            while len(running) < 2:
                await asyncio.sleep(0)

        class Object(NamedBytes):
            async def open(self, length: int) -> Head:
                await meet("version")
                return await super().open(length)

        class Store(Dictionary):
            async def read(self, name: str, source: ByteSource) -> bytes | None:
                await meet("entry")
                return await super().read(name, source)

        source, cache = Object(content, immediate=False), IndexCache(Store())

        async def look_up() -> Instance | None:
            await enter_loop()
            return await asyncio.wait_for(open_from_cache(source, cache), 10)

        assert run(look_up()) is None
        assert sorted(running) == ["entry", "version"]

    def test_a_missing_object_cancels_the_lookup(self) -> None:
        cancelled: list[bool] = []

        class Missing(NamedBytes):
            async def open(self, length: int) -> Head:
                await asyncio.sleep(0.01)
                raise FileNotFoundError(2, "no such object", self.location)

        class Slow(Dictionary):
            async def read(self, name: str, source: ByteSource) -> bytes | None:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled.append(True)
                    raise
                return None

        async def look_up() -> None:
            await enter_loop()
            with pytest.raises(FileNotFoundError):
                await open_from_cache(Missing(b"", immediate=False), IndexCache(Slow()))
            await asyncio.sleep(0)

        run(look_up())
        assert cancelled == [True]


def test_warnings_are_drawn_again_for_the_object_as_it_is_named_now(tmp_path: Path) -> None:
    content = kind("single").objects["object.dcm"]
    cache = IndexCache(LocalFolder(tmp_path, 2**20))
    earlier = NamedBytes(content, "earlier.dcm")
    drawn = DicomWarning("is odd", location=earlier.location, frame=3, tag="Rows")
    entry = serialize(opened(earlier), [drawn])
    assert entry is not None
    source = NamedBytes(content, "now.dcm")
    run(cache.put(source, entry))
    with pytest.warns(DicomWarning) as caught:
        assert run(open_from_cache(source, cache)) is not None
    (warning,) = (one.message for one in caught)
    assert isinstance(warning, DicomWarning)
    assert str(warning) == "now.dcm: frame 3: is odd [Rows (0028,0010)]"
    assert (warning.location, warning.frame, warning.tag) == ("now.dcm", 3, 0x00280010)
    assert Path(caught[0].filename) == Path(__file__)


def test_an_object_without_pixels_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = NamedBytes(kind("single").objects["object.dcm"])
    without_pixels = replace(opened(source), frame_source=None)

    async def open_without_pixels(source: ByteSource, *, first: int) -> Instance:
        return without_pixels

    monkeypatch.setattr(cached_open, "open_instance", open_without_pixels)
    cache = IndexCache(LocalFolder(tmp_path, 2**20), required=True)
    assert run(open_with_cache(source, cache, first=FIRST)) is without_pixels
    assert run(open_and_store(source, cache, first=FIRST)) == (without_pixels, False)
    assert list(tmp_path.iterdir()) == []
