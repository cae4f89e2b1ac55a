"""Blocks of an object on their way, ahead of whoever goes through them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from xarray_dicom.frames.offsets.pixel_data import PixelValue
from xarray_dicom.frames.scan_stream import Lease
from xarray_dicom.runtime import runtime


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes on their way, and what they take of the budget."""

    lease: Lease
    arrival: asyncio.Task[bytes]


class ReadAhead:
    """Consecutive blocks, fetched concurrently and taken in order.

    Attributes
    ----------
    asked_to
        First byte behind those that were asked for.
    """

    def __init__(self, value: PixelValue) -> None:
        self._value = value
        self._flying: deque[Block] = deque()
        self.asked_to = value.start

    def __len__(self) -> int:
        return len(self._flying)

    def ask(self, length: int, cost: int, limit: int) -> None:
        """Let the next block fly, as soon as its `cost` fits under `limit` in the budget."""
        lease = Lease(runtime().budget, cost)
        arrival = asyncio.create_task(self._fetch(self.asked_to, length, lease, limit))
        self._flying.append(Block(lease, arrival))
        self.asked_to += length

    async def take(self) -> tuple[bytes, Lease]:
        """Wait for the first block; its lease is the taker's to release."""
        content = await self._flying[0].arrival
        return content, self._flying.popleft().lease

    async def discard(self) -> None:
        """Give up all that is on its way."""
        blocks = list(self._flying)
        self._flying.clear()
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
