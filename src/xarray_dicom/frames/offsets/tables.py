"""Frames located by a table (PS3.5 A.4, PS3.3 C.7.6.3.1.8), or by being the only one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.framing import ITEM_HEADER, Framing
from xarray_dicom.frames.offsets.byte_ranges import (
    ByteRanges,
    check_numbers,
    check_present,
    pack,
    unpack,
    whole_bytes,
)


@dataclass(frozen=True, slots=True, eq=False)
class ExactOffsets:
    """Frames whose codestreams have known extents, each in one fragment.

    Attributes
    ----------
    offset
        First byte of each codestream, int64.
    length
        Bytes of each codestream; uint32 where that suffices.
    end
        First byte behind the object.
    table
        Table that they come from.
    """

    offset: NDArray[np.int64] = field(repr=False)
    length: NDArray[np.unsignedinteger[Any]] = field(repr=False)
    end: int
    table: str = "extended"

    framing: ClassVar[Framing] = Framing.CODESTREAM

    @classmethod
    def from_lengths(
        cls,
        offset: NDArray[np.int64],
        length: NDArray[np.int64],
        end: int,
        table: str = "extended",
    ) -> ExactOffsets:
        """Store `length` in the smallest type that holds it; arguments as the attributes."""
        small = not length.size or int(length.max()) < 2**32
        return cls(offset, length.astype(np.uint32 if small else np.uint64), end, table)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.offset.size

    def byte_ranges(self, frames: NDArray[np.int64]) -> ByteRanges:
        """Return the byte ranges of the codestreams of `frames`."""
        numbers = check_numbers(frames, self.n_frames)
        ranges = whole_bytes(self.offset[numbers], self.length[numbers].astype(np.int64))
        return check_present(ranges, numbers, self.end)

    def __reduce__(self) -> tuple[Any, ...]:
        length = self.length.astype(np.int64)
        gaps = self.offset.copy()
        gaps[1:] -= self.offset[:-1] + _to_next(length[:-1])
        lengths = pack(np.cumsum(length))
        return _unpack_exact, (pack(np.cumsum(gaps)), lengths, self.end, self.table)


def _to_next(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return bytes from one codestream to the next with padding and an item header between."""
    return length + (length & 1) + ITEM_HEADER


def _unpack_exact(gaps: bytes, lengths: bytes, end: int, table: str) -> ExactOffsets:
    length = np.diff(unpack(lengths), prepend=np.int64(0))
    offset = unpack(gaps)
    offset[1:] += np.cumsum(_to_next(length[:-1]))
    return ExactOffsets.from_lengths(offset, length, end, table)


@dataclass(frozen=True, slots=True, eq=False)
class ItemOffsets:
    """Frames that are runs of items: one after another, each of one fragment or more.

    Attributes
    ----------
    edges
        Where the first item of each frame starts, and last where the last frame ends, int64.
        If fewer frames are stored than there should be, as many edges are missing.
    n_frames
        Number of Frames that the instance should have.
    end
        First byte behind the object.
    first
        Number of the frame at the first edge: not 0 only while a scan is under way.
    """

    edges: NDArray[np.int64] = field(repr=False)
    n_frames: int
    end: int
    first: int = 0

    framing: ClassVar[Framing] = Framing.ITEMS

    def byte_ranges(self, frames: NDArray[np.int64]) -> ByteRanges:
        """Return the byte ranges of the items of `frames`."""
        numbers = check_numbers(frames, self.n_frames)
        present = self.first + self.edges.size - 1
        missing = numbers >= present
        if missing.any():
            raise CorruptDicomError(
                f"it is missing: only {present} of {self.n_frames} frames are stored; select other "
                "frames or fetch the object anew",
                frame=int(numbers[missing][0]) + 1,
            )
        start, end = self.edges[numbers - self.first], self.edges[numbers - self.first + 1]
        return check_present(whole_bytes(start, end - start), numbers, self.end)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack_items, (pack(self.edges), self.n_frames, self.end, self.first)


def _unpack_items(edges: bytes, n_frames: int, end: int, first: int) -> ItemOffsets:
    return ItemOffsets(unpack(edges), n_frames, end, first)


@dataclass(frozen=True, slots=True)
class SingleFrame:
    """The only frame: the whole pixel data, whose first item is the Basic Offset Table.

    Attributes
    ----------
    start
        First byte of the pixel data's value.
    end
        First byte behind it, or behind the object if that is not known.
    """

    start: int
    end: int

    framing: ClassVar[Framing] = Framing.TABLE_AND_ITEMS
    n_frames: ClassVar[int] = 1

    def byte_ranges(self, frames: NDArray[np.int64]) -> ByteRanges:
        """Return the range of the whole value."""
        numbers = check_numbers(frames, 1)
        offset = np.full(numbers.size, self.start, np.int64)
        return whole_bytes(offset, np.full(numbers.size, self.end - self.start, np.int64))
