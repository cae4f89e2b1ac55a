"""Frames of an object without a usable offset table: a scan of its items locates them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import numpy as np

from xarray_dicom.errors import CorruptDicomError, located
from xarray_dicom.frames.fetch import closing, fetch_located, interleave
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import FrameOffsets, ItemOffsets
from xarray_dicom.frames.requests import LocatedFrames, require_proportion
from xarray_dicom.frames.scan import Scan
from xarray_dicom.frames.source import Budget, EncodedFrames, Int64s
from xarray_dicom.parsing.header import Header
from xarray_dicom.pixel_format import LARGE_FRAME, MAX_EXPANSION, PixelFormat
from xarray_dicom.runtime import MEMORY_BUDGET, enter_loop, run
from xarray_dicom.storage.source import ByteSource


class ScannedFrames:
    """Frames of one SOP instance that a scan locates, as far as reads need it.

    It is a `FrameSource`. Once all frames are located it reads as `IndexedFrames`, which it
    pickles to: another machine must not scan again, so the scan is completed before.

    Parameters
    ----------
    source
        Bytes of the object, pinned to one version.
    format
        Encoding of the pixels.
    n_frames
        Number of Frames.
    header
        Place of the pixel data; nothing else of the header is used.
    """

    def __init__(
        self, source: ByteSource, format: PixelFormat, n_frames: int, header: Header
    ) -> None:
        self.source = source
        self.format = format
        self.n_frames = n_frames
        self.header = header
        self._indexed: IndexedFrames | None = None
        self._scan: Scan | None = None
        self._store: Callable[[FrameOffsets], Awaitable[None]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        offsets = run(self.frame_offsets())
        return IndexedFrames, (self.source, self.format, self.n_frames, offsets)

    def __repr__(self) -> str:
        return f"ScannedFrames({self.location!r}, n_frames={self.n_frames})"

    @property
    def location(self) -> str:
        """URL or path of the object, fit to be shown."""
        return self.source.location

    @property
    def immediate(self) -> bool:
        """True if reading never waits for a network or a scan."""
        return self._indexed is not None and self._indexed.immediate

    @property
    def requests(self) -> int:
        """Requests of one read that are best under way at a time."""
        return self.source.request_sizing.window

    @property
    def has_offsets(self) -> bool:
        """True once a scan has located all frames."""
        return self._indexed is not None

    async def frame_offsets(self) -> FrameOffsets:
        """Return the byte ranges of all frames; the first time, scan the whole object."""
        if self._indexed is not None:
            return self._indexed.offsets
        await enter_loop()
        return await self._scanning().finish()

    async def locate(self, last: int, limit: int = MEMORY_BUDGET) -> FrameOffsets:
        """Scan as far as needed to locate the frames up to `last`.

        Parameters
        ----------
        last
            Number of a frame, from 0.
        limit
            Bytes that may be in flight in this process.

        Returns
        -------
        FrameOffsets
            Offsets of these frames, and of later ones that are located already.
        """
        if self._indexed is not None:
            return self._indexed.offsets
        await enter_loop()
        scan = self._scanning()
        await scan.reach(last, limit)
        return scan.offsets()

    def on_located(self, store: Callable[[FrameOffsets], Awaitable[None]]) -> None:
        """Await `store` once with the offsets that a scan yields; its errors are ignored."""
        self._store = store

    async def fetch(self, frame_numbers: Int64s, budget: Budget) -> AsyncIterator[EncodedFrames]:
        """Fetch encoded frames; see `FrameSource.fetch`.

        Frames whose bytes a scan reads on its way are not fetched again.
        """
        if self._indexed is None:
            await enter_loop()
        if self._indexed is not None:
            streams = [self._indexed.fetch(frame_numbers, budget)]
        else:
            self._require_room(frame_numbers)
            # A scan comes by frames in their own order.
            frame_numbers = np.sort(frame_numbers)
            scan = self._scanning()
            cut = int(np.searchsorted(frame_numbers, scan.n_located))
            streams = []
            if cut:
                streams.append(self._fetch_located(frame_numbers[:cut], scan.offsets(), budget))
            if cut < len(frame_numbers):
                streams.append(self._fetch_scanning(frame_numbers[cut:], budget))
        async with closing(interleave(streams)) as batches:
            async for _, batch in batches:
                yield batch

    def encoded_nbytes(self, frame_numbers: Int64s) -> Int64s:
        """Return the bytes that each frame takes as it is stored, shape ``(frames,)``."""
        with located(self.location):
            offsets = run(self.frame_offsets())
            return np.asarray(offsets.byte_ranges(frame_numbers).length, np.int64)

    async def verify(self) -> None:
        """Raise `SourceChangedError` if the object was replaced after it was opened."""
        await self.source.verify()

    def _fetch_located(
        self, numbers: Int64s, offsets: FrameOffsets, budget: Budget
    ) -> AsyncIterator[EncodedFrames]:
        with located(self.location):
            ranges = offsets.byte_ranges(numbers)
            frames = LocatedFrames(numbers, ranges, offsets.framing, self.format)
        return fetch_located(self.source, frames, budget)

    async def _fetch_scanning(
        self, numbers: Int64s, budget: Budget
    ) -> AsyncIterator[EncodedFrames]:
        """Fetch frames that are not located yet, in the course of locating them."""
        scan = self._scanning()
        async with scan.stream(numbers, budget.nbytes) as stream:
            async for batch in stream:
                with located(self.location):
                    require_proportion(self.format, batch.numbers, batch.length)
                yield batch
            missed = stream.to_fetch
        if missed.size:
            offsets = await self.locate(int(missed[-1]), budget.nbytes)
            async with closing(self._fetch_located(missed, offsets, budget)) as batches:
                async for batch in batches:
                    yield batch

    def _scanning(self) -> Scan:
        if self._scan is None:
            self._scan = Scan(self.source, self.header, self.n_frames, self.format, self._complete)
        return self._scan

    async def _complete(self, offsets: ItemOffsets) -> None:
        self._indexed = IndexedFrames(self.source, self.format, self.n_frames, offsets)
        self._scan = None
        if self._store is not None:
            with suppress(Exception):
                await self._store(offsets)

    def _require_room(self, numbers: Int64s) -> None:
        """Raise before memory is taken for frames that the whole object can't hold."""
        nbytes = self.format.frame_nbytes
        size = self.source.fingerprint.size if self.source.fingerprint else 0
        needed = nbytes * len(numbers)
        if nbytes > LARGE_FRAME and needed > MAX_EXPANSION * size:
            raise CorruptDicomError(
                f"{size} bytes cannot hold the {needed} bytes of these frames: Rows (0028,0010) or "
                "Columns (0028,0011) is wrong",
                location=self.location,
                tag="Rows",
            )
