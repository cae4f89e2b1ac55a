"""Frames of an object in a store, by byte ranges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.frames.offsets import FrameOffsets, Scan, Stream
from xarray_dicom.parsing.elements import Header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.runtime import MEMORY_BUDGET, run
from xarray_dicom.storage.source import ByteSource


@dataclass(slots=True, eq=False)
class IndexedFrames:
    """What reading the frames of one SOP instance needs: it is pickled, the header is not.

    Attributes
    ----------
    source
        The object's bytes, pinned to one version.
    format
        How its pixels are encoded.
    n_frames
        Number of Frames.
    """

    source: ByteSource
    format: PixelFormat
    n_frames: int
    _offsets: FrameOffsets | None = field(default=None, repr=False)
    _unscanned: Header | None = field(default=None, repr=False)
    #: Awaited once with the offsets that a scan has found; what it raises is nobody's concern.
    _remember: Callable[[FrameOffsets], Awaitable[None]] | None = field(default=None, repr=False)
    _scan: Scan | None = field(default=None, init=False, repr=False)

    @property
    def location(self) -> str:
        """Where the object lies, fit to be shown."""
        return self.source.location

    @property
    def has_offsets(self) -> bool:
        """Whether the frames' offsets are known without a scan."""
        return self._offsets is not None

    @property
    def known(self) -> tuple[FrameOffsets | None, Header | None]:
        """The frames' offsets; where they are not known, the header that a scan starts from."""
        return self._offsets, self._unscanned

    @property
    def n_located(self) -> int:
        """The first so many frames are located without reading on; asked on the I/O loop."""
        if self._offsets is not None:
            return self.n_frames
        return self._scan.n_found if self._scan is not None else 0

    async def frame_offsets(self) -> FrameOffsets:
        """Where each frame lies; scans the items once where there is no usable table."""
        if self._offsets is None:
            return await self._scanning().finish()
        return self._offsets

    async def locate(self, last: int, limit: int = MEMORY_BUDGET) -> FrameOffsets:
        """Where the frames up to `last` lie, and more of them if they are known.

        Where there is no usable table, the items are scanned as far as that takes; a later
        scan goes on from there.

        Parameters
        ----------
        last
            Number of a frame, from 0.
        limit
            Bytes that may be in flight in this process.
        """
        if self._offsets is not None:
            return self._offsets
        scan = self._scanning()
        await scan.reach(last, limit)
        return scan.offsets()

    @asynccontextmanager
    async def stream(self, frames: NDArray[np.int64], limit: int) -> AsyncIterator[Stream]:
        """Find `frames`, handing over those whose bytes pass by; see `Scan.stream`."""
        if self._offsets is not None:
            yield Stream.without_bytes(frames)
            return
        async with self._scanning().stream(frames, limit) as stream:
            yield stream

    def _scanning(self) -> Scan:
        if self._scan is None:
            assert self._unscanned is not None
            self._scan = Scan(self.source, self._unscanned, self.n_frames, self.format, self._keep)
        return self._scan

    def remember_with(self, remember: Callable[[FrameOffsets], Awaitable[None]]) -> None:
        """Have `remember` awaited, once, with the offsets that a scan finds."""
        self._remember = remember

    async def _keep(self, found: FrameOffsets) -> None:
        self._offsets, self._scan, self._unscanned = found, None, None
        if self._remember is not None:
            with suppress(Exception):
                await self._remember(found)

    def __reduce__(self) -> tuple[Any, ...]:
        # A task on another machine must not scan again, so the scan comes before the pickle.
        offsets = self._offsets or run(self.frame_offsets())
        return IndexedFrames, (self.source, self.format, self.n_frames, offsets)
