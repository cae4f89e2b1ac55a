"""Byte ranges of frames."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.framing import Framing


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """Byte ranges of some frames: parallel arrays.

    Attributes
    ----------
    offset, length
        Bytes in the object (or in `Header.inflated`), shape ``(frames,)``.
    bit
        Bits to skip in the first byte; not 0 only for 1-bit frames that start in mid-byte.
    """

    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    bit: NDArray[np.uint8]


class FrameOffsets(Protocol):
    """Byte ranges of all frames of an instance. Immutable; pickles compactly and always alike."""

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        ...

    @property
    def framing(self) -> Framing:
        """Bytes that lie around and between the frames in their ranges."""
        ...

    def byte_ranges(self, frames: NDArray[np.int64]) -> ByteRanges:
        """Return the byte ranges of some frames.

        Parameters
        ----------
        frames
            Numbers from 0, any order, repeats allowed.

        Raises
        ------
        CorruptDicomError
            If bytes of one of them are missing.
        """
        ...


def check_numbers(frames: NDArray[np.int64], n_frames: int) -> NDArray[np.int64]:
    """Return frame numbers as int64; raise IndexError if there is no such frame."""
    numbers = np.asarray(frames, np.int64)
    if numbers.size and (int(numbers.min()) < 0 or int(numbers.max()) >= n_frames):
        raise IndexError(f"frames run from 0 to {n_frames - 1}")
    return numbers


def whole_bytes(offset: NDArray[np.int64], length: NDArray[np.int64]) -> ByteRanges:
    """Return ranges of frames that start on a byte."""
    return ByteRanges(offset, length, np.zeros(offset.size, np.uint8))


def check_present(ranges: ByteRanges, frames: NDArray[np.int64], end: int) -> ByteRanges:
    """Raise for the first frame whose range reaches behind `end`."""
    missing = ranges.offset + ranges.length > end
    if missing.any():
        first = int(frames[np.argmax(missing)]) + 1
        raise CorruptDicomError(
            f"its bytes are missing: the object ends at byte {end}; it is truncated, select other "
            "frames or fetch it anew",
            frame=first,
        )
    return ranges


def pack(numbers: NDArray[np.int64]) -> bytes:
    """Compress evenly growing whole numbers; the same numbers always give the same bytes."""
    steps = np.diff(numbers, prepend=np.int64(0)).astype("<i8")
    # Bytes of equal significance together: most planes are zeros.
    planes = np.ascontiguousarray(steps.view(np.uint8).reshape(-1, 8).T)
    # Lengths of codestreams repeat no patterns, so run lengths and Huffman codes suffice.
    compressor = zlib.compressobj(strategy=zlib.Z_RLE)
    return compressor.compress(planes.data) + compressor.flush()


def unpack(packed: bytes) -> NDArray[np.int64]:
    """Return the numbers that `pack` was given."""
    planes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(8, -1)
    steps = np.ascontiguousarray(planes.T).view("<i8").reshape(-1)
    return np.cumsum(steps, dtype=np.int64)
