"""The chain of items in encapsulated pixel data, and the frames that they make up."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.framing import DELIMITER_TAG, ITEM_HEADER, ITEM_TAG
from xarray_dicom.transfer_syntax import TransferSyntax

#: First bytes of codestreams that have an end marker: JPEG and JPEG-LS (neither can have
#: them inside), JPEG 2000.
_CLOSED_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")

#: End marker of these (EOI, EOC), which can't occur in entropy-coded bytes.
_END_MARKER = b"\xff\xd9"

#: First bytes of other codestreams: JP2 file, JPEG XL codestream and file.
_OPEN_STARTS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")

#: Bytes from the start of an item that tell its kind.
OPENING = ITEM_HEADER + max(map(len, _CLOSED_STARTS + _OPEN_STARTS))

#: Bytes before the header of an item that hold the end marker of the item before it and a
#: byte of padding.
TRAIL = len(_END_MARKER) + 1

_EMPTY, _FILLED, _OPENING, _OPENING_CLOSED = range(4)


@dataclass(slots=True)
class Chain:
    """The items of encapsulated pixel data in file order (PS3.5 A.4).

    Attributes
    ----------
    end
        First byte after the last item noted, where the next header is due.
    certain
        True while every item is exactly one frame: a codestream with its start and its end.
        Only the whole chain tells how many frames other items make up.
    starts
        First byte of each item's header; the Basic Offset Table comes first.
    marked
        For each item 0 if empty, 1 if filled, 2 if a codestream starts with it, 3 if one does
        that has an end marker.
    whole
        Frames whose place is certain: each is one of the first items behind the table, and
        the next item does not continue it.
    closed
        True if the sequence delimiter follows at `end`.
    broken
        True if anything else than an item follows there.
    """

    end: int
    certain: bool
    starts: array[int] = field(default_factory=lambda: array("q"))
    marked: array[int] = field(default_factory=lambda: array("b"))
    whole: int = 0
    closed: bool = False
    broken: bool = False

    @classmethod
    def at(cls, start: int, n_frames: int, transfer_syntax: str) -> Chain:
        """Return a chain without items, which starts at byte `start`."""
        # An only frame has all items, however they look.
        markers = TransferSyntax.of(transfer_syntax).has_start_markers
        return cls(start, certain=n_frames > 1 and markers)

    @property
    def n_items(self) -> int:
        """Items noted behind the Basic Offset Table."""
        return max(0, len(self.starts) - 1)

    def extend(self, block: bytes, offset: int, last: bool) -> None:
        """Follow the chain through a block of bytes, as far as headers are complete in it.

        Parameters
        ----------
        block, offset
            Bytes of the object, and where they lie in it. They should start `TRAIL` bytes
            before `end`.
        last
            True if the block reaches to the end of the pixel data.
        """
        starts, marked = self.starts, self.marked
        certain, whole = self.certain, self.whole
        position = self.end - offset
        reach = len(block) - (ITEM_HEADER if last else OPENING)
        while position <= reach:
            is_item = block.startswith(ITEM_TAG, position)
            if not is_item and not block.startswith(DELIMITER_TAG, position):
                # A padding byte that the length before it does not count.
                if starts and block.startswith((ITEM_TAG, DELIMITER_TAG), position + 1):
                    position += 1
                    continue
                self.broken = True
                break
            payload = position + ITEM_HEADER
            length = int.from_bytes(block[position + 4 : payload], "little")
            kind = _kind(block, payload) if length else _EMPTY
            if certain and len(starts) > 1:
                # The item before is complete if it ends with its marker and another one follows.
                certain = (
                    marked[-1] == _OPENING_CLOSED
                    and (kind >= _OPENING or not is_item)
                    and position >= TRAIL
                    and _END_MARKER in block[position - TRAIL : position]
                )
                whole += certain
            if not is_item:
                self.closed = True
                break
            starts.append(offset + position)
            marked.append(kind)
            position = payload + length
        self.certain, self.whole = certain, whole
        self.end = offset + position

    def edges(self, first: int, last: int) -> NDArray[np.int64]:
        """Return where the frames from `first` to `last` start, and where the last of them ends."""
        starts = self.starts[first + 1 : last + 3]
        if len(starts) == last - first + 1:
            starts.append(self.end)
        return np.array(starts, np.int64)

    def mean_length(self) -> float:
        """Return the mean length of the last items with their headers; 0 before the first."""
        n = min(self.n_items, 64)
        return (self.end - self.starts[-n]) / n if n else 0.0


def _kind(block: bytes, payload: int) -> int:
    if block.startswith(_CLOSED_STARTS, payload):
        return _OPENING_CLOSED
    return _OPENING if block.startswith(_OPEN_STARTS, payload) else _FILLED


def frame_edges(chain: Chain, n_frames: int, transfer_syntax: str) -> NDArray[np.int64]:
    """Return where the frames of a complete chain start, and last where the last one ends.

    Agrees with `Chain.whole` at every earlier point.

    Parameters
    ----------
    chain
        All items.
    n_frames
        Number of Frames.
    transfer_syntax
        UID of the transfer syntax.

    Raises
    ------
    CorruptDicomError
        If there are no items, or if they can't be assigned to frames.
    """
    starts = np.array(chain.starts, np.int64)[1:]
    marked = np.array(chain.marked, np.int8)[1:]
    if not starts.size:
        raise CorruptDicomError("the encapsulated pixel data holds no frame")
    first = _first_fragments(marked, n_frames, transfer_syntax)
    return np.append(starts[first], chain.end)


def _first_fragments(
    marked: NDArray[np.int8], n_frames: int, transfer_syntax: str
) -> NDArray[np.int64]:
    """Return the items that start a frame (PS3.5 A.4: a frame may be fragmented)."""
    filled = np.flatnonzero(marked)
    if n_frames == 1:
        return np.zeros(1, np.int64)
    if marked.size <= n_frames:
        return np.arange(marked.size)
    if filled.size == n_frames:
        return filled
    opening = np.flatnonzero(marked >= _OPENING)
    markers = TransferSyntax.of(transfer_syntax).has_start_markers
    if markers and opening.size == n_frames and opening[0] == 0:
        return opening
    raise CorruptDicomError(
        f"{filled.size} fragments hold {n_frames} frames, no offset table tells which "
        f"belong together, and {opening.size} of them start a codestream"
    )
