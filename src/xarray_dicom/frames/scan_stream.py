"""What those who wait for a scan get of it: frames, with the bytes that passed by."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.frames.offsets.tables import ItemOffsets
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
    offsets
        Where in the object these lie.
    lease
        To be released when the frames are decoded.
    """

    offset: int
    content: bytes
    frames: Frames
    offsets: ItemOffsets
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

    @classmethod
    def without_bytes(cls, frames: Frames) -> Stream:
        """A stream at its end, where `frames` are found already."""
        stream = cls(None, frames, 0)
        stream.end()
        return stream

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

    def is_satisfied(self, n_found: int) -> bool:
        """Whether the goal is among the first `n_found` frames."""
        return self.goal is not None and self.goal < n_found

    def wants(self, frame: int) -> bool:
        """Whether the bytes of `frame` are wanted, the first that is not found yet."""
        return bool(self._wanted.size) and bool(self._wanted[0] == frame)

    def wanted_from(self, frame: int) -> int:
        """How many frames from there on are wanted without a gap."""
        if not self.wants(frame):
            return 0
        gaps = np.flatnonzero(np.diff(self._wanted) != 1)
        return int(gaps[0]) + 1 if gaps.size else self._wanted.size

    def take(self, n_found: int) -> Frames:
        """Those of the wanted frames that are among the first `n_found`; wanted no longer."""
        n_taken = int(np.searchsorted(self._wanted, n_found))
        taken, self._wanted = self._wanted[:n_taken], self._wanted[n_taken:]
        return taken

    def pass_on(
        self, frames: Frames, offsets: ItemOffsets, content: bytes, offset: int, lease: Lease
    ) -> None:
        """Hand over those of `frames` that lie in `content`, which lies at `offset`."""
        here = offsets.spans(frames).offset >= offset
        if not here.all():
            self.left = np.append(self.left, frames[~here])
        if here.any():
            self._arrived.put_nowait(Passing(offset, content, frames[here], offsets, lease.share()))

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
