"""Frames of an instance, asked for by number: the one face that all readers read through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.pixel_format import PixelFormat

Buffer: TypeAlias = bytes | bytearray | memoryview
Int64s = NDArray[np.int64]


class Framing(Enum):
    """Bytes that lie around and between the bits of encoded frames."""

    #: Nothing: each range of bytes is one codestream.
    CODESTREAM = "codestream"
    #: An item header before each fragment of a frame (PS3.5 A.4).
    ITEMS = "items"
    #: The same behind the Basic Offset Table, which is an item as well.
    TABLE_AND_ITEMS = "table and items"
    #: Bits of native frames that follow each other, so that one may start in mid-byte.
    BITS = "bits"


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFrames:
    """Some frames of an instance as they are stored, in one run of bytes.

    Attributes
    ----------
    numbers
        Frame numbers from 0, ascending, shape ``(frames,)``.
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


@runtime_checkable
class FrameSource(Protocol):
    """Frames of one SOP instance, wherever they are: it is pickled, a header is not."""

    @property
    def format(self) -> PixelFormat:
        """How the pixels of all frames are encoded."""
        ...

    @property
    def n_frames(self) -> int:
        """Number of Frames."""
        ...

    @property
    def location(self) -> str:
        """Where the frames lie, fit to be shown: no query string, no secret."""
        ...

    def fetch(self, frame_numbers: Int64s, budget: int) -> AsyncIterator[EncodedFrames]:
        """Fetch encoded frames, in batches and in any order.

        Parameters
        ----------
        frame_numbers
            Numbers from 0, ascending, none twice.
        budget
            Bytes that this process may hold, fetched or being decoded.

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
