"""Frames that a scan hands over to whoever waits for it, with the bytes that it fetched."""

from __future__ import annotations

import asyncio

import numpy as np

from xarray_dicom.frames.offsets.tables import ItemOffsets
from xarray_dicom.frames.source import EncodedFrames, Int64s
from xarray_dicom.runtime import Lease

_NO_FRAMES: Int64s = np.zeros(0, np.int64)


class ScanStream:
    """One reader that waits for a scan; an asynchronous iterator of `EncodedFrames`.

    Parameters
    ----------
    goal
        The last frame that must be located; None for all there are.
    frames
        Frames whose bytes are asked for, ascending, none twice.
    limit
        Bytes that may be in flight in this process.

    Attributes
    ----------
    to_fetch
        Frames, of those asked for, that were located only when their bytes had gone by;
        complete when the iteration has ended.
    """

    def __init__(self, goal: int | None, frames: Int64s, limit: int) -> None:
        self.goal = goal
        self.limit = limit
        self.to_fetch = _NO_FRAMES
        self._pending = frames
        self._arrived: asyncio.Queue[EncodedFrames | BaseException | None] = asyncio.Queue()

    def __aiter__(self) -> ScanStream:
        return self

    async def __anext__(self) -> EncodedFrames:
        arrived = await self._arrived.get()
        if arrived is None:
            raise StopAsyncIteration
        if isinstance(arrived, BaseException):
            raise arrived
        return arrived

    @property
    def needs_bytes(self) -> bool:
        """True while frames are still to come."""
        return bool(self._pending.size)

    def is_satisfied(self, n_located: int) -> bool:
        """Return True if the goal is among the first `n_located` frames."""
        return self.goal is not None and self.goal < n_located

    def needs(self, frame: int) -> bool:
        """Return True if the bytes of `frame`, the first that isn't located yet, are needed."""
        return bool(self._pending.size) and bool(self._pending[0] == frame)

    def run_from(self, frame: int) -> int:
        """Return how many frames from `frame` on are needed without a gap."""
        if not self.needs(frame):
            return 0
        gaps = np.flatnonzero(np.diff(self._pending) != 1)
        return int(gaps[0]) + 1 if gaps.size else self._pending.size

    def take(self, n_located: int) -> Int64s:
        """Remove the needed frames that are among the first `n_located`, and return them."""
        n_taken = int(np.searchsorted(self._pending, n_located))
        taken, self._pending = self._pending[:n_taken], self._pending[n_taken:]
        return taken

    def hand_over(
        self, frames: Int64s, offsets: ItemOffsets, content: bytes, offset: int, lease: Lease
    ) -> None:
        """Hand over those of `frames` that lie in `content`.

        Parameters
        ----------
        frames
            Numbers of located frames, ascending.
        offsets
            Where they lie in the object.
        content, offset
            Bytes of the object, and where they lie in it.
        lease
            Memory that the bytes take, given back when the frames are decoded.
        """
        ranges = offsets.byte_ranges(frames)
        inside = ranges.offset >= offset
        if not inside.all():
            self.to_fetch = np.append(self.to_fetch, frames[~inside])
        if inside.any():
            batch = EncodedFrames(
                frames[inside],
                content,
                ranges.offset[inside] - offset,
                ranges.length[inside],
                ranges.bit[inside],
                offsets.framing,
                lease.share().release,
            )
            self._arrived.put_nowait(batch)

    def end(self, error: BaseException | None = None) -> None:
        """End the iteration, as the goal is reached or because of `error`."""
        self.to_fetch = np.append(self.to_fetch, self._pending)
        self._pending = _NO_FRAMES
        self._arrived.put_nowait(error)

    def release(self) -> None:
        """Give back what arrived and was not taken."""
        while not self._arrived.empty():
            arrived = self._arrived.get_nowait()
            if isinstance(arrived, EncodedFrames):
                arrived.release()
