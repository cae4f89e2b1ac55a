"""Frames of uncompressed pixel data: bit for bit one after another (PS3.5 A.4, 8.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.offsets.byte_ranges import Spans, check_frames, check_present
from xarray_dicom.warn import warn


@dataclass(frozen=True, slots=True)
class NativeOffsets:
    """Frames of equal size.

    Attributes
    ----------
    location
        Named in errors.
    n_frames
        Number of frames.
    start
        First byte of the pixel data.
    frame_bits
        Bits of one frame.
    end
        First byte behind the object.
    unit
        Bits of a word: spans are whole words, which some encodings swap.
    """

    location: str
    n_frames: int
    start: int
    frame_bits: int
    end: int
    unit: int = 8

    @classmethod
    def checked(
        cls,
        location: str,
        n_frames: int,
        start: int,
        length: int,
        frame_bits: int,
        end: int,
        unit: int = 8,
    ) -> NativeOffsets:
        """Hold the size of the frames to the `length` of the pixel data's value."""
        if frame_bits <= 0:
            raise CorruptDicomError(f"{location}: Rows, Columns or Bits Allocated is 0")
        needed = (n_frames * frame_bits + 7) // 8
        if needed > length:
            raise CorruptDicomError(
                f"{location}: {n_frames} frames of {frame_bits} bits take {needed} bytes, but the "
                f"pixel data has {length}: Number of Frames (0028,0008), Rows, Columns or the "
                "value's length is wrong"
            )
        if start + needed > end:
            there = max(0, end - start) * 8 // frame_bits
            warn(
                f"{location}: the object is truncated: only {there} of {n_frames} frames are there"
            )
        return cls(location, n_frames, start, frame_bits, end, unit)

    def spans(self, frames: NDArray[np.int64]) -> Spans:
        """Byte ranges of `frames`."""
        chosen = check_frames(frames, self.n_frames)
        first_bit = chosen * self.frame_bits
        word, bit = np.divmod(first_bit, self.unit)
        last = -(-(first_bit + self.frame_bits) // self.unit)
        octets = self.unit // 8
        spans = Spans(self.start + word * octets, (last - word) * octets, bit.astype(np.uint8))
        return check_present(spans, chosen, self.end, self.location)

    def codestream(self, blob: bytes | memoryview) -> bytes | memoryview:
        """`blob` itself."""
        return blob
