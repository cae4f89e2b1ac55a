"""The pipeline of a read: plan → merged ranges → sliding window of requests → decode → place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.decode_threads import cpu_count
from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.scanned import Sought, draw_passing
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.pixels.buffers import Buffer
from xarray_dicom.pixels.decode import LARGE_FRAME, MAX_EXPANSION
from xarray_dicom.reading.decode import Located, Request, draw
from xarray_dicom.reading.output import Canvas, Pixels
from xarray_dicom.reading.plan import Plan
from xarray_dicom.runtime import off_loop, runtime
from xarray_dicom.storage.ranges import merge

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One read under way."""

    array: FrameArray
    plan: Plan
    canvas: Canvas
    sources: list[IndexedFrames]


async def read(
    array: FrameArray,
    plan: Plan,
    shape: tuple[int, ...],
    channels: slice | NDArray[np.int64] | None,
) -> Pixels:
    """Fetch, decode and place every frame of `plan`; arguments as for `Canvas`.

    Raises
    ------
    CorruptDicomError
        If a frame's bytes are lost or damaged; the message names the source and the frame.
    SourceChangedError
        If an object was replaced after it was opened.
    """
    located, sought = await _locate(array, plan)
    instances = [one.frames for one in located] + [one.frames for one in sought]
    canvas = Canvas(array, shape, channels, plan)
    if not canvas.is_blank:
        await off_loop(canvas.blank)
    try:
        await _serve_all(Reading(array, plan, canvas, instances), located, sought)
    except CorruptDicomError:
        # Bytes of a replaced object look damaged: that it was replaced explains more.
        await _verify(instances)
        raise
    await _verify(instances)
    return canvas.pixels


async def _verify(instances: Iterable[IndexedFrames]) -> None:
    await asyncio.gather(*(instance.source.verify() for instance in instances))


async def _locate(array: FrameArray, plan: Plan) -> tuple[list[Located], list[Sought]]:
    """The frames of `plan` by instance: those whose place is known, and those to be found."""
    home = np.searchsorted(array.starts, plan.frames, "right") - 1
    located, sought = [], []
    for number in np.unique(home).tolist():
        first, last = np.searchsorted(home, (number, number + 1)).tolist()
        instance = array.sources[number]
        one = Sought(instance, first, plan.frames[first:last] - array.starts[number])
        if instance.has_offsets:
            located.append(one.located(await instance.frame_offsets()))
            _require_proportion(located[-1])
        else:
            one.require_room()
            sought.append(one)
    return located, sought


def _require_proportion(located: Located) -> None:
    """Raise before memory is taken for frames that their bytes cannot hold."""
    pixel_format, length = located.frames.format, located.spans.length
    nbytes = pixel_format.frame_nbytes
    small = np.flatnonzero(np.maximum(LARGE_FRAME, MAX_EXPANSION * length) < nbytes)
    if len(small):
        raise CorruptDicomError(
            f"{located.frames.source.location}: frame {int(located.numbers[small[0]]) + 1}: "
            f"{int(length[small[0]])} bytes cannot hold the {nbytes} bytes of "
            f"{pixel_format.rows} × {pixel_format.columns} pixels: Rows (0028,0010) or "
            "Columns (0028,0011) is wrong"
        )


def requests(located: Located, memory_budget: int) -> Iterator[Request]:
    """Divide the ranges of frames into requests, as the source is best asked."""
    sizing = located.frames.source.request_sizing
    largest = min(sizing.largest, max(memory_budget // 8, 1))
    spans = located.spans
    merged = merge(spans.offset, spans.length, gap=sizing.gap, largest=largest)
    by_request = np.argsort(merged.request, kind="stable")
    cuts = np.flatnonzero(np.diff(merged.request[by_request])) + 1
    for members in np.split(by_request, cuts):
        # Only a frame of no bytes is in no request; what is decoded tells.
        at = int(merged.request[members[0]])
        if at < 0:
            yield Request(located, int(spans.offset[members[0]]), 0, members)
        else:
            yield Request(located, int(merged.offsets[at]), int(merged.lengths[at]), members)


async def _serve_all(reading: Reading, located: list[Located], sought: list[Sought]) -> None:
    array = reading.array
    slots = max((one.source.request_sizing.window for one in reading.sources), default=1)
    # As many requests wait for their bytes as the store likes, and a few more to be decoded.
    window = asyncio.Semaphore(slots)
    under_way = asyncio.Semaphore(slots + 2 * cpu_count())
    budget = runtime().budget

    async def serve(request: Request) -> None:
        content = await request.located.frames.source.read(request.offset, request.length)
        window.release()
        await decode(reading, request, content)

    def start(request: Request, cost: int) -> None:
        task = group.create_task(serve(request))
        # A task that is cancelled before it starts runs none of its own code.
        task.add_done_callback(lambda _: budget.release(cost))
        task.add_done_callback(lambda _: under_way.release())

    async def fetch(located: list[Located]) -> None:
        for one in located:
            for request in requests(one, array.memory_budget):
                cost = request.cost(cpu_count())
                await under_way.acquire()
                await window.acquire()
                await budget.acquire(cost, array.memory_budget)
                start(request, cost)

    async def seek(one: Sought) -> None:
        known, unknown = one.split(one.frames.n_located)
        if known.numbers.size:
            offsets = await one.frames.locate(int(known.numbers[-1]))
            at_once = known.located(offsets)
            _require_proportion(at_once)
            group.create_task(fetch([at_once]))
        if unknown.numbers.size:
            draw = partial(decode, reading)
            left = await draw_passing(unknown, array.memory_budget, _require_proportion, draw)
            await fetch(left)

    try:
        async with asyncio.TaskGroup() as group:
            for one in sought:
                group.create_task(seek(one))
            await fetch(located)
    except BaseExceptionGroup as failures:
        failure = _first(failures)
    else:
        return
    raise failure


async def decode(reading: Reading, request: Request, content: Buffer) -> None:
    """Decode and place the frames of `request`, whose bytes are at hand, in decode threads."""
    loop = asyncio.get_running_loop()
    pool = runtime().decode_pool
    array, plan, canvas = reading.array, reading.plan, reading.canvas
    # A lone request must not leave the other processors idle.
    await asyncio.gather(
        *(
            loop.run_in_executor(pool, draw, array, plan, canvas, share, content)
            for share in request.shares(cpu_count())
        )
    )


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
