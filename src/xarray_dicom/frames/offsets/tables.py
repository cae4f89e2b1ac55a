"""Frames found through a table (PS3.5 A.4, PS3.3 C.7.6.3.1.8), or by being the only one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.offsets.byte_ranges import (
    ITEM_HEADER,
    Spans,
    check_frames,
    check_present,
    pack,
    strip_items,
    unpack,
    whole_bytes,
)


@dataclass(frozen=True, slots=True, eq=False)
class ExactOffsets:
    """Frames whose codestreams have known extents, each in one fragment.

    Attributes
    ----------
    location
        Named in errors.
    offset
        First byte of each codestream, int64.
    length
        Bytes of each codestream; uint32 where that suffices.
    end
        First byte behind the object.
    table
        What told them.
    """

    location: str
    offset: NDArray[np.int64] = field(repr=False)
    length: NDArray[np.unsignedinteger[Any]] = field(repr=False)
    end: int
    table: str = "extended"

    @classmethod
    def of(
        cls,
        location: str,
        offset: NDArray[np.int64],
        length: NDArray[np.int64],
        end: int,
        table: str = "extended",
    ) -> ExactOffsets:
        """Keep `length` as small as it can be."""
        small = not length.size or int(length.max()) < 2**32
        return cls(location, offset, length.astype(np.uint32 if small else np.uint64), end, table)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.offset.size

    def spans(self, frames: NDArray[np.int64]) -> Spans:
        """Byte ranges of the codestreams of `frames`."""
        chosen = check_frames(frames, self.n_frames)
        spans = whole_bytes(self.offset[chosen], self.length[chosen].astype(np.int64))
        return check_present(spans, chosen, self.end, self.location)

    def codestream(self, blob: bytes | memoryview) -> bytes | memoryview:
        """`blob` itself."""
        return blob

    def __reduce__(self) -> tuple[Any, ...]:
        length = self.length.astype(np.int64)
        odd = self.offset.copy()
        odd[1:] -= self.offset[:-1] + _to_next(length[:-1])
        lengths = pack(np.cumsum(length))
        return _exact, (self.location, pack(np.cumsum(odd)), lengths, self.end, self.table)


def _to_next(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """From one codestream to the next, if only padding and an item header lie between."""
    return length + (length & 1) + ITEM_HEADER


def _exact(location: str, odd: bytes, lengths: bytes, end: int, table: str) -> ExactOffsets:
    length = np.diff(unpack(lengths), prepend=np.int64(0))
    offset = unpack(odd)
    offset[1:] += np.cumsum(_to_next(length[:-1]))
    return ExactOffsets.of(location, offset, length, end, table)


@dataclass(frozen=True, slots=True, eq=False)
class ItemOffsets:
    """Frames that are runs of items: one after another, each of one fragment or more.

    Attributes
    ----------
    location
        Named in errors.
    edges
        Where the first item of each frame starts, and last where the last frame ends, int64.
        If fewer frames are there than there should be, so many edges are missing.
    n_frames
        Number of Frames that the instance should have.
    end
        First byte behind the object.
    first
        Number of the frame at the first edge: not 0 only on the way through a scan.
    """

    location: str
    edges: NDArray[np.int64] = field(repr=False)
    n_frames: int
    end: int
    first: int = 0

    def spans(self, frames: NDArray[np.int64]) -> Spans:
        """Byte ranges of the items of `frames`."""
        chosen = check_frames(frames, self.n_frames)
        present = self.first + self.edges.size - 1
        lost = chosen >= present
        if lost.any():
            raise CorruptDicomError(
                f"{self.location}: frame {int(chosen[lost][0]) + 1} is missing: only {present} of "
                f"{self.n_frames} frames are stored; select other frames or fetch the object anew"
            )
        start, end = self.edges[chosen - self.first], self.edges[chosen - self.first + 1]
        spans = whole_bytes(start, end - start)
        return check_present(spans, chosen, self.end, self.location)

    def codestream(self, blob: bytes | memoryview) -> bytes | memoryview:
        """The fragments in `blob`, joined."""
        return strip_items(blob, self.location)

    def __reduce__(self) -> tuple[Any, ...]:
        return _items, (self.location, pack(self.edges), self.n_frames, self.end, self.first)


def _items(location: str, edges: bytes, n_frames: int, end: int, first: int) -> ItemOffsets:
    return ItemOffsets(location, unpack(edges), n_frames, end, first)


@dataclass(frozen=True, slots=True)
class SingleFrame:
    """The only frame: the whole pixel data, whose first item is the Basic Offset Table.

    Attributes
    ----------
    location
        Named in errors.
    start
        First byte of the pixel data's value.
    end
        First byte behind it, or behind the object if that is not known.
    """

    location: str
    start: int
    end: int

    @property
    def n_frames(self) -> int:
        """One."""
        return 1

    def spans(self, frames: NDArray[np.int64]) -> Spans:
        """The whole value."""
        chosen = check_frames(frames, 1)
        offset = np.full(chosen.size, self.start, np.int64)
        return whole_bytes(offset, np.full(chosen.size, self.end - self.start, np.int64))

    def codestream(self, blob: bytes | memoryview) -> bytes | memoryview:
        """The fragments in `blob` behind the offset table, joined."""
        view = memoryview(blob)
        table = int.from_bytes(view[4:ITEM_HEADER], "little")
        return strip_items(view[ITEM_HEADER + table :], self.location)
