"""Encoding of the pixels of an image: one value that all its frames share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

#: Bytes of frames, as they are fetched and decoded.
Buffer: TypeAlias = bytes | bytearray | memoryview

#: Frames above this size, in bytes, must not be more than `MAX_EXPANSION` times as large as
#: their codestream: they could otherwise claim any amount of memory.
LARGE_FRAME = 64 * 2**20
MAX_EXPANSION = 20_000


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """Image Pixel module of one instance (PS3.3 C.7.6.3), and its transfer syntax.

    Attributes
    ----------
    transfer_syntax
        UID of the transfer syntax of the pixels.
    rows, columns, samples
        Shape of one frame; `samples` is 1 or 3.
    bits_allocated, bits_stored, pixel_representation
        As in the standard; `pixel_representation` is 1 for signed integers.
    photometric
        Photometric Interpretation, as spelled in the file.
    planar
        Planar Configuration: 0 colour by pixel, 1 colour by plane.
    element
        Keyword of the pixel data element: ``PixelData``, ``FloatPixelData`` or
        ``DoubleFloatPixelData``.
    word_swapped
        True if 8-bit pixels lie in 16-bit big endian words (VR OW in Explicit VR Big
        Endian), so that each pair of bytes is swapped.
    """

    transfer_syntax: str
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    photometric: str
    planar: int = 0
    element: str = "PixelData"
    word_swapped: bool = False

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of a stored value, in native byte order; uint8 for 1-bit pixels."""
        return _stored_dtype(self.element, self.pixel_representation, self.bits_allocated)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a decoded frame: ``(rows, columns)``, or ``(rows, columns, 3)`` for colour."""
        plane = (self.rows, self.columns)
        return plane if self.samples == 1 else (*plane, self.samples)

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame; BINARY segmentations need not end on a byte.

        YBR_FULL_422 halves the chroma columns (PS3.3 C.7.6.3.1.2).
        """
        pixels = self.rows * self.columns
        samples = 2 if self.samples == 3 and self.photometric == "YBR_FULL_422" else self.samples
        return pixels * samples * self.bits_allocated

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.rows * self.columns * self.samples * self.dtype.itemsize


@cache
def _stored_dtype(
    element: str, pixel_representation: int, bits_allocated: int
) -> np.dtype[np.generic]:
    # Asked ten times for each small read: 0.2 µs from the cache, 1 µs without.
    if element == "FloatPixelData":
        return np.dtype(np.float32)
    if element == "DoubleFloatPixelData":
        return np.dtype(np.float64)
    kind = "i" if pixel_representation else "u"
    return np.dtype(f"{kind}{max(1, bits_allocated // 8)}")
