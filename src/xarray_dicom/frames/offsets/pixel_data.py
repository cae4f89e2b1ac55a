"""The pixel data element as the ways of locating frames see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.frames.offsets.byte_ranges import ITEM_TAG
from xarray_dicom.parsing.elements import Header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.storage.source import ByteSource


class UnusableTableError(Exception):
    """A table contradicts the object; the next way is tried."""


@dataclass(frozen=True, slots=True)
class PixelValue:
    """The value of the pixel data element, and what is known of its frames.

    Attributes
    ----------
    source, header, format
        The instance.
    n_frames
        Number of Frames.
    start, end
        First byte of the value; first byte behind it, or behind the object if the value's
        length is undefined.
    size
        Bytes in the object (or in `Header.inflated`).
    """

    source: ByteSource
    header: Header
    format: PixelFormat
    n_frames: int
    start: int
    end: int
    size: int

    @property
    def location(self) -> str:
        """Name of the source."""
        return self.source.location

    @property
    def at_hand_to(self) -> int:
        """First byte of the object that did not come with the header."""
        known = self.header.head if self.header.inflated is None else self.header.inflated
        return min(len(known), self.end)

    def at_hand(self, offset: int, length: int) -> bytes | None:
        """Bytes that came with the header, if they did."""
        known = self.header.head if self.header.inflated is None else self.header.inflated
        return known[offset : offset + length] if offset + length <= len(known) else None

    async def read(self, offset: int, length: int) -> bytes:
        """Bytes of the object, from the header's request if they came with it."""
        known = self.at_hand(offset, length)
        return known if known is not None else await self.source.read(offset, length)

    def check_items(self, offset: NDArray[np.int64]) -> None:
        """See that items start at these offsets, as far as the bytes are at hand."""
        for start in offset[:: max(1, offset.size // 16)]:
            tag = self.at_hand(int(start), 4)
            if tag is not None and tag != ITEM_TAG:
                raise UnusableTableError(f"no item starts at byte {start}")
