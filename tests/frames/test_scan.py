"""Scans that stop and go on, hand over what passes by, and fetch nothing twice."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import RLELossless

import xarray_dicom
from support.encoded_objects import wait
from support.scanned_objects import Gated, encapsulated, jpeg, scan_of, value_of
from xarray_dicom.errors import CorruptDicomError, DicomWarning
from xarray_dicom.frames.framing import unwrap
from xarray_dicom.frames.offsets import ItemOffsets
from xarray_dicom.frames.scan import Scan
from xarray_dicom.frames.source import EncodedFrames
from xarray_dicom.runtime import MEMORY_BUDGET, runtime

scan_module = importlib.import_module("xarray_dicom.frames.scan")

SECONDS = 30


async def budget_is_given_back() -> None:
    while runtime().budget.used:
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def no_budget_is_lost() -> Iterator[None]:
    yield
    wait(asyncio.wait_for(budget_is_given_back(), SECONDS))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few items, so that small objects take many."""
    monkeypatch.setattr(scan_module, "BLOCK", 4096)
    monkeypatch.setattr(scan_module, "SMALLEST_BLOCK", 1024)
    monkeypatch.setattr(scan_module, "PROBE", 64)


def payloads_of(n: int, size: int = 400, seed: int = 0) -> list[bytes]:
    sizes = np.random.default_rng(seed).integers(size // 2, 3 * size // 2, n)
    return [jpeg(number, int(length)) for number, length in enumerate(sizes)]


def streamed(scan: Scan, frames: Any, limit: int = MEMORY_BUDGET) -> dict[int, bytes]:
    """Frames that passed by, decoded from their items."""
    return wait(asyncio.wait_for(take(scan, frames, limit), SECONDS))


def frames_in(batch: EncodedFrames) -> Iterator[tuple[int, bytes]]:
    for position, frame in enumerate(batch.numbers.tolist()):
        start, length = int(batch.start[position]), int(batch.length[position])
        assert 0 <= start <= len(batch.content) - length
        yield frame, bytes(batch.codestream(position))


async def take(scan: Scan, frames: Any, limit: int = MEMORY_BUDGET) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    wanted = np.asarray(frames, np.int64)
    async with scan.stream(wanted, limit) as stream:
        async for passing in stream:
            try:
                await asyncio.sleep(0)
                for frame, blob in frames_in(passing):
                    assert frame not in found
                    found[frame] = blob
            finally:
                passing.release()
        left = stream.to_fetch.tolist()
    assert sorted([*found, *left]) == wanted.tolist()
    return found


def in_file(offsets: ItemOffsets, content: bytes, frame: int) -> bytes:
    spans = offsets.byte_ranges(np.array([frame]))
    start, length = int(spans.offset[0]), int(spans.length[0])
    return bytes(unwrap(offsets.framing, content[start : start + length]))


@pytest.mark.usefixtures("small_blocks")
def test_what_is_near_the_start_costs_the_same_however_large_the_object() -> None:
    costs = []
    for n_frames in (500, 5000):
        payloads = payloads_of(n_frames)
        content = encapsulated(value_of(payloads), n_frames)
        scan, source = scan_of(content, n_frames)
        wait(scan.reach(20))
        assert 20 < scan.n_located < 60
        for frame in (0, 20):
            assert in_file(scan.offsets(), content, frame) == payloads[frame]
        costs.append((source.bytes_read, len(source.requests)))
    assert costs[0] == costs[1]
    assert costs[0][0] < 4 * sum(map(len, payloads[:21]))


@pytest.mark.usefixtures("small_blocks")
def test_a_scan_goes_on_where_it_stopped() -> None:
    payloads = payloads_of(800)
    content = encapsulated(value_of(payloads), 800)
    scan, source = scan_of(content, 800)
    for frame in (5, 3, 100, 101, 500, 20):
        wait(scan.reach(frame))
        assert scan.n_located > frame
        assert in_file(scan.offsets(), content, frame) == payloads[frame]
    known = source.bytes_read
    wait(scan.reach(499))
    assert source.bytes_read == known
    offsets = wait(scan.finish())
    assert [in_file(offsets, content, n) for n in range(800)] == payloads
    # What was fetched ahead when the goal was reached, a few requests each time.
    assert source.overlapping < 6 * 8 * 4096
    source.clear()
    assert wait(scan.finish()) is offsets
    assert wait(take(scan, [3, 700])) == {}
    assert source.requests == []


@pytest.mark.usefixtures("small_blocks")
def test_all_frames_from_the_bytes_that_pass() -> None:
    payloads = payloads_of(700)
    content = encapsulated(value_of(payloads), 700)
    scan, source = scan_of(content, 700)
    assert streamed(scan, range(700)) == dict(enumerate(payloads))
    assert source.overlapping == 0
    assert source.bytes_read < len(content)
    assert in_file(scan.offsets(), content, 699) == payloads[699]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(5, 3000), min_size=2, max_size=40),
    parts=st.lists(st.sets(st.integers(0, 39), min_size=1, max_size=20), min_size=1, max_size=3),
    block=st.sampled_from([64, 500, 2000, 10_000]),
    limit=st.sampled_from([1, 5000, MEMORY_BUDGET]),
)
def test_any_frames_in_any_blocks(
    sizes: list[int], parts: list[set[int]], block: int, limit: int
) -> None:
    payloads = [jpeg(number, size) for number, size in enumerate(sizes)]
    wanted = [sorted(frame % len(sizes) for frame in part) for part in parts]
    wanted = [sorted(set(part)) for part in wanted]
    content = encapsulated(value_of(payloads), len(sizes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_module, "BLOCK", block)
        patch.setattr(scan_module, "SMALLEST_BLOCK", max(32, block // 4))
        patch.setattr(scan_module, "PROBE", 32)
        scan, source = scan_of(content, len(sizes))
        first = streamed(scan, wanted[0], limit)
        assert first == {frame: payloads[frame] for frame in wanted[0]}
        assert source.overlapping == 0

        async def together() -> list[dict[int, bytes]]:
            return await asyncio.gather(*(take(scan, part, limit) for part in wanted[1:]))

        for part, found in zip(
            wanted[1:], wait(asyncio.wait_for(together(), SECONDS)), strict=True
        ):
            assert found.items() <= {frame: payloads[frame] for frame in part}.items()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            offsets = wait(scan.finish())
    assert [in_file(offsets, content, n) for n in range(len(sizes))] == payloads
    wait(asyncio.wait_for(budget_is_given_back(), SECONDS))


@pytest.mark.usefixtures("small_blocks")
def test_several_who_wait_share_one_scan() -> None:
    payloads = payloads_of(600)
    content = encapsulated(value_of(payloads), 600)
    scan, source = scan_of(content, 600)
    source.delay = 0.002
    wanted = [range(600), range(100, 300), range(599, 600), range(0, 600, 7)]

    async def together() -> list[Any]:
        waiting = [take(scan, part) for part in wanted]
        return await asyncio.gather(*waiting, scan.reach(450), scan.finish())

    *found, _, offsets = wait(asyncio.wait_for(together(), SECONDS))
    for part, one in zip(wanted, found, strict=True):
        assert one == {frame: payloads[frame] for frame in part}
    assert source.overlapping == 0
    assert in_file(offsets, content, 599) == payloads[599]


@pytest.mark.usefixtures("small_blocks")
def test_one_who_comes_late_gets_what_is_still_to_pass() -> None:
    payloads = payloads_of(600)
    scan, source = scan_of(encapsulated(value_of(payloads), 600), 600)
    source.delay = 0.005

    async def late() -> tuple[dict[int, bytes], dict[int, bytes]]:
        early = asyncio.create_task(take(scan, range(600)))
        while not scan.n_located:
            await asyncio.sleep(0)
        known = scan.n_located
        found = await take(scan, range(600))
        assert set(found) >= set(range(known + 1, 600))
        return await early, found

    first, _ = wait(asyncio.wait_for(late(), SECONDS))
    assert first == dict(enumerate(payloads))
    assert source.overlapping == 0


@pytest.mark.usefixtures("small_blocks")
def test_items_larger_than_blocks_are_fetched_once() -> None:
    payloads = [jpeg(n, size) for n, size in enumerate([300, 90_000, 200, 50_000, 70_000, 10])]
    content = encapsulated(value_of(payloads), 6)
    scan, source = scan_of(content, 6)
    assert streamed(scan, range(6)) == dict(enumerate(payloads))
    assert source.overlapping == 0


@pytest.mark.usefixtures("small_blocks")
def test_large_items_that_nobody_wants_are_skipped() -> None:
    payloads = [jpeg(n, 100_000) for n in range(30)]
    content = encapsulated(value_of(payloads), 30)
    scan, source = scan_of(content, 30)
    assert streamed(scan, [20]) == {20: payloads[20]}
    assert source.bytes_read < 100_000 + 30 * 1024
    assert max(length for _, length in source.requests) <= 4096 + 1024
    offsets = wait(scan.finish())
    assert in_file(offsets, content, 29) == payloads[29]
    assert source.bytes_read < 100_000 + 40 * 1024


@pytest.mark.usefixtures("small_blocks")
def test_numbers_of_fragments_wait_for_the_end() -> None:
    payloads = payloads_of(200)
    fragments = [part for payload in payloads for part in (payload[:100], payload[100:])]
    fragments = [*payloads[:50], *fragments[100:]]
    content = encapsulated(value_of(fragments), 200)
    scan, source = scan_of(content, 200)
    assert streamed(scan, [10, 40]) == {10: payloads[10], 40: payloads[40]}
    assert source.bytes_read < len(content) / 2
    # Their bytes have passed when their numbers are known.
    assert streamed(scan, [49, 60, 199]).keys() <= {49}
    assert [in_file(scan.offsets(), content, n) for n in range(200)] == payloads


def test_frames_without_marker_wait_for_the_end() -> None:
    payloads = [b"\x01\0\0\0" + bytes([n]) * 60 for n in range(50)]
    content = encapsulated(value_of(payloads), 50, RLELossless)
    scan, _ = scan_of(content, 50, RLELossless)
    assert streamed(scan, [0, 7]) == {}
    assert in_file(scan.offsets(), content, 7) == payloads[7]


@pytest.mark.usefixtures("small_blocks")
def test_frames_given_early_are_withdrawn_when_the_end_contradicts_them() -> None:
    payloads = payloads_of(220)
    content = encapsulated(value_of(payloads), 200)
    scan, source = scan_of(content, 200)
    wait(scan.reach(10))
    assert in_file(scan.offsets(), content, 10) == payloads[10]
    for _ in range(2):
        with pytest.raises(CorruptDicomError, match="220 fragments hold 200 frames"):
            wait(scan.finish())
        assert scan.n_located == 0
        read = source.bytes_read
        with pytest.raises(CorruptDicomError, match="220 fragments hold 200 frames"):
            wait(scan.reach(3))
        with pytest.raises(CorruptDicomError, match="220 fragments hold 200 frames"):
            streamed(scan, [3])
        assert source.bytes_read == read


@pytest.mark.usefixtures("small_blocks")
def test_a_truncated_object_gives_what_is_there() -> None:
    payloads = payloads_of(100)
    content = encapsulated(value_of(payloads), 100)[:-300]
    scan, _ = scan_of(content, 100)
    with pytest.warns(DicomWarning, match="before its delimiter"):
        found = streamed(scan, range(100))
    assert found == dict(enumerate(payloads[:99]))
    with pytest.raises(CorruptDicomError, match="frame 100: its bytes are missing"):
        scan.offsets().byte_ranges(np.array([99]))


@pytest.mark.usefixtures("small_blocks")
def test_a_failed_request_fails_who_waits_and_the_next_goes_on() -> None:
    payloads = payloads_of(600)
    content = encapsulated(value_of(payloads), 600)
    scan, source = scan_of(content, 600)
    source.broken_from = len(content) // 2

    async def together() -> list[Any]:
        waiting = [take(scan, range(600)), scan.finish(), scan.reach(599), scan.reach(5)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    *failed, reached = wait(asyncio.wait_for(together(), SECONDS))
    assert [str(error) for error in failed] == [f"{source.location}: the line is cut"] * 3
    assert reached is None
    known = scan.n_located
    assert known > 100
    source.broken_from = None
    source.clear()
    found = streamed(scan, range(known, 600))
    assert found == {n: payloads[n] for n in range(known, 600)}
    assert source.bytes_read < 0.6 * len(content)


@pytest.mark.usefixtures("small_blocks")
def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    payloads = payloads_of(600)
    content = encapsulated(value_of(payloads), 600)
    scan, source = scan_of(content, 600)
    source.delay = 0.002

    async def main() -> ItemOffsets:
        for n_located in (0, 50, 300):
            first = asyncio.create_task(take(scan, range(600)))
            while scan.n_located < n_located:
                await asyncio.sleep(0)
            other = asyncio.create_task(scan.reach(n_located + 100))
            first.cancel()
            await asyncio.wait([first])
            assert first.cancelled()
            await other
        return await scan.finish()

    offsets = wait(asyncio.wait_for(main(), SECONDS))
    assert [in_file(offsets, content, n) for n in range(600)] == payloads


@pytest.mark.usefixtures("small_blocks")
def test_a_scan_that_nobody_waits_for_stops() -> None:
    payloads = payloads_of(2000)
    content = encapsulated(value_of(payloads), 2000)
    scan, source = scan_of(content, 2000)
    source.delay = 0.005

    async def main() -> None:
        waiting = asyncio.create_task(take(scan, range(2000)))
        while scan.n_located < 50:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        while source.in_flight:
            await asyncio.sleep(0.001)
        asked = len(source.requests)
        await asyncio.sleep(4 * source.delay)
        assert len(source.requests) == asked
        # One who comes in the moment that it stops is served as well.
        waiting = asyncio.create_task(take(scan, range(2000)))
        await asyncio.sleep(0.001)
        waiting.cancel()
        await scan.finish()

    wait(asyncio.wait_for(main(), SECONDS))
    assert source.bytes_read < len(content) + 3 * 8 * 4096
    assert [in_file(scan.offsets(), content, n) for n in range(2000)] == payloads


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("limit", [1, 3000, 20_000])
def test_what_is_in_flight_counts_against_the_budget(limit: int) -> None:
    payloads = payloads_of(500)
    content = encapsulated(value_of(payloads), 500)
    scans = [scan_of(content, 500) for _ in range(3)]
    for _, source in scans:
        source.delay = 0.001

    async def together() -> list[dict[int, bytes]]:
        return await asyncio.gather(
            *(take(scan, range(500), limit) for scan, _ in scans for _ in range(2))
        )

    for found in wait(asyncio.wait_for(together(), SECONDS)):
        assert found == dict(enumerate(payloads))
    for _, source in scans:
        # More than the limit is asked for only by one who is let in alone.
        assert source.most_in_flight <= max(limit, 4096 + 1024)


class Bar:
    """A bar that remembers."""

    made: list[Bar]

    def __init__(self, *, total: int, desc: str, unit: str, **_: Any) -> None:
        self.total, self.desc, self.unit = total, desc, unit
        self.done: list[int] = []
        self.closed = False
        self.made.append(self)

    def update(self, n: int, /) -> None:
        self.done.append(n)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bars() -> Iterator[list[Bar]]:
    Bar.made = []
    xarray_dicom.set_progress(Bar)
    yield Bar.made
    xarray_dicom.set_progress(None)


@pytest.mark.usefixtures("small_blocks")
def test_a_bar_shows_the_bytes_that_pass(bars: list[Bar]) -> None:
    payloads = payloads_of(600)
    content = encapsulated(value_of(payloads), 600)
    scan, source = scan_of(content, 600)
    source.delay = 0.001

    async def together() -> None:
        await asyncio.gather(scan.finish(), take(scan, range(600)), scan.reach(30))

    wait(asyncio.wait_for(together(), SECONDS))
    (bar,) = bars
    assert bar.desc == f"finding frames of {source.location}"
    assert bar.unit == "B"
    assert sum(bar.done) == source.bytes_read
    assert len(value_of(payloads)) - bar.total < 100
    assert len(bar.done) > 20
    assert bar.closed
    wait(scan.finish())
    assert len(bars) == 1


@pytest.mark.usefixtures("small_blocks")
def test_a_bar_for_a_part_is_as_long_as_the_part(bars: list[Bar]) -> None:
    payloads = payloads_of(2000)
    scan, source = scan_of(encapsulated(value_of(payloads), 2000), 2000)
    wait(scan.reach(10))
    wait(scan.reach(300))
    for bar, frames in zip(bars, (payloads[:10], payloads[60:300]), strict=True):
        needed = sum(map(len, frames))
        assert 0.5 * needed < bar.total < 1.5 * needed
    source.broken_from = 0
    with pytest.raises(OSError, match="cut"):
        wait(scan.finish())
    assert all(bar.closed for bar in bars)


def test_who_is_to_remember_is_told_once_before_anybody_hears() -> None:
    payloads = payloads_of(50)
    told: list[ItemOffsets] = []

    async def remember(offsets: ItemOffsets) -> None:
        await asyncio.sleep(0.01)
        told.append(offsets)

    scan, _ = scan_of(encapsulated(value_of(payloads), 50), 50, on_located=remember)
    streamed(scan, range(50))
    assert len(told) == 1
    assert wait(scan.finish()) is told[0]
    assert len(told) == 1


def frames_of(connection: Any, scan: Scan) -> None:
    connection.send((scan.n_located, streamed(scan, [5, 590])))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_scans_for_itself() -> None:
    payloads = payloads_of(600)
    scan, source = scan_of(encapsulated(value_of(payloads), 600), 600)
    source.delay = 0.01
    begun = asyncio.run_coroutine_threadsafe(take(scan, range(600)), runtime().loop)
    while scan.n_located < 20:
        pass
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=frames_of, args=(theirs, scan), daemon=True)
    child.start()
    try:
        assert ours.poll(SECONDS)
        assert ours.recv() == (0, {5: payloads[5], 590: payloads[590]})
    finally:
        child.kill()
        child.join()
    assert begun.result(SECONDS) == dict(enumerate(payloads))


def test_a_source_that_cancels_does_not_hang_who_waits() -> None:
    class Cancelling(Gated):
        async def read(self, offset: int, length: int) -> bytes:
            raise asyncio.CancelledError

    payloads = payloads_of(50)
    scan, source = scan_of(encapsulated(value_of(payloads), 50), 50)
    source.__class__ = Cancelling

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await scan.finish()
        source.__class__ = Gated
        await scan.finish()

    wait(asyncio.wait_for(main(), SECONDS))
