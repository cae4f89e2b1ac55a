"""Frames of uncompressed pixel data: bit for bit one after another (PS3.5 A.4, 8.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.framing import Framing
from xarray_dicom.frames.offsets.byte_ranges import ByteRanges, check_numbers, check_present
from xarray_dicom.warn import warn


@dataclass(frozen=True, slots=True)
class NativeOffsets:
    """Frames of equal size.

    Attributes
    ----------
    n_frames
        Number of frames.
    start
        First byte of the pixel data.
    frame_bits
        Bits of one frame.
    end
        First byte behind the object.
    unit
        Bits of a word: ranges are whole words, which some encodings swap.
    """

    n_frames: int
    start: int
    frame_bits: int
    end: int
    unit: int = 8

    framing: ClassVar[Framing] = Framing.BITS

    @classmethod
    def of_length(
        cls, n_frames: int, start: int, length: int, frame_bits: int, end: int, unit: int = 8
    ) -> NativeOffsets:
        """Return the offsets of frames that fit into `length` bytes of pixel data.

        Parameters
        ----------
        n_frames, start, frame_bits, end, unit
            As the attributes.
        length
            Bytes of the pixel data's value.

        Raises
        ------
        CorruptDicomError
            If they don't fit.

        Warns
        -----
        DicomWarning
            If the object ends before its last frame.
        """
        if frame_bits <= 0:
            raise CorruptDicomError("Rows, Columns or Bits Allocated is 0")
        needed = (n_frames * frame_bits + 7) // 8
        if needed > length:
            raise CorruptDicomError(
                f"{n_frames} frames of {frame_bits} bits take {needed} bytes, but the pixel data "
                f"has {length}: Number of Frames (0028,0008), Rows, Columns or the value's length "
                "is wrong",
                tag="NumberOfFrames",
            )
        if start + needed > end:
            present = max(0, end - start) * 8 // frame_bits
            warn(f"the object is truncated: only {present} of {n_frames} frames are there")
        return cls(n_frames, start, frame_bits, end, unit)

    def byte_ranges(self, frames: NDArray[np.int64]) -> ByteRanges:
        """Return the byte ranges of `frames`."""
        numbers = check_numbers(frames, self.n_frames)
        first_bit = numbers * self.frame_bits
        word, bit = np.divmod(first_bit, self.unit)
        last = -(-(first_bit + self.frame_bits) // self.unit)
        octets = self.unit // 8
        ranges = ByteRanges(
            self.start + word * octets, (last - word) * octets, bit.astype(np.uint8)
        )
        return check_present(ranges, numbers, self.end)
