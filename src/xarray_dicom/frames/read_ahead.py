"""Consecutive blocks of an object, requested before they are needed."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from xarray_dicom.frames.offsets.pixel_data import PixelValue
from xarray_dicom.runtime import Lease, runtime


@dataclass(frozen=True, slots=True)
class Block:
    """A request under way, and the memory that it takes."""

    lease: Lease
    arrival: asyncio.Task[bytes]


class ReadAhead:
    """Consecutive blocks, fetched concurrently and taken in order.

    Parameters
    ----------
    value
        The pixel data.

    Attributes
    ----------
    requested_to
        First byte behind those that were requested.
    """

    def __init__(self, value: PixelValue) -> None:
        self._value = value
        self._blocks: deque[Block] = deque()
        self.requested_to = value.start

    def __len__(self) -> int:
        return len(self._blocks)

    def request(self, length: int, cost: int, limit: int) -> None:
        """Request the next block, as soon as its `cost` fits under `limit` in the budget."""
        lease = Lease(runtime().budget, cost)
        arrival = asyncio.create_task(self._fetch(self.requested_to, length, lease, limit))
        self._blocks.append(Block(lease, arrival))
        self.requested_to += length

    async def take(self) -> tuple[bytes, Lease]:
        """Wait for the first block, and return it with its lease, which the caller releases."""
        content = await self._blocks[0].arrival
        return content, self._blocks.popleft().lease

    async def discard(self) -> None:
        """Cancel all requests under way."""
        blocks = list(self._blocks)
        self._blocks.clear()
        for block in blocks:
            block.arrival.cancel()
        try:
            await asyncio.gather(*(block.arrival for block in blocks), return_exceptions=True)
        finally:
            for block in blocks:
                block.lease.release()

    async def _fetch(self, offset: int, length: int, lease: Lease, limit: int) -> bytes:
        await lease.acquire(limit)
        return await self._value.read(offset, length)
