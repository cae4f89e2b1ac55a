"""What those who wait for a scan get of it: frames, with the bytes that passed by."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.offsets.chain import Chain
from xarray_dicom.parsing.offsets.spans import Spans, whole_bytes
from xarray_dicom.runtime import ByteBudget

Frames = NDArray[np.int64]

_NO_FRAMES: Frames = np.zeros(0, np.int64)


class Lease:
    """Bytes of the budget that several share; the last to release them gives them back."""

    def __init__(self, budget: ByteBudget, amount: int) -> None:
        self._budget = budget
        self._amount = amount
        self._holders = 0

    async def acquire(self, limit: int) -> None:
        """Wait until the bytes fit under `limit`, and hold them."""
        await self._budget.acquire(self._amount, limit)
        self._holders = 1

    def share(self) -> Lease:
        """One more who must release them."""
        self._holders += 1
        return self

    def release(self) -> None:
        """Hold them no longer; without effect where they never were."""
        if self._holders:
            self._holders -= 1
            if not self._holders:
                self._budget.release(self._amount)


@dataclass(frozen=True, slots=True)
class Passing:
    """Bytes that a scan fetched anyway, and the wanted frames that lie in them.

    Attributes
    ----------
    offset
        Where in the object the bytes lie.
    content
        The bytes.
    frames
        Numbers of the frames, ascending.
    spans
        Where in the object their items lie.
    lease
        To be released when the frames are decoded.
    """

    offset: int
    content: bytes
    frames: Frames
    spans: Spans
    lease: Lease


class Stream:
    """One who waits for a scan; an asynchronous iterator of `Passing`.

    Parameters
    ----------
    goal
        The last frame that must be found; None for all there are.
    wanted
        Frames whose bytes are asked for, ascending, none twice.
    limit
        Bytes that may be in flight in this process.

    Attributes
    ----------
    left
        Frames, of those wanted, that are found but did not pass with all their bytes;
        complete when the iteration has ended.
    """

    def __init__(self, goal: int | None, wanted: Frames, limit: int) -> None:
        self.goal = goal
        self.limit = limit
        self.left = _NO_FRAMES
        self._wanted = wanted
        self._arrived: asyncio.Queue[Passing | BaseException | None] = asyncio.Queue()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Passing:
        arrived = await self._arrived.get()
        if arrived is None:
            raise StopAsyncIteration
        if isinstance(arrived, BaseException):
            raise arrived
        return arrived

    @property
    def wants_bytes(self) -> bool:
        """Whether frames are still to come."""
        return bool(self._wanted.size)

    def is_satisfied(self, chain: Chain) -> bool:
        """Whether all frames up to the goal are found."""
        return self.goal is not None and self.goal < chain.whole

    def wants(self, frame: int) -> bool:
        """Whether the bytes of `frame` are wanted, the first that is not found yet."""
        return bool(self._wanted.size) and bool(self._wanted[0] == frame)

    def wanted_from(self, frame: int) -> int:
        """How many frames from there on are wanted without a gap."""
        if not self.wants(frame):
            return 0
        gaps = np.flatnonzero(np.diff(self._wanted) != 1)
        return int(gaps[0]) + 1 if gaps.size else self._wanted.size

    def take(self, chain: Chain, content: bytes, offset: int, lease: Lease) -> None:
        """Hand over what is wanted of the frames found by now; their bytes are in `content`."""
        n_found = int(np.searchsorted(self._wanted, chain.whole))
        if not n_found:
            return
        frames, self._wanted = self._wanted[:n_found], self._wanted[n_found:]
        first = int(frames[0])
        edges = chain.edges(first, int(frames[-1]))
        starts, ends = edges[frames - first], edges[frames - first + 1]
        here = starts >= offset
        if not here.all():
            self.left = np.append(self.left, frames[~here])
        if here.any():
            spans = whole_bytes(starts[here], (ends - starts)[here])
            self._arrived.put_nowait(Passing(offset, content, frames[here], spans, lease.share()))

    def end(self, error: BaseException | None = None) -> None:
        """Nothing comes any more, since the goal is reached or because of `error`."""
        self.left = np.append(self.left, self._wanted)
        self._wanted = _NO_FRAMES
        self._arrived.put_nowait(error)

    def release(self) -> None:
        """Give back what arrived and was not taken."""
        while not self._arrived.empty():
            arrived = self._arrived.get_nowait()
            if isinstance(arrived, Passing):
                arrived.lease.release()
