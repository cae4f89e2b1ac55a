"""Read many ranges of a source in few requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xarray_dicom.runtime import enter_loop, runtime
from xarray_dicom.storage.ranges import merge
from xarray_dicom.task_queue import TaskQueue

if TYPE_CHECKING:
    from xarray_dicom.storage.source import ByteSource


async def read_merged(source: ByteSource, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Read `ranges` of `source` in few concurrent requests, each one call of `source.read`.

    Parameters
    ----------
    source
        The object; a wrapper that passes itself sees the requests that are really made.
    ranges
        Offset and length of each range in bytes, in any order; they may overlap.

    Returns
    -------
    list of bytes
        The ranges in the order given. The first failure cancels the other requests and raises.
    """
    if not ranges:
        return []
    offsets, lengths = zip(*ranges, strict=True)
    sizing = source.request_sizing
    merged = merge(offsets, lengths, gap=sizing.gap, largest=sizing.largest)
    requests = list(zip(merged.offsets.tolist(), merged.lengths.tolist(), strict=True))
    if source.immediate and not runtime().on_loop():
        bodies = [await source.read(*request) for request in requests]
    else:
        bodies = await _read_concurrently(source, requests, sizing.window)
    return [
        bodies[request][start : start + length] if length else b""
        for request, start, length in zip(
            merged.request.tolist(), merged.start.tolist(), lengths, strict=True
        )
    ]


async def _read_concurrently(
    source: ByteSource, requests: list[tuple[int, int]], window: int
) -> list[bytes]:
    await enter_loop()
    slots = asyncio.Semaphore(window)

    async def read(position: int) -> tuple[int, bytes]:
        async with slots:
            return position, await source.read(*requests[position])

    bodies = [b""] * len(requests)
    async with TaskQueue[tuple[int, bytes]]() as queue:
        for position in range(len(requests)):
            queue.start(read(position))
        async for position, body in queue:
            bodies[position] = body
    return bodies
