"""The pipeline of a read: plan → merged ranges → sliding window of requests → decode → place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.frames import FrameArray
from xarray_dicom.parsing.offsets import Spans
from xarray_dicom.pixels.buffers import Buffer
from xarray_dicom.pixels.decode import LARGE_FRAME, MAX_EXPANSION
from xarray_dicom.reading.canvas import Canvas, Pixels
from xarray_dicom.reading.drawing import Located, Request, draw
from xarray_dicom.reading.grid import Plan
from xarray_dicom.runtime import cpu_count, runtime
from xarray_dicom.storage.ranges import merge

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One read under way."""

    array: FrameArray
    plan: Plan
    canvas: Canvas


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
    located = await _locate(array, plan)
    canvas = Canvas(array, shape, channels, plan)
    if not canvas.is_blank:
        await off_loop(canvas.blank)
    try:
        await _serve_all(Reading(array, plan, canvas), located)
    except CorruptDicomError:
        # Bytes of a replaced object look damaged: that it was replaced explains more.
        await _verify(located)
        raise
    await _verify(located)
    return canvas.pixels


async def off_loop(function: Callable[..., T], *args: Any) -> T:
    """Compute in a decode thread: what takes long would hold up all other reads."""
    return await asyncio.get_running_loop().run_in_executor(runtime().decode_pool, function, *args)


async def _verify(located: list[Located]) -> None:
    await asyncio.gather(*(one.instance.source.verify() for one in located))


async def _locate(array: FrameArray, plan: Plan) -> list[Located]:
    home = np.searchsorted(array.starts, plan.frames, "right") - 1
    touched = np.unique(home).tolist()
    tables = await asyncio.gather(*(array.instances[i].frame_offsets() for i in touched))
    located = []
    for number, offsets in zip(touched, tables, strict=True):
        first, last = np.searchsorted(home, (number, number + 1)).tolist()
        numbers = plan.frames[first:last] - array.starts[number]
        spans = offsets.spans(numbers)
        instance = array.instances[number]
        _require_proportion(instance, numbers, spans)
        located.append(Located(instance, offsets, first, numbers, spans))
    return located


def _require_proportion(instance: Instance, numbers: NDArray[np.int64], spans: Spans) -> None:
    """Raise before memory is taken for frames that their bytes cannot hold."""
    nbytes = instance.format.frame_nbytes
    small = np.flatnonzero(np.maximum(LARGE_FRAME, MAX_EXPANSION * spans.length) < nbytes)
    if len(small):
        raise CorruptDicomError(
            f"{instance.source.location}: frame {int(numbers[small[0]]) + 1}: "
            f"{int(spans.length[small[0]])} bytes cannot hold the {nbytes} bytes of "
            f"{instance.format.rows} × {instance.format.columns} pixels: Rows (0028,0010) or "
            "Columns (0028,0011) is wrong"
        )


def requests(located: Located, memory_budget: int) -> Iterator[Request]:
    """Divide the ranges of frames into requests, as the source is best asked."""
    pace = located.instance.source.pace
    largest = min(pace.largest, max(memory_budget // 8, 1))
    spans = located.spans
    merged = merge(spans.offset, spans.length, gap=pace.gap, largest=largest)
    by_request = np.argsort(merged.request, kind="stable")
    cuts = np.flatnonzero(np.diff(merged.request[by_request])) + 1
    for members in np.split(by_request, cuts):
        # Only a frame of no bytes is in no request; what is decoded tells.
        at = int(merged.request[members[0]])
        if at < 0:
            yield Request(located, int(spans.offset[members[0]]), 0, members)
        else:
            yield Request(located, int(merged.offsets[at]), int(merged.lengths[at]), members)


async def _serve_all(reading: Reading, located: list[Located]) -> None:
    array = reading.array
    slots = max(one.instance.source.pace.window for one in located) if located else 1
    # As many requests wait for their bytes as the store likes, and a few more to be decoded.
    window = asyncio.Semaphore(slots)
    under_way = asyncio.Semaphore(slots + 2 * cpu_count())
    budget = runtime().budget

    async def serve(request: Request) -> None:
        content = await request.located.instance.source.read(request.offset, request.length)
        window.release()
        await decode(reading, request, content)

    def start(request: Request, cost: int) -> None:
        task = group.create_task(serve(request))
        # A task that is cancelled before it starts runs none of its own code.
        task.add_done_callback(lambda _: budget.release(cost))
        task.add_done_callback(lambda _: under_way.release())

    try:
        async with asyncio.TaskGroup() as group:
            for one in located:
                for request in requests(one, array.memory_budget):
                    cost = request.cost(cpu_count())
                    await under_way.acquire()
                    await window.acquire()
                    await budget.acquire(cost, array.memory_budget)
                    start(request, cost)
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
