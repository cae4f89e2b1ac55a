"""Frames located by following the items through the pixel data, where there is no table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import ceil

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.decode_threads import cpu_count
from xarray_dicom.errors import CorruptDicomError, located
from xarray_dicom.frames.offsets.find import pixel_value
from xarray_dicom.frames.offsets.item_chain import OPENING, TRAIL, Chain, frame_edges
from xarray_dicom.frames.offsets.tables import ItemOffsets
from xarray_dicom.frames.read_ahead import ReadAhead
from xarray_dicom.frames.scan_stream import ScanStream
from xarray_dicom.parsing.header import Header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.progress import Progress, progress
from xarray_dicom.runtime import MEMORY_BUDGET, Lease, runtime
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.warn import recording, warn

#: Bytes of one request, and requests in flight.
BLOCK = 4 * 2**20
BLOCKS_IN_FLIGHT = 8

#: Bytes of a request, at least: fewer take as long as these.
SMALLEST_BLOCK = 256 * 2**10

#: Bytes that are read behind an item larger than a block, where the next header is due.
PROBE = 4 * 2**10


class Scan:
    """Scan of the items of one object, as far as its readers need it.

    It stops when no reader waits, and resumes there for the next one. Frame numbers are
    certain before the end as long as every item is a complete codestream; else they depend on
    the whole chain of items. Bytes in flight count against the budget; besides them, at most
    one frame larger than a block is held while it is joined. Lives on the runtime's event loop;
    a forked child starts anew.

    Parameters
    ----------
    source, header, n_frames, pixel_format
        As for `find_offsets`.
    on_located
        Awaited once with the offsets of all frames, before any reader gets them.
    """

    def __init__(
        self,
        source: ByteSource,
        header: Header,
        n_frames: int,
        pixel_format: PixelFormat,
        on_located: Callable[[ItemOffsets], Awaitable[None]] | None = None,
    ) -> None:
        self._value = pixel_value(source, header, n_frames, pixel_format)
        self._on_located = on_located
        self._begin()

    def _begin(self) -> None:
        value = self._value
        self._runtime = runtime()
        self._offsets: ItemOffsets | None = None
        self._damage: str | None = None
        self._chain = Chain.at(value.start, value.n_frames, value.format.transfer_syntax)
        #: Bytes that arrived and may still be needed, from `_buffer_start` to `_buffer_end`.
        self._buffer: list[bytes] = []
        self._buffer_start = self._buffer_end = value.start
        self._read_ahead = ReadAhead(value)
        self._streams: list[ScanStream] = []
        self._driver: asyncio.Task[None] | None = None
        self._last_driver: asyncio.Task[None] | None = None

    @property
    def n_located(self) -> int:
        """Number of frames, from the first on, that are located."""
        # A fork may have happened in the middle of a change.
        is_ours = self._runtime is runtime()
        return self._chain.whole if is_ours and self._damage is None else 0

    def offsets(self) -> ItemOffsets:
        """Return the offsets of the frames located so far; of all when the scan is finished."""
        if self._offsets is not None:
            return self._offsets
        return self._table(0, self.n_located - 1)

    def _table(self, first: int, last: int) -> ItemOffsets:
        """Return the offsets of the frames from `first` to `last`."""
        value = self._value
        edges = self._chain.edges(first, last)
        return ItemOffsets(edges, value.n_frames, value.size, first)

    async def reach(self, frame: int, limit: int = MEMORY_BUDGET) -> None:
        """Scan until `frame` and all before it are located.

        Raises
        ------
        CorruptDicomError
            If the items can't be assigned to frames.
        """
        if frame >= self.n_located:
            await self._follow(self._goal(frame), limit)

    async def finish(self, limit: int = MEMORY_BUDGET) -> ItemOffsets:
        """Scan to the end, and return the offsets of all frames.

        Raises
        ------
        CorruptDicomError
            If there are no items, or if they can't be assigned to frames.

        Warns
        -----
        DicomWarning
            If the object is truncated or frames are missing; reading these raises.
        """
        await self._follow(None, limit)
        return self.offsets()

    async def _follow(self, goal: int | None, limit: int) -> None:
        async with self._waiting(ScanStream(goal, np.zeros(0, np.int64), limit)) as stream:
            async for batch in stream:
                batch.release()

    @asynccontextmanager
    async def stream(self, frames: NDArray[np.int64], limit: int) -> AsyncIterator[ScanStream]:
        """Locate `frames`, and hand over those whose bytes the scan fetches on its way.

        Parameters
        ----------
        frames
            Numbers from 0, ascending, none twice; at least one.
        limit
            Bytes that may be in flight in this process. Batches that are handed over count,
            with the memory to decode them in, until they are released: a reader must not
            wait for more of the budget before he releases them.
        """
        async with self._waiting(ScanStream(self._goal(int(frames[-1])), frames, limit)) as stream:
            yield stream

    def _goal(self, frame: int) -> int | None:
        # Only the end of the chain tells if there are more items than the last frame's.
        return frame if frame < self._value.n_frames - 1 else None

    @asynccontextmanager
    async def _waiting(self, stream: ScanStream) -> AsyncIterator[ScanStream]:
        self._join(stream)
        try:
            yield stream
        finally:
            self._leave(stream)

    def _join(self, stream: ScanStream) -> None:
        if self._runtime is not runtime():
            self._begin()
        if self._damage is not None:
            stream.end(self._damaged())
        elif self._offsets is not None:
            stream.end()
        else:
            self._streams.append(stream)
            if self._driver is None:
                self._driver = asyncio.create_task(self._drive(self._last_driver))
                self._last_driver = self._driver

    def _leave(self, stream: ScanStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
            if not self._streams and self._driver is not None:
                self._driver.cancel()
                self._driver = None
        stream.release()

    async def _drive(self, before: asyncio.Task[None] | None) -> None:
        """Follow the chain while a reader waits: one task for all of them."""
        if before is not None:
            await asyncio.wait([before])
        self._rewind()
        what = f"finding frames of {self._value.location}"
        try:
            with progress(self._expected(), what, "B") as bar:
                self._hand_over(b"", self._buffer_end, Lease(self._runtime.budget, 0))
                while self._streams and self._drives:
                    if self._is_at_end:
                        await self._conclude()
                    else:
                        await self._advance(bar)
        except BaseException as error:
            # A reader that came after this task was cancelled waits for the next one.
            if self._drives:
                self._end_all(error)
            if not isinstance(error, Exception):
                raise
        finally:
            if self._drives:
                self._driver = None
            await self._read_ahead.discard()
            self._drop(min(self._needed_from(), self._buffer_end))

    @property
    def _drives(self) -> bool:
        """True in the task that drives the scan."""
        return self._driver is asyncio.current_task()

    @property
    def _is_at_end(self) -> bool:
        chain, end = self._chain, self._value.end
        return chain.closed or chain.broken or max(chain.end, self._buffer_end) >= end

    def _rewind(self) -> None:
        """Go back to the start of an item that was left halfway, if it is needed now."""
        if self._needs_last_item and self._buffer_start > self._chain.starts[-1]:
            self._jump(self._chain.starts[-1])
        else:
            self._read_ahead.requested_to = self._buffer_end

    def _jump(self, offset: int) -> None:
        self._buffer.clear()
        self._buffer_start = self._buffer_end = self._read_ahead.requested_to = offset

    @property
    def _needs_last_item(self) -> bool:
        """True if a reader needs the bytes of the last item, whose end is not confirmed yet."""
        chain = self._chain
        if not chain.certain or chain.n_items <= chain.whole:
            return False
        return any(stream.needs(chain.whole) for stream in self._streams)

    async def _advance(self, bar: Progress) -> None:
        """Take the next block, and hand over the frames that it completes."""
        chain, before = self._chain, self._buffer_end
        if chain.end - TRAIL >= self._read_ahead.requested_to and not self._needs_last_item:
            # The item ends behind all that was requested, and no reader needs it.
            await self._read_ahead.discard()
            self._jump(chain.end - TRAIL)
        self._ask()
        content, lease = await self._read_ahead.take()
        try:
            self._follow_through(content, lease)
            bar.update(self._buffer_end - before)
        finally:
            lease.release()

    def _follow_through(self, content: bytes, lease: Lease) -> None:
        """Follow the chain through `content`, which lies behind the buffer."""
        chain, offset = self._chain, self._buffer_end
        self._buffer_end += len(content)
        # Only the item that began before is joined: joining the block would copy every byte.
        while self._buffer and chain.end + OPENING < self._buffer_end and not self._is_at_end:
            rest = content[: chain.end + OPENING - offset]
            self._extend(b"".join([*self._buffer, rest]), self._buffer_start, lease)
            self._drop(min(self._needed_from(), offset))
        if not self._buffer:
            self._buffer_start = offset
        self._buffer.append(content)
        if self._buffer_start == offset or self._buffer_end >= self._value.end:
            self._extend(self._joined(), self._buffer_start, lease)
        self._drop(min(self._needed_from(), self._buffer_end))

    def _extend(self, content: bytes, offset: int, lease: Lease) -> None:
        is_last = offset + len(content) >= self._value.end
        self._chain.extend(content, offset, last=is_last)
        self._hand_over(content, offset, lease)

    def _needed_from(self) -> int:
        """Return where the bytes start that are needed together with the next ones."""
        chain = self._chain
        if self._needs_last_item and self._buffer_start <= chain.starts[-1]:
            return chain.starts[-1]
        return chain.end - TRAIL

    def _drop(self, before: int) -> None:
        """Drop the bytes of the buffer that lie before `before`."""
        if before > self._buffer_start:
            rest = self._joined()[before - self._buffer_start :]
            self._buffer[:] = [rest] if rest else []
            self._buffer_start = before

    def _joined(self) -> bytes:
        if len(self._buffer) != 1:
            self._buffer[:] = [b"".join(self._buffer)]
        return self._buffer[0]

    def _hand_over(self, content: bytes, offset: int, lease: Lease) -> None:
        n_located = self._chain.whole
        for stream in list(self._streams):
            frames = stream.take(n_located)
            if frames.size:
                table = self._table(int(frames[0]), int(frames[-1]))
                stream.hand_over(frames, table, content, offset, lease)
            # At the end of the chain a reader that has all its frames waits for `on_located`.
            if not self._is_at_end and stream.is_satisfied(n_located):
                self._streams.remove(stream)
                stream.end()

    async def _conclude(self) -> None:
        """Assign the items to frames, at the end of the chain."""
        chain, value = self._chain, self._value
        try:
            edges = frame_edges(chain, value.n_frames, value.format.transfer_syntax)
        except CorruptDicomError as error:
            self._damage = error.message
            raise self._damaged() from error
        # An index cache stores the offsets together with these warnings.
        with recording(), located(value.location):
            if not chain.closed:
                what = "is damaged" if chain.broken else "ends"
                warn(
                    f"the pixel data {what} at byte {min(chain.end, value.end)} before its "
                    "delimiter; frames from there on can't be read"
                )
            if edges.size - 1 < value.n_frames:
                warn(
                    f"only {edges.size - 1} of {value.n_frames} frames are stored; the others "
                    "can't be read"
                )
            self._offsets = ItemOffsets(edges, value.n_frames, value.size)
            if self._on_located is not None:
                await self._on_located(self._offsets)
        self._end_all()

    def _damaged(self) -> CorruptDicomError:
        return CorruptDicomError(self._damage or "", location=self._value.location)

    def _end_all(self, error: BaseException | None = None) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.end(error)

    @property
    def _items_are_large(self) -> bool:
        """True if only headers are read where no bytes are needed."""
        return self._chain.mean_length() > BLOCK

    def _needed_to(self) -> int:
        """Estimate from the items so far up to where the readers need the bytes."""
        chain, value = self._chain, self._value
        mean = chain.mean_length()
        goals = [stream.goal for stream in self._streams]
        if not mean:
            fetched = value.fetched_to
            return (
                fetched
                if fetched > self._read_ahead.requested_to
                else min(value.end, chain.end + SMALLEST_BLOCK)
            )
        if self._items_are_large:
            run = max((stream.run_from(chain.whole) for stream in self._streams), default=0)
            items = max(0, run - 1) if self._needs_last_item else 0
        elif not chain.certain or None in goals:
            return value.end
        else:
            items = max(goal + 1 for goal in goals if goal is not None) - chain.n_items
        # Items differ in length, and the header behind the last one must be read too.
        return min(value.end, chain.end + ceil(1.05 * mean * items) + PROBE)

    def _expected(self) -> int:
        """Estimate the bytes that are still to be read, from frames of about equal length."""
        value = self._value
        goals = [stream.goal for stream in self._streams]
        far = value.n_frames
        if self._chain.certain and None not in goals:
            far = max(goal + 1 for goal in goals if goal is not None)
        end = value.start + (value.end - value.start) * min(far / value.n_frames, 1)
        return max(0, ceil(end) - self._buffer_end)

    def _ask(self) -> None:
        """Request as many blocks as are needed and allowed."""
        end, limit = self._needed_to(), min(stream.limit for stream in self._streams)
        largest = max(SMALLEST_BLOCK, limit // BLOCKS_IN_FLIGHT)
        if self._needs_bytes:
            # Frames are decoded while the next blocks come.
            largest = min(largest, self._value.source.request_sizing.largest)
        least = min(BLOCK, PROBE if self._items_are_large else SMALLEST_BLOCK)
        ahead, value = self._read_ahead, self._value
        while len(ahead) < BLOCKS_IN_FLIGHT and (ahead.requested_to < end or not len(ahead)):
            length = value.fetched_to - ahead.requested_to
            if length <= 0:
                length = max(least, min(end - ahead.requested_to, BLOCK, largest))
            length = min(length, value.end - ahead.requested_to)
            ahead.request(length, length + self._decoding(length), limit)

    @property
    def _needs_bytes(self) -> bool:
        return any(stream.needs_bytes for stream in self._streams)

    def _decoding(self, length: int) -> int:
        """Return the bytes that the frames in a block take while they are decoded."""
        if not self._needs_bytes:
            return 0
        mean = self._chain.mean_length() or length
        return ceil(2 * min(cpu_count(), length / mean) * self._value.format.frame_nbytes)
