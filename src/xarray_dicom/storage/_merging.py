"""Read many ranges of a source through its own `read`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xarray_dicom.storage.ranges import merge

if TYPE_CHECKING:
    from xarray_dicom.storage.source import ByteSource

#: Unwanted bytes that cost less than one more request.
MERGE_GAP = 8 * 2**10

#: Bytes of one merged request.
LARGEST_REQUEST = 2 * 2**20

#: Requests of one `read_many` under way at a time.
REQUESTS_IN_FLIGHT = 24


async def read_merged(source: ByteSource, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Fetch `ranges` of `source` in few concurrent requests, each one call of `source.read`.

    A wrapper that passes itself as `source` sees the requests that are really made.
    The first failure cancels the other requests and is raised.
    """
    if not ranges:
        return []
    offsets, lengths = zip(*ranges, strict=True)
    merged = merge(offsets, lengths, gap=MERGE_GAP, largest=LARGEST_REQUEST)
    slots = asyncio.Semaphore(REQUESTS_IN_FLIGHT)

    async def fetch(offset: int, length: int) -> bytes:
        async with slots:
            return await source.read(offset, length)

    requests = zip(merged.offsets.tolist(), merged.lengths.tolist(), strict=True)
    tasks = [asyncio.create_task(fetch(offset, length)) for offset, length in requests]
    try:
        bodies = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return [
        bodies[request][start : start + length] if length else b""
        for request, start, length in zip(
            merged.request.tolist(), merged.start.tolist(), lengths, strict=True
        )
    ]
