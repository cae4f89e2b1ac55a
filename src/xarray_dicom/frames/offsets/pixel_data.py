"""The pixel data element as the strategies that locate frames need it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.frames.framing import ITEM_TAG
from xarray_dicom.parsing.elements import Header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.storage.source import ByteSource


class UnusableTableError(Exception):
    """A table contradicts the object; the next strategy is tried."""


@dataclass(frozen=True, slots=True)
class PixelValue:
    """The value of the pixel data element.

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
    def fetched_to(self) -> int:
        """First byte of the object that did not come with the header."""
        return min(len(self._fetched), self.end)

    @property
    def _fetched(self) -> bytes:
        return self.header.head if self.header.inflated is None else self.header.inflated

    def fetched(self, offset: int, length: int) -> bytes | None:
        """Return bytes that came with the header, None if they didn't."""
        content = self._fetched
        return content[offset : offset + length] if offset + length <= len(content) else None

    async def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the object, without a request if they came with the header."""
        content = self.fetched(offset, length)
        return content if content is not None else await self.source.read(offset, length)

    def check_items(self, offset: NDArray[np.int64]) -> None:
        """Raise if a sample of these offsets, as far as fetched, are not those of items."""
        for start in offset[:: max(1, offset.size // 16)]:
            tag = self.fetched(int(start), 4)
            if tag is not None and tag != ITEM_TAG:
                raise UnusableTableError(f"no item starts at byte {start}")
