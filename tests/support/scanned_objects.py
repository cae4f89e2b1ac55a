"""Encapsulated pixel data without a table, and sources that keep count of what is asked."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

from pydicom.uid import JPEGBaseline8Bit

from support.encoded_objects import image, part10, wait
from xarray_dicom.frames.scan import Scan
from xarray_dicom.parsing.header import read_header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.runtime import enter_loop
from xarray_dicom.storage import BytesSource, RecordingSource
from xarray_dicom.storage.source import ByteSource

DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(payload: bytes) -> bytes:
    """An item, header and all."""
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(payload)) + payload


def jpeg(number: int, size: int) -> bytes:
    """Something of `size` bytes that starts and ends as a JPEG does, different by `number`."""
    return b"\xff\xd8\xff" + bytes([number % 251]) * (size - 5) + b"\xff\xd9"


def value_of(payloads: Sequence[bytes]) -> bytes:
    """The value of encapsulated pixel data with an empty offset table."""
    return item(b"") + b"".join(map(item, payloads)) + DELIMITER


def encapsulated(value: bytes, n_frames: int, syntax: str = JPEGBaseline8Bit) -> bytes:
    """An object whose pixel data has exactly these bytes as its value."""
    dataset = image(frames=n_frames)
    del dataset.PixelData
    return part10(dataset, syntax) + bytes.fromhex("e07f1000") + b"OB\0\0\xff\xff\xff\xff" + value


class Gated(RecordingSource):
    """Fails behind an offset if told so, and lets reads wait at a gate.

    Attributes
    ----------
    broken_from
        Reads that reach behind this offset fail; None for none.
    delay
        Seconds that each read takes.
    held
        Bytes asked for and not delivered yet, at most at a time.
    """

    def __init__(self, source: ByteSource) -> None:
        super().__init__(source)
        self.broken_from: int | None = None
        self.delay = 0.0
        self.in_flight = self.most_in_flight = 0

    @property
    def immediate(self) -> bool:
        """False: reads wait."""
        return False

    async def read(self, offset: int, length: int) -> bytes:
        """Wait, then fail or read."""
        await enter_loop()
        if length:
            self.requests.append((offset, length))
        self.in_flight += length
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
            if self.broken_from is not None and offset + length > self.broken_from:
                raise OSError(f"{self.location}: the line is cut")
            return await self.source.read(offset, length)
        finally:
            self.in_flight -= length

    @property
    def overlapping(self) -> int:
        """Bytes that were asked for more than once."""
        reach, twice = 0, 0
        for offset, length in sorted(self.requests):
            twice += max(0, min(reach, offset + length) - offset)
            reach = max(reach, offset + length)
        return twice


def scan_of(
    content: bytes, n_frames: int, syntax: str = JPEGBaseline8Bit, **options: Any
) -> tuple[Scan, Gated]:
    """A scan of the object, of which nothing but the header was fetched."""
    source = Gated(BytesSource(content))
    whole = wait(read_header(source))
    assert whole.pixel is not None
    header = wait(read_header(source, first=whole.pixel.offset))
    source.clear()
    layout = PixelFormat(syntax, 4, 5, 1, 16, 16, 0, "MONOCHROME2")
    return Scan(source, header, n_frames, layout, **options), source
