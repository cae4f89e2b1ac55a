"""Frames found by following the items through the pixel data, where no table tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import ceil

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.decode_threads import cpu_count
from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.offsets.find import pixel_value
from xarray_dicom.frames.offsets.item_chain import OPENING, TRAIL, Chain, frame_edges
from xarray_dicom.frames.offsets.tables import ItemOffsets
from xarray_dicom.frames.read_ahead import ReadAhead
from xarray_dicom.frames.scan_stream import Lease, Stream
from xarray_dicom.parsing.elements import Header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.progress import Progress, progress
from xarray_dicom.runtime import MEMORY_BUDGET, runtime
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.warn import recording, warn

#: Bytes of one request, and requests in flight.
BLOCK = 4 * 2**20
IN_FLIGHT = 8

#: Fewer bytes cost as much as these.
LEAST = 256 * 2**10

#: What a header is looked for in behind an item larger than a block.
PROBE = 4 * 2**10


class Scan:
    """The search for the frames of one object, as far as anybody needs it.

    It stops when nobody waits and goes on from there when somebody does. Frame numbers are
    certain on the way as long as every item is a codestream by itself; else they wait for
    the end of the chain. What is in flight counts against the budget; besides that, at most
    one frame larger than a block is held, while it is put together. Lives on the runtime's
    event loop; a forked child starts anew.

    Parameters
    ----------
    source, header, n_frames, pixel_format
        As for `find_offsets`.
    found
        Awaited once with the offsets of all frames, before anybody hears that they are known.
    """

    def __init__(
        self,
        source: ByteSource,
        header: Header,
        n_frames: int,
        pixel_format: PixelFormat,
        found: Callable[[ItemOffsets], Awaitable[None]] | None = None,
    ) -> None:
        self._value = pixel_value(source, header, n_frames, pixel_format)
        self._found = found
        self._begin()

    def _begin(self) -> None:
        value = self._value
        self._runtime = runtime()
        self._offsets: ItemOffsets | None = None
        self._damage: str | None = None
        self._chain = Chain.at(value.start, value.n_frames, value.format.transfer_syntax)
        #: What has arrived and may be needed: a run of bytes from `_kept_at` to `_arrived_to`.
        self._kept: list[bytes] = []
        self._kept_at = self._arrived_to = value.start
        self._ahead = ReadAhead(value)
        self._streams: list[Stream] = []
        self._driver: asyncio.Task[None] | None = None
        self._last_driver: asyncio.Task[None] | None = None

    @property
    def n_found(self) -> int:
        """The first so many frames are found."""
        # What a forked child inherits may have been caught amid a change.
        is_ours = self._runtime is runtime()
        return self._chain.whole if is_ours and self._damage is None else 0

    def offsets(self) -> ItemOffsets:
        """Where the frames found so far lie; all of them when the scan is finished."""
        if self._offsets is not None:
            return self._offsets
        return self._table(0, self.n_found - 1)

    def _table(self, first: int, last: int) -> ItemOffsets:
        """Where the frames from `first` to `last` lie."""
        value = self._value
        edges = self._chain.edges(first, last)
        return ItemOffsets(value.location, edges, value.n_frames, value.size, first)

    async def reach(self, frame: int, limit: int = MEMORY_BUDGET) -> None:
        """See that `frame` and all before it are found.

        Raises
        ------
        CorruptDicomError
            If the items can't be assigned to frames.
        """
        if frame >= self.n_found:
            await self._follow(self._goal(frame), limit)

    async def finish(self, limit: int = MEMORY_BUDGET) -> ItemOffsets:
        """Where all frames lie.

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
        async with self._waiting(Stream(goal, np.zeros(0, np.int64), limit)) as stream:
            async for passing in stream:
                passing.lease.release()

    @asynccontextmanager
    async def stream(self, frames: NDArray[np.int64], limit: int) -> AsyncIterator[Stream]:
        """Find `frames`, handing over those whose bytes pass by.

        Parameters
        ----------
        frames
            Numbers from 0, ascending, none twice; at least one.
        limit
            Bytes that may be in flight in this process. What is handed over counts, with
            the memory to decode it in, until it is released: who reads from a stream must
            not wait for more of the budget before he does that.
        """
        async with self._waiting(Stream(self._goal(int(frames[-1])), frames, limit)) as stream:
            yield stream

    def _goal(self, frame: int) -> int | None:
        # Who has the last frame is about to learn whether there are more than there should be.
        return frame if frame < self._value.n_frames - 1 else None

    @asynccontextmanager
    async def _waiting(self, stream: Stream) -> AsyncIterator[Stream]:
        self._join(stream)
        try:
            yield stream
        finally:
            self._leave(stream)

    def _join(self, stream: Stream) -> None:
        if self._runtime is not runtime():
            self._begin()
        if self._damage is not None:
            stream.end(CorruptDicomError(self._damage))
        elif self._offsets is not None:
            stream.end()
        else:
            self._streams.append(stream)
            if self._driver is None:
                self._driver = asyncio.create_task(self._drive(self._last_driver))
                self._last_driver = self._driver

    def _leave(self, stream: Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
            if not self._streams and self._driver is not None:
                self._driver.cancel()
                self._driver = None
        stream.release()

    async def _drive(self, before: asyncio.Task[None] | None) -> None:
        """Follow the chain while anybody waits: one task for all of them."""
        if before is not None:
            await asyncio.wait([before])
        self._rewind()
        what = f"finding frames of {self._value.location}"
        try:
            with progress(self._expected(), what, "B") as bar:
                self._hand_over(b"", self._arrived_to, Lease(self._runtime.budget, 0))
                while self._streams and self._drives:
                    if self._is_at_end:
                        await self._conclude()
                    else:
                        await self._advance(bar)
        except BaseException as error:
            # Who came after this one was told to stop waits for the next.
            if self._drives:
                self._end_all(error)
            if not isinstance(error, Exception):
                raise
        finally:
            if self._drives:
                self._driver = None
            await self._ahead.discard()
            self._drop(min(self._needed_from(), self._arrived_to))

    @property
    def _drives(self) -> bool:
        """Whether the current task is the one that drives."""
        return self._driver is asyncio.current_task()

    @property
    def _is_at_end(self) -> bool:
        chain, end = self._chain, self._value.end
        return chain.closed or chain.broken or max(chain.end, self._arrived_to) >= end

    def _rewind(self) -> None:
        """Go back to the start of an item that was passed by halfway, if it is wanted now."""
        if self._last_is_wanted and self._kept_at > self._chain.starts[-1]:
            self._jump(self._chain.starts[-1])
        else:
            self._ahead.asked_to = self._arrived_to

    def _jump(self, offset: int) -> None:
        self._kept.clear()
        self._kept_at = self._arrived_to = self._ahead.asked_to = offset

    @property
    def _last_is_wanted(self) -> bool:
        """Whether anybody wants the bytes of the last item, whose end is not proved yet."""
        chain = self._chain
        if not chain.certain or chain.n_items <= chain.whole:
            return False
        return any(stream.wants(chain.whole) for stream in self._streams)

    async def _advance(self, bar: Progress) -> None:
        """Take the next block, and hand over what is found by it."""
        chain, before = self._chain, self._arrived_to
        if chain.end - TRAIL >= self._ahead.asked_to and not self._last_is_wanted:
            # The item reaches behind all that was asked for, and nobody wants it.
            await self._ahead.discard()
            self._jump(chain.end - TRAIL)
        self._ask()
        content, lease = await self._ahead.take()
        try:
            self._pass(content, lease)
            bar.update(self._arrived_to - before)
        finally:
            lease.release()

    def _pass(self, content: bytes, lease: Lease) -> None:
        """Follow the chain through `content`, which lies behind what is kept."""
        chain, offset = self._chain, self._arrived_to
        self._arrived_to += len(content)
        # Only the item that began before is joined: to join the block would copy every byte.
        while self._kept and chain.end + OPENING < self._arrived_to and not self._is_at_end:
            rest = content[: chain.end + OPENING - offset]
            self._extend(b"".join([*self._kept, rest]), self._kept_at, lease)
            self._drop(min(self._needed_from(), offset))
        if not self._kept:
            self._kept_at = offset
        self._kept.append(content)
        if self._kept_at == offset or self._arrived_to >= self._value.end:
            self._extend(self._joined(), self._kept_at, lease)
        self._drop(min(self._needed_from(), self._arrived_to))

    def _extend(self, content: bytes, offset: int, lease: Lease) -> None:
        is_last = offset + len(content) >= self._value.end
        self._chain.extend(content, offset, last=is_last)
        self._hand_over(content, offset, lease)

    def _needed_from(self) -> int:
        """Where the bytes start that are needed with those that are to come."""
        chain = self._chain
        if self._last_is_wanted and self._kept_at <= chain.starts[-1]:
            return chain.starts[-1]
        return chain.end - TRAIL

    def _drop(self, before: int) -> None:
        """Keep only what lies from `before` on."""
        if before > self._kept_at:
            rest = self._joined()[before - self._kept_at :]
            self._kept[:] = [rest] if rest else []
            self._kept_at = before

    def _joined(self) -> bytes:
        if len(self._kept) != 1:
            self._kept[:] = [b"".join(self._kept)]
        return self._kept[0]

    def _hand_over(self, content: bytes, offset: int, lease: Lease) -> None:
        n_found = self._chain.whole
        for stream in list(self._streams):
            frames = stream.take(n_found)
            if frames.size:
                table = self._table(int(frames[0]), int(frames[-1]))
                stream.pass_on(frames, table, content, offset, lease)
            # Where the chain ends too, whoever has all frames waits for the offsets to be kept.
            if not self._is_at_end and stream.is_satisfied(n_found):
                self._streams.remove(stream)
                stream.end()

    async def _conclude(self) -> None:
        """Assign the items to frames, for the chain has come to its end."""
        chain, value = self._chain, self._value
        syntax, location = value.format.transfer_syntax, value.location
        try:
            edges = frame_edges(chain, value.n_frames, syntax, location)
        except CorruptDicomError as error:
            self._damage = str(error)
            raise
        # Whoever keeps the offsets keeps what was said of them.
        with recording():
            if not chain.closed:
                what = "is damaged" if chain.broken else "ends"
                warn(
                    f"{location}: the pixel data {what} at byte {min(chain.end, value.end)} before "
                    "its delimiter; frames from there on can't be read"
                )
            if edges.size - 1 < value.n_frames:
                warn(
                    f"{location}: only {edges.size - 1} of {value.n_frames} frames are stored; the "
                    "others can't be read"
                )
            self._offsets = ItemOffsets(location, edges, value.n_frames, value.size)
            if self._found is not None:
                await self._found(self._offsets)
        self._end_all()

    def _end_all(self, error: BaseException | None = None) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.end(error)

    @property
    def _items_are_large(self) -> bool:
        """Whether to look for headers alone where no bytes are wanted."""
        return self._chain.mean_length() > BLOCK

    def _needed_to(self) -> int:
        """Up to where those who wait need the bytes, as far as the items so far tell."""
        chain, value = self._chain, self._value
        mean = chain.mean_length()
        goals = [stream.goal for stream in self._streams]
        if not mean:
            at_hand = value.at_hand_to
            return at_hand if at_hand > self._ahead.asked_to else min(value.end, chain.end + LEAST)
        if self._items_are_large:
            run = max((stream.wanted_from(chain.whole) for stream in self._streams), default=0)
            items = max(0, run - 1) if self._last_is_wanted else 0
        elif not chain.certain or None in goals:
            return value.end
        else:
            items = max(goal + 1 for goal in goals if goal is not None) - chain.n_items
        # Items differ, and a header must follow to prove the last one.
        return min(value.end, chain.end + ceil(1.05 * mean * items) + PROBE)

    def _expected(self) -> int:
        """Bytes that are still to pass, if the frames are of about equal length."""
        value = self._value
        goals = [stream.goal for stream in self._streams]
        far = value.n_frames
        if self._chain.certain and None not in goals:
            far = max(goal + 1 for goal in goals if goal is not None)
        end = value.start + (value.end - value.start) * min(far / value.n_frames, 1)
        return max(0, ceil(end) - self._arrived_to)

    def _ask(self) -> None:
        """Let as many blocks fly as are needed and allowed."""
        end, limit = self._needed_to(), min(stream.limit for stream in self._streams)
        largest = max(LEAST, limit // IN_FLIGHT)
        if self._bytes_are_wanted:
            # Frames are decoded while the next blocks come.
            largest = min(largest, self._value.source.request_sizing.largest)
        least = min(BLOCK, PROBE if self._items_are_large else LEAST)
        ahead, value = self._ahead, self._value
        while len(ahead) < IN_FLIGHT and (ahead.asked_to < end or not len(ahead)):
            length = value.at_hand_to - ahead.asked_to
            if length <= 0:
                length = max(least, min(end - ahead.asked_to, BLOCK, largest))
            length = min(length, value.end - ahead.asked_to)
            ahead.ask(length, length + self._decoding(length), limit)

    @property
    def _bytes_are_wanted(self) -> bool:
        return any(stream.wants_bytes for stream in self._streams)

    def _decoding(self, length: int) -> int:
        """Bytes that the frames in a block take while they are decoded."""
        if not self._bytes_are_wanted:
            return 0
        mean = self._chain.mean_length() or length
        return ceil(2 * min(cpu_count(), length / mean) * self._value.format.frame_nbytes)


async def scan(
    source: ByteSource, header: Header, n_frames: int, pixel_format: PixelFormat
) -> ItemOffsets:
    """Locate all frames at once; see `Scan`."""
    return await Scan(source, header, n_frames, pixel_format).finish()
