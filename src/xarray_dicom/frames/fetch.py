"""The scheduler of requests: all encoded frames that are read come through here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Generic, TypeVar

from xarray_dicom.frames.requests import FrameRequest, LocatedFrames, divide
from xarray_dicom.frames.source import Budget, EncodedFrames, FrameSource, Int64s
from xarray_dicom.runtime import Lease, enter_loop, runtime
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.task_queue import TaskQueue

T = TypeVar("T")


async def fetch_from(
    selections: Sequence[tuple[FrameSource, Int64s]], budget: Budget
) -> AsyncIterator[tuple[int, EncodedFrames]]:
    """Fetch frames of several instances.

    Parameters
    ----------
    selections
        Instances, and the frames of each: numbers from 0, none twice, in order of need.
    budget
        Memory and requests that the read may have in flight.

    Yields
    ------
    tuple of int and EncodedFrames
        Position of the instance in `selections`, and some of its frames; in any order.
    """
    if not all(getattr(source, "immediate", False) for source, _ in selections):
        await enter_loop()
    streams = [source.fetch(numbers, budget) for source, numbers in selections]
    if len(streams) == 1:
        async with closing(streams[0]) as batches:
            async for batch in batches:
                yield 0, batch
        return
    async with closing(interleave(streams)) as items:
        async for item in items:
            yield item


async def interleave(
    streams: Sequence[AsyncIterator[EncodedFrames]],
) -> AsyncIterator[tuple[int, EncodedFrames]]:
    """Merge streams of batches: at once on the loop, one after another in a calling thread.

    Yields
    ------
    tuple of int and EncodedFrames
        Position of the stream in `streams`, and its next batch.
    """
    if len(streams) == 1 or not runtime().on_loop():
        for position, stream in enumerate(streams):
            async with closing(stream):
                async for batch in stream:
                    yield position, batch
        return
    async with TaskQueue[tuple[int, EncodedFrames]](lambda item: item[1].release()) as queue:
        for position, stream in enumerate(streams):
            queue.start(_drain(position, stream, queue))
        async for item in queue:
            yield item


async def _drain(
    position: int,
    stream: AsyncIterator[EncodedFrames],
    queue: TaskQueue[tuple[int, EncodedFrames]],
) -> None:
    async with closing(stream):
        async for batch in stream:
            queue.put((position, batch))


async def fetch_located(
    source: ByteSource, frames: LocatedFrames, budget: Budget
) -> AsyncIterator[EncodedFrames]:
    """Fetch frames whose byte ranges are known.

    A source that answers at once is read in the calling thread, request by request; of others
    as many requests are in flight as the budget has.

    Parameters
    ----------
    source
        The object.
    frames
        What to fetch.
    budget
        Memory and requests that the read may have in flight.

    Yields
    ------
    EncodedFrames
        The frames of one request, in the order in which requests are answered.
    """
    requests = divide(frames, source.request_sizing, budget.nbytes)
    if not source.immediate:
        await enter_loop()
    if len(requests) == 1 or not runtime().on_loop():
        for request in requests:
            async with budget.requests:
                lease = await budget.hold(request.cost(budget.frames_at_once))
                try:
                    batch = await _read(source, request, lease)
                except BaseException:
                    lease.release()
                    raise
            yield batch
        return
    async with TaskQueue[EncodedFrames](lambda batch: batch.release()) as queue:
        queue.start(_start_reads(source, requests, budget, queue))
        async for batch in queue:
            yield batch


async def _start_reads(
    source: ByteSource,
    requests: Sequence[FrameRequest],
    budget: Budget,
    queue: TaskQueue[EncodedFrames],
) -> None:
    """Start requests as fast as the budget lets them."""
    for request in requests:
        await budget.requests.acquire()
        try:
            lease = await budget.hold(request.cost(budget.frames_at_once))
        except BaseException:
            budget.requests.release()
            raise
        queue.start(_read(source, request, lease), partial(_give_back, budget, lease))


async def _read(source: ByteSource, request: FrameRequest, lease: Lease) -> EncodedFrames:
    return request.batch(await source.read(request.offset, request.length), lease)


def _give_back(budget: Budget, lease: Lease, task: asyncio.Task[EncodedFrames | None]) -> None:
    budget.requests.release()
    if task.cancelled() or task.exception() is not None:
        lease.release()


class closing(Generic[T]):  # noqa: N801 - as `contextlib.aclosing`, for iterators as well
    """Close a stream at the end of the block, where it is a generator."""

    __slots__ = ("_stream",)

    def __init__(self, stream: AsyncIterator[T]) -> None:
        self._stream = stream

    async def __aenter__(self) -> AsyncIterator[T]:
        return self._stream

    async def __aexit__(self, *exception: object) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()
