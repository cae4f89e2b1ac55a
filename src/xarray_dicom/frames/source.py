"""Frames of an instance, asked for by number: the one face that all readers read through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.frames.framing import Framing, unwrap
from xarray_dicom.pixel_format import Buffer, PixelFormat
from xarray_dicom.runtime import MEMORY_BUDGET, Lease, runtime

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFrames:
    """Some frames of an instance as they are stored, in one run of bytes.

    Attributes
    ----------
    numbers
        Frame numbers from 0, shape ``(frames,)``.
    content
        The bytes that the frames lie in.
    start, length
        Bytes of each frame in `content`, shape ``(frames,)``.
    bit
        Bits to skip in the first byte of each frame, shape ``(frames,)``; 0 but for `BITS`.
    framing
        What lies around the frames.
    release
        Called once by whoever has decoded the frames: gives back what they took of the budget.
    """

    numbers: Int64s
    content: Buffer
    start: Int64s
    length: Int64s
    bit: NDArray[np.uint8]
    framing: Framing
    release: Callable[[], None] = lambda: None

    def codestream(self, position: int) -> Buffer:
        """Return the bytes of one frame, without item headers.

        Parameters
        ----------
        position
            Position of the frame in `numbers`.

        Raises
        ------
        CorruptDicomError
            If its fragments are cut short or missing.
        """
        start = int(self.start[position])
        view = memoryview(self.content)[start : start + int(self.length[position])]
        return unwrap(self.framing, view)

    @classmethod
    def of_codestreams(cls, numbers: Int64s, codestreams: Sequence[bytes]) -> EncodedFrames:
        """Return frames whose codestreams were received one by one.

        Parameters
        ----------
        numbers
            Frame numbers from 0, ascending, shape ``(frames,)``.
        codestreams
            The bytes of each.
        """
        length = np.array([len(codestream) for codestream in codestreams], np.int64)
        start = np.cumsum(length) - length
        bit = np.zeros(len(length), np.uint8)
        return cls(numbers, b"".join(codestreams), start, length, bit, Framing.CODESTREAM)


class Budget:
    """Memory and requests that one read may have in flight.

    Parameters
    ----------
    nbytes
        Bytes that this process may hold, fetched or being decoded.
    requests
        Requests of the read that may be under way at a time.
    frames_at_once
        Frames of one request that are decoded at a time.

    Attributes
    ----------
    requests
        One slot for each request; used on the event loop.
    """

    def __init__(
        self, nbytes: int = MEMORY_BUDGET, requests: int = 16, frames_at_once: int = 1
    ) -> None:
        self.nbytes = nbytes
        self.requests = asyncio.Semaphore(requests)
        self.frames_at_once = frames_at_once

    async def hold(self, nbytes: int) -> Lease:
        """Wait until so many more bytes fit into the memory of this process, and take them."""
        return await Lease(runtime().budget, nbytes).acquire(self.nbytes)


@runtime_checkable
class FrameSource(Protocol):
    """Frames of one SOP instance, wherever they are. It pickles small, without a header.

    A source may have an attribute ``immediate``: True if `fetch` never waits for a network, so
    that it is driven in the calling thread; else `fetch` runs on the event loop of
    `xarray_dicom.runtime`. Another one, ``requests``, is the number of requests of one read that
    are best under way at a time.
    """

    @property
    def format(self) -> PixelFormat:
        """Encoding of the pixels of all frames."""
        ...

    @property
    def n_frames(self) -> int:
        """Number of Frames."""
        ...

    @property
    def location(self) -> str:
        """URL or path fit to be shown: no query string, no secret."""
        ...

    def fetch(self, frame_numbers: Int64s, budget: Budget) -> AsyncIterator[EncodedFrames]:
        """Fetch encoded frames, in batches and in any order.

        Parameters
        ----------
        frame_numbers
            Numbers from 0, none twice, in the order in which the frames are needed.
        budget
            Memory and requests that the read may have in flight; what a batch takes of it is
            given back by its `release`.

        Yields
        ------
        EncodedFrames
            Each frame in one of them. The next ones are fetched meanwhile.

        Raises
        ------
        CorruptDicomError
            If the bytes of a frame are lost, or can't be those of a frame.
        """
        ...

    async def verify(self) -> None:
        """Raise `SourceChangedError` if the object was replaced after it was opened."""
        ...
