"""Deflated objects read by range, from the loop and from several threads at once."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from support.encoded_objects import image, opened, part10
from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing import inflated_source
from xarray_dicom.parsing.header import Header, read_header
from xarray_dicom.parsing.inflated_source import InflatedSource
from xarray_dicom.runtime import enter_loop, run, run_async
from xarray_dicom.storage import BytesSource, RecordingSource

pytestmark = pytest.mark.filterwarnings("ignore::xarray_dicom.DicomWarning")

T = TypeVar("T")


async def _entering_the_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    await enter_loop()
    return await coroutine


def run_on_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine on the event loop from its begin."""
    return run(_entering_the_loop(coroutine))


DRIVES = pytest.mark.parametrize("drive", [run, run_on_loop])


def deflated() -> tuple[bytes, bytes]:
    """Return a deflated object, and its inflated data set."""
    content = part10(image(frames=20), DeflatedExplicitVRLittleEndian)
    inflated = run(read_header(opened(content))).inflated
    assert inflated is not None
    return content, inflated


@DRIVES
def test_ranges_are_those_of_the_inflated_data_set(drive: Callable[..., Any]) -> None:
    content, inflated = deflated()
    for source in (
        InflatedSource(opened(content), inflated),
        InflatedSource(opened(content), size=len(inflated)),
        pickle.loads(pickle.dumps(InflatedSource(opened(content), inflated))),
    ):
        assert drive(source.open(100)).content == inflated[:100]
        assert drive(source.read(7, 50)) == inflated[7:57]
        ranges = [(200, 3), (0, 10), (5, 10)]
        assert drive(source.read_many(ranges)) == [inflated[at : at + n] for at, n in ranges]
        for outside in ((-1, 2), (len(inflated) - 1, 2)):
            with pytest.raises(CorruptDicomError, match=r"bytes>: bytes .* lie outside"):
                drive(source.read(*outside))


def slow_header(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[float]:
    """Have each read of a header take some time; return a list of their begins."""
    begins: list[float] = []

    async def slow(source: BytesSource) -> Header:
        begins.append(time.perf_counter())
        await asyncio.sleep(seconds) if _on_a_loop() else time.sleep(seconds)
        return await read_header(source)

    monkeypatch.setattr(inflated_source, "read_header", slow)
    return begins


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@DRIVES
def test_threads_fetch_and_inflate_once(
    drive: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, inflated = deflated()
    recording = RecordingSource(opened(content))
    source = InflatedSource(recording, size=len(inflated))
    begins = slow_header(monkeypatch, 0.1)
    barrier = threading.Barrier(8)

    def read(offset: int) -> bytes:
        barrier.wait()
        return drive(source.read(offset, 10))

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(read, range(8)))
    assert parts == [inflated[at : at + 10] for at in range(8)]
    assert len(begins) == len(recording.requests) == 1


@DRIVES
def test_those_who_wait_for_a_failure_fail_alike(
    drive: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, inflated = deflated()
    source = InflatedSource(opened(content), size=len(inflated) + 1)
    begins = slow_header(monkeypatch, 0.1)
    barrier = threading.Barrier(4)

    def read(_: int) -> str:
        barrier.wait()
        with pytest.raises(CorruptDicomError) as failure:
            drive(source.read(0, 10))
        return str(failure.value)

    with ThreadPoolExecutor(4) as pool:
        (text,) = set(pool.map(read, range(4)))
    assert text.endswith("bytes>: the data set inflates differently than before")
    assert len(begins) == 1
    with pytest.raises(CorruptDicomError, match="differently"):
        drive(source.read(0, 10))
    assert len(begins) == 2


def test_a_task_that_waits_goes_on_when_the_first_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content, inflated = deflated()
    source = InflatedSource(opened(content), size=len(inflated))
    begins = slow_header(monkeypatch, 0.2)

    async def reads() -> list[bytes]:
        first, *others = (asyncio.create_task(source.read(at, 10)) for at in range(4))
        await asyncio.sleep(0.05)
        first.cancel()
        others.pop().cancel()
        return list(await asyncio.gather(*others))

    parts = asyncio.run(run_async(reads()))
    assert parts == [inflated[1:11], inflated[2:12]]
    assert len(begins) == 2
