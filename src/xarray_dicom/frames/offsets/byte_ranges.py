"""What every way of locating frames has in common."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError

#: Bytes of an item, of a sequence delimiter, and of the header of either.
ITEM_TAG = b"\xfe\xff\x00\xe0"
DELIMITER_TAG = b"\xfe\xff\xdd\xe0"
ITEM_HEADER = 8


@dataclass(frozen=True, slots=True)
class Spans:
    """Byte ranges of some frames: parallel arrays.

    Attributes
    ----------
    offset, length
        Bytes in the object (or in `Header.inflated`).
    bit
        Bits to skip in the first byte; not 0 only for 1-bit frames that start in mid-byte.
    """

    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    bit: NDArray[np.uint8]


class FrameOffsets(Protocol):
    """Where the frames of one instance lie. Immutable; pickles compactly and always alike."""

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        ...

    def spans(self, frames: NDArray[np.int64]) -> Spans:
        """Byte ranges of `frames` (numbers from 0, any order, repeats allowed).

        Raises `CorruptDicomError` if bytes of one of them are not there.
        """
        ...

    def codestream(self, blob: bytes | memoryview) -> bytes | memoryview:
        """The encoded frame in the bytes of its span, without item headers."""
        ...


def check_frames(frames: NDArray[np.int64], n_frames: int) -> NDArray[np.int64]:
    """Frame numbers as int64; an IndexError if there is no such frame."""
    chosen = np.asarray(frames, np.int64)
    if chosen.size and (int(chosen.min()) < 0 or int(chosen.max()) >= n_frames):
        raise IndexError(f"frames run from 0 to {n_frames - 1}")
    return chosen


def whole_bytes(offset: NDArray[np.int64], length: NDArray[np.int64]) -> Spans:
    """Spans that start on a byte."""
    return Spans(offset, length, np.zeros(offset.size, np.uint8))


def check_present(spans: Spans, frames: NDArray[np.int64], end: int, location: str) -> Spans:
    """Raise if a span reaches behind `end`, naming the first frame (from 1) that does."""
    lost = spans.offset + spans.length > end
    if lost.any():
        first = int(frames[np.argmax(lost)]) + 1
        raise CorruptDicomError(
            f"{location}: the bytes of frame {first} are missing: the object ends at byte {end}; "
            "it is truncated, select other frames or fetch it anew"
        )
    return spans


def strip_items(blob: bytes | memoryview, location: str) -> bytes | memoryview:
    """Join the fragments in `blob`, a run of items that may be followed by anything.

    A span whose end is not known runs to the end of the object, so what follows the last
    fragment is ignored. The odd byte that some writers don't count is passed over.
    """
    view = memoryview(blob)
    fragments: list[memoryview] = []
    position = 0
    while position + ITEM_HEADER <= len(view):
        tag = bytes(view[position : position + 4])
        if tag != ITEM_TAG:
            if tag == DELIMITER_TAG or not fragments:
                break
            position += 1
            if bytes(view[position : position + 4]) == ITEM_TAG:
                continue
            break
        length = int.from_bytes(view[position + 4 : position + ITEM_HEADER], "little")
        position += ITEM_HEADER
        if position + length > len(view):
            raise CorruptDicomError(
                f"{location}: a fragment of {length} bytes is cut short after "
                f"{len(view) - position}: the object is truncated or damaged"
            )
        if length:
            fragments.append(view[position : position + length])
        position += length
    if not fragments:
        raise CorruptDicomError(
            f"{location}: no fragment starts where a frame should, or it is empty"
        )
    return fragments[0] if len(fragments) == 1 else b"".join(fragments)


def pack(numbers: NDArray[np.int64]) -> bytes:
    """Whole numbers that grow evenly, in few bytes; the same numbers give the same bytes."""
    steps = np.diff(numbers, prepend=np.int64(0)).astype("<i8")
    # Bytes of equal significance together: most planes are zeros.
    planes = np.ascontiguousarray(steps.view(np.uint8).reshape(-1, 8).T)
    # The lengths of codestreams have no patterns to search for: runs and Huffman codes are all.
    squeeze = zlib.compressobj(strategy=zlib.Z_RLE)
    return squeeze.compress(planes.data) + squeeze.flush()


def unpack(packed: bytes) -> NDArray[np.int64]:
    """The numbers that `pack` was given."""
    planes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(8, -1)
    steps = np.ascontiguousarray(planes.T).view("<i8").reshape(-1)
    return np.cumsum(steps, dtype=np.int64)
