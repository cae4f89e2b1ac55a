"""The pipeline of a read: plan → merged ranges → sliding window of requests → decode → place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.frames import FrameArray
from xarray_dicom.parsing.offsets import FrameOffsets, Spans
from xarray_dicom.pixels import decode_frame
from xarray_dicom.pixels.buffers import Buffer
from xarray_dicom.pixels.decode import LARGE_FRAME, MAX_EXPANSION
from xarray_dicom.pixels.format import PixelFormat
from xarray_dicom.reading.canvas import Canvas, Pixels
from xarray_dicom.reading.grid import Plan, Target
from xarray_dicom.runtime import cpu_count, runtime
from xarray_dicom.storage.ranges import merge

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """One frame inside the bytes of a request."""

    target: Target
    number: int
    offset: int
    length: int
    bit: int


@dataclass(frozen=True, slots=True)
class Request:
    """One range of one instance, and the frames that lie in it."""

    instance: Instance
    offsets: FrameOffsets
    offset: int
    length: int
    spans: list[FrameSpan]

    @property
    def cost(self) -> int:
        """Bytes held while this request is served: its own, and frames being decoded."""
        decoding = min(len(self.spans), cpu_count())
        return self.length + 2 * decoding * self.instance.format.frame_nbytes


@dataclass(frozen=True, slots=True)
class Located:
    """The frames of one instance that a plan asks for, and where they lie."""

    instance: Instance
    offsets: FrameOffsets
    spans: Spans
    numbers: NDArray[np.int64]
    targets: list[Target]


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
        await _serve_all(array, canvas, _requests(array, located))
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
        first, last = np.searchsorted(home, (number, number + 1))
        numbers = plan.frames[first:last] - array.starts[number]
        spans = offsets.spans(numbers)
        instance = array.instances[number]
        _require_proportion(instance, numbers, spans)
        located.append(Located(instance, offsets, spans, numbers, list(plan.targets[first:last])))
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


def _requests(array: FrameArray, located: list[Located]) -> Iterator[Request]:
    for one in located:
        pace = one.instance.source.pace
        largest = min(pace.largest, max(array.memory_budget // 8, 1))
        merged = merge(one.spans.offset, one.spans.length, gap=pace.gap, largest=largest)
        by_request = np.argsort(merged.request, kind="stable")
        cuts = np.flatnonzero(np.diff(merged.request[by_request])) + 1
        for members in np.split(by_request, cuts):
            request = int(merged.request[members[0]])
            yield Request(
                one.instance,
                one.offsets,
                int(merged.offsets[request]),
                int(merged.lengths[request]),
                [
                    FrameSpan(
                        one.targets[m],
                        int(one.numbers[m]),
                        int(merged.start[m]),
                        int(one.spans.length[m]),
                        int(one.spans.bit[m]),
                    )
                    for m in members.tolist()
                ],
            )


async def _serve_all(array: FrameArray, canvas: Canvas, requests: Iterator[Request]) -> None:
    window = asyncio.Semaphore(max(one.source.pace.window for one in array.instances))
    budget = runtime().budget

    def serve(request: Request) -> None:
        task = group.create_task(_serve(array, canvas, request))
        # A task that is cancelled before it starts runs none of its own code.
        task.add_done_callback(lambda _: budget.release(request.cost))
        task.add_done_callback(lambda _: window.release())

    try:
        async with asyncio.TaskGroup() as group:
            for request in requests:
                await window.acquire()
                await budget.acquire(request.cost, array.memory_budget)
                serve(request)
    except BaseExceptionGroup as failures:
        failure = _first(failures)
    else:
        return
    raise failure


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


async def _serve(array: FrameArray, canvas: Canvas, request: Request) -> None:
    content = await request.instance.source.read(request.offset, request.length)
    loop = asyncio.get_running_loop()
    pool = runtime().decode_pool
    await asyncio.gather(
        *(
            loop.run_in_executor(pool, _decode_share, array, canvas, request, content, share)
            for share in _shares(request)
        )
    )


def _shares(request: Request) -> list[list[FrameSpan]]:
    # A lone request must not leave the other processors idle.
    spans = request.spans
    parts = min(cpu_count(), len(spans))
    bounds = [len(spans) * part // parts for part in range(parts + 1)]
    return [spans[one:two] for one, two in pairwise(bounds)]


def _decode_share(
    array: FrameArray, canvas: Canvas, request: Request, content: bytes, spans: list[FrameSpan]
) -> None:
    view = memoryview(content)
    pixel_format = request.instance.format
    location = request.instance.source.location
    for span in spans:
        blob = view[span.offset : span.offset + span.length]
        try:
            codestream = request.offsets.codestream(blob)
            stored = _decode(codestream, pixel_format, array, span)
            # Stored NaN and infinity pass through; no pixel is worth a warning.
            with np.errstate(invalid="ignore", over="ignore"):
                values = array.transform.apply(stored, span.target.frame)
        except DicomError as error:
            told = str(error).removeprefix(f"{location}: ")
            raise type(error)(f"{location}: frame {span.number + 1}: {told}") from error
        except (ValueError, RuntimeError, MemoryError) as error:
            raise CorruptDicomError(
                f"{location}: frame {span.number + 1} can't be decoded: {error}"
            ) from error
        canvas.place(span.target, values)


def _decode(
    codestream: Buffer, pixel_format: PixelFormat, array: FrameArray, span: FrameSpan
) -> Pixels:
    out = _scratch(pixel_format)
    try:
        return decode_frame(codestream, pixel_format, bit=span.bit, out=out)
    except CorruptDicomError:
        # Some writers cut tiles off where the total pixel matrix ends.
        inside = array.placement.inside(span.target.frame)
        if inside == array.tile:
            raise
        return decode_frame(codestream, pixel_format, bit=span.bit, out=out, least=inside)


_threads = threading.local()

#: Frames larger than this are decoded into memory of their own, given back at once.
LARGEST_SCRATCH = 8 * 2**20


def _scratch(pixel_format: PixelFormat) -> Pixels | None:
    # A fresh array costs its page faults for every frame: about a tenth of decoding a tile.
    if pixel_format.frame_nbytes > LARGEST_SCRATCH:
        return None
    known: tuple[PixelFormat, Pixels] | None = getattr(_threads, "scratch", None)
    if known is None or known[0] != pixel_format:
        known = (pixel_format, np.empty(pixel_format.shape, pixel_format.dtype))
        _threads.scratch = known
    return known[1]
