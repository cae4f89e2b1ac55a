"""Read many ranges of a source through its own `read`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xarray_dicom.storage.ranges import merge

if TYPE_CHECKING:
    from xarray_dicom.storage.source import ByteSource


async def read_merged(source: ByteSource, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Fetch `ranges` of `source` in few concurrent requests, each one call of `source.read`.

    A wrapper that passes itself as `source` sees the requests that are really made.
    The first failure cancels the other requests and is raised.
    """
    if not ranges:
        return []
    offsets, lengths = zip(*ranges, strict=True)
    sizing = source.request_sizing
    merged = merge(offsets, lengths, gap=sizing.gap, largest=sizing.largest)
    slots = asyncio.Semaphore(sizing.window)

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
