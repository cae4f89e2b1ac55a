"""Frames of an object whose byte ranges are known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xarray_dicom.errors import located
from xarray_dicom.frames.fetch import fetch_located
from xarray_dicom.frames.offsets import FrameOffsets
from xarray_dicom.frames.requests import LocatedFrames
from xarray_dicom.frames.source import Budget, EncodedFrames, Int64s
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.storage.source import ByteSource


@dataclass(frozen=True, slots=True, eq=False)
class IndexedFrames:
    """Frames of one SOP instance in a store, with their byte ranges; a `FrameSource`.

    Attributes
    ----------
    source
        Bytes of the object, pinned to one version.
    format
        Encoding of the pixels.
    n_frames
        Number of Frames.
    offsets
        Byte ranges of the frames.
    """

    source: ByteSource
    format: PixelFormat
    n_frames: int
    offsets: FrameOffsets = field(repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # The same bytes as `ScannedFrames`: dask takes both for the same frames.
        return IndexedFrames, (self.source, self.format, self.n_frames, self.offsets)

    @property
    def location(self) -> str:
        """URL or path of the object, fit to be shown."""
        return self.source.location

    @property
    def immediate(self) -> bool:
        """True if reading never waits for a network."""
        return self.source.immediate

    @property
    def requests(self) -> int:
        """Requests of one read that are best under way at a time."""
        return self.source.request_sizing.window

    @property
    def has_offsets(self) -> bool:
        """True: no scan is needed."""
        return True

    async def frame_offsets(self) -> FrameOffsets:
        """Return the byte ranges of all frames."""
        return self.offsets

    def fetch(self, frame_numbers: Int64s, budget: Budget) -> AsyncIterator[EncodedFrames]:
        """Fetch encoded frames; see `FrameSource.fetch`."""
        with located(self.location):
            ranges = self.offsets.byte_ranges(frame_numbers)
            frames = LocatedFrames(frame_numbers, ranges, self.offsets.framing, self.format)
        return fetch_located(self.source, frames, budget)

    def encoded_nbytes(self, frame_numbers: Int64s) -> Int64s:
        """Return the bytes that each frame takes as it is stored, shape ``(frames,)``."""
        with located(self.location):
            return np.asarray(self.offsets.byte_ranges(frame_numbers).length, np.int64)

    async def verify(self) -> None:
        """Raise `SourceChangedError` if the object was replaced after it was opened."""
        await self.source.verify()
