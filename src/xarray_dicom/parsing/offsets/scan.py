"""Frames found by reading the items one after another, where no table tells."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.notices import notice
from xarray_dicom.parsing.elements import Header
from xarray_dicom.parsing.offsets.ladder import pixel_value
from xarray_dicom.parsing.offsets.spans import DELIMITER_TAG, ITEM_HEADER, ITEM_TAG
from xarray_dicom.parsing.offsets.tables import ItemOffsets
from xarray_dicom.parsing.offsets.value import PixelValue
from xarray_dicom.pixels.format import PixelFormat
from xarray_dicom.storage.source import ByteSource

#: Bytes of one request, and requests in flight.
BLOCK = 4 * 2**20
IN_FLIGHT = 8

#: How a codestream starts: JPEG and JPEG-LS (neither can have this inside), JPEG 2000
#: codestream, JP2 file, JPEG XL codestream and file.
_MARKERS = (
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\xff\x0a",
    b"\0\0\0\x0cJXL \r\n\x87\n",
)
_LONGEST_MARKER = max(len(marker) for marker in _MARKERS)

#: Transfer syntaxes whose codestreams have no marker: RLE, and frames deflated one by one.
_WITHOUT_MARKER = frozenset({"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"})


@dataclass(slots=True)
class Chain:
    """The items of encapsulated pixel data in file order.

    Attributes
    ----------
    starts
        First byte of each item's header; the Basic Offset Table comes first.
    marked
        For each item 0 if empty, 2 if a codestream starts with it, else 1.
    end
        First byte after the last item.
    closed
        Whether the sequence delimiter follows there.
    """

    starts: array[int] = field(default_factory=lambda: array("q"))
    marked: array[int] = field(default_factory=lambda: array("b"))
    end: int = 0
    closed: bool = False
    broken: bool = False

    def extend(self, block: bytes, offset: int, last: bool) -> None:
        """Go on through `block`, which lies at `offset`, as far as headers are whole in it.

        `end` is then where the next header is due.
        """
        position = self.end - offset
        reach = len(block) - (0 if last else _LONGEST_MARKER)
        while position + ITEM_HEADER <= reach:
            tag = block[position : position + 4]
            if tag != ITEM_TAG:
                if tag == DELIMITER_TAG:
                    self.closed = True
                    return
                # A padding byte that the length before it does not count.
                if not self.starts or block[position + 1 : position + 5] not in (
                    ITEM_TAG,
                    DELIMITER_TAG,
                ):
                    self.broken = True
                    return
                position += 1
                self.end = offset + position
                continue
            length = int.from_bytes(block[position + 4 : position + ITEM_HEADER], "little")
            payload = position + ITEM_HEADER
            self.starts.append(offset + position)
            self.marked.append(0 if not length else 2 if block.startswith(_MARKERS, payload) else 1)
            position = payload + length
            self.end = offset + position


async def scan(
    source: ByteSource, header: Header, n_frames: int, pixel_format: PixelFormat
) -> ItemOffsets:
    """Locate frames by reading all of the encapsulated pixel data.

    Large blocks are read concurrently and dropped when the items in them have been noted.

    Parameters
    ----------
    source, header, n_frames, pixel_format
        As for `find_offsets`.

    Raises
    ------
    CorruptDicomError
        If there are no items, or if they can't be assigned to frames.

    Warns
    -----
    DicomWarning
        If the object is truncated or frames are missing; reading these raises.
    """
    value = pixel_value(source, header, n_frames, pixel_format)
    chain = await _follow(value)
    starts = np.array(chain.starts, np.int64)[1:]
    marked = np.array(chain.marked, np.int8)[1:]
    location = source.location
    if not starts.size:
        raise CorruptDicomError(f"{location}: the encapsulated pixel data holds no frame")
    if not chain.closed:
        what = "is damaged" if chain.broken else "ends"
        notice(
            f"{location}: the pixel data {what} at byte {min(chain.end, value.end)} before its "
            "delimiter; frames from there on can't be read"
        )
    first = starts[_first_fragments(marked, n_frames, pixel_format.transfer_syntax, location)]
    if first.size < n_frames:
        notice(
            f"{location}: only {first.size} of {n_frames} frames are stored; the others can't be "
            "read"
        )
    return ItemOffsets(location, np.append(first, chain.end), n_frames, value.size)


def _first_fragments(
    marked: NDArray[np.int8], n_frames: int, transfer_syntax: str, location: str
) -> NDArray[np.int64]:
    """Which items start a frame (PS3.5 A.4: a frame may be fragmented)."""
    filled = np.flatnonzero(marked)
    if n_frames == 1:
        return np.zeros(1, np.int64)
    if marked.size <= n_frames:
        return np.arange(marked.size)
    if filled.size == n_frames:
        return filled
    opening = np.flatnonzero(marked == 2)
    if transfer_syntax not in _WITHOUT_MARKER and opening.size == n_frames and opening[0] == 0:
        return opening
    raise CorruptDicomError(
        f"{location}: {filled.size} fragments hold {n_frames} frames, no offset table tells which "
        f"belong together, and {opening.size} of them start a codestream"
    )


async def _follow(value: PixelValue) -> Chain:
    """Read blocks ahead of the chain, a few at a time, and drop them behind it."""
    chain = Chain(end=value.start)
    flying: deque[tuple[int, asyncio.Task[bytes]]] = deque()
    issued = value.start
    kept, kept_at = b"", value.start
    try:
        while not (chain.closed or chain.broken) and chain.end < value.end:
            if chain.end >= issued:
                # The item reaches behind all that was asked for.
                await _cancel(flying)
                issued = chain.end
                kept, kept_at = b"", chain.end
            while len(flying) < IN_FLIGHT and issued < value.end:
                length = min(BLOCK, value.end - issued)
                flying.append((issued, asyncio.create_task(value.read(issued, length))))
                issued += length
            if not flying:
                break
            offset, task = flying.popleft()
            block = await task
            if chain.end >= offset + len(block):
                kept, kept_at = b"", offset + len(block)
                continue
            if kept:
                block, offset = kept + block, kept_at
            chain.extend(block, offset, last=offset + len(block) >= value.end)
            kept_at = min(max(chain.end, offset), offset + len(block))
            kept = block[kept_at - offset :]
    finally:
        await _cancel(flying)
    return chain


async def _cancel(flying: deque[tuple[int, asyncio.Task[bytes]]]) -> None:
    tasks = [task for _, task in flying]
    flying.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
