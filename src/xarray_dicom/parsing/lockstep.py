"""Walk of many items of one sequence at once, one NumPy operation for all of them.

The items of a functional groups sequence are built alike, so one cursor per item moves
through the buffer, and each step reads tag, VR and length of all items together. Where
items differ, the group splits. Steps are taken in document order, so that groups merge again
behind an element that only some of the items have.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.encoding import (
    ITEM,
    ITEM_DELIMITER,
    LONG_VRS,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    Encoding,
    TagPath,
)
from xarray_dicom.parsing.traced_items import ValueRanges
from xarray_dicom.parsing.walk import TagSelection

Positions = NDArray[np.int64]
Words = NDArray[np.uint64]

#: Steps after which the items still under way are walked one by one.
MOST_STEPS = 4096

#: Items with sequences nested deeper than this are walked one by one.
DEEPEST_LEVEL = 12

#: An item header ranges inside a value may lead through all bytes that follow, as if they were
#: one long sequence: beyond so many items of a sequence, a minority may take so many steps.
LONG_SEQUENCE = 16
MOST_STRAY_STEPS = 256

#: End of a sequence or item of undefined length.
UNDEFINED = -1

#: Items walked at a time: their bytes, and the arrays over them, fit into the CPU cache.
ITEMS_AT_ONCE = 2**14


def _vr_code(vr: bytes) -> int:
    return int.from_bytes(vr, "little")


_IS_VR = np.zeros(65536, bool)
_IS_VR[[_vr_code(bytes((a, b))) for a in range(65, 91) for b in range(65, 91)]] = True
_IS_LONG_VR = np.zeros(65536, bool)
_IS_LONG_VR[[_vr_code(vr) for vr in LONG_VRS]] = True
_SQ, _UN = _vr_code(b"SQ"), _vr_code(b"UN")


@dataclass(slots=True)
class WalkedItems:
    """Ends and values of items that were walked in lockstep.

    Attributes
    ----------
    ends
        First byte after each item, or -1 for an item that could not be walked.
    values
        Byte ranges of the selected elements.
    """

    ends: Positions
    values: dict[TagPath, list[ValueRanges]] = field(default_factory=dict)


class _Group(NamedTuple):
    """Items whose cursors are at the same place of the structure.

    Attributes
    ----------
    position, item
        Byte of the cursor of each item, and its number.
    ends
        First byte after each open item and sequence, outermost first; None for a level whose
        length is undefined in all of them.
    word
        The eight bytes of the header at `position` as one number, once they were read.
    """

    position: Positions
    item: Positions
    ends: tuple[Positions | None, ...]
    word: Words | None = None

    def where(self, mask: NDArray[np.bool_]) -> _Group:
        ends = tuple(None if end is None else end[mask] for end in self.ends)
        word = None if self.word is None else self.word[mask]
        return _Group(self.position[mask], self.item[mask], ends, word)

    def down(self, position: Positions, length: Positions) -> _Group:
        """Enter a sequence or item at `position`, of a `length` that may be undefined."""
        undefined = length == UNDEFINED_LENGTH
        end = None
        if not undefined.all():
            end = position + length
            end = np.where(undefined, UNDEFINED, end) if undefined.any() else end
        return _Group(position, self.item, (*self.ends, end))

    def up(self) -> _Group:
        """Leave the innermost sequence or item."""
        return _Group(self.position, self.item, self.ends[:-1])


#: Alternating tags and item numbers, from the outermost item inwards. A key that ends with a
#: tag stands before an element, one that ends with a number before that item of a sequence.
_Key = tuple[int, ...]


class Lockstep:
    """Cursors over the items in one buffer.

    Parameters
    ----------
    buffer
        Bytes that hold the items.
    encoding
        Of the data set.
    selected
        Elements to locate.
    """

    def __init__(self, buffer: bytes, encoding: Encoding, selected: TagSelection) -> None:
        order = "<" if encoding.little_endian else ">"
        self._size = len(buffer)
        self._encoding = encoding
        self._selected = selected
        # Views with a stride of one byte read a number at any offset, without copies.
        self._u64 = np.ndarray((max(0, self._size - 7),), f"{order}u8", buffer, strides=(1,))
        self._u32 = np.ndarray((max(0, self._size - 3),), f"{order}u4", buffer, strides=(1,))
        self._queue: list[_Key] = []
        self._waiting: dict[_Key, list[_Group]] = {}
        self._walk = WalkedItems(np.empty(0, np.int64))

    def walk(self, starts: Positions, ends: Positions | None) -> WalkedItems:
        """Walk items whose first elements are at `starts`.

        Parameters
        ----------
        starts
            First byte after each item's header.
        ends
            First byte after each item, or None where lengths are undefined.

        Returns
        -------
        WalkedItems
            As many ends as `starts`; `item` of the values counts in `starts`.
        """
        self._walk = WalkedItems(np.full(starts.size, -1, np.int64))
        if self._size >= 8:
            for first in range(0, starts.size, ITEMS_AT_ONCE):
                part = slice(first, first + ITEMS_AT_ONCE)
                item = np.arange(first, first + starts[part].size)
                self._walk_together(starts[part], item, None if ends is None else ends[part])
        return self._walk

    def _walk_together(self, starts: Positions, item: Positions, ends: Positions | None) -> None:
        self._queue, self._waiting = [], {}
        self._arrive_in_item((), _Group(starts, item, (ends,)))
        strays = 0
        for _ in range(MOST_STEPS):
            if not self._queue:
                break
            key = heapq.heappop(self._queue)
            group = _merge(self._waiting.pop(key))
            if max(key[1::2], default=0) > LONG_SEQUENCE and group.item.size < item.size // 2:
                strays += 1
                if strays > MOST_STRAY_STEPS:
                    continue
            if len(key) % 2:
                self._step_over_element(key, group)
            else:
                self._step_to_item(key, group)

    def _wait(self, key: _Key, group: _Group) -> None:
        if key in self._waiting:
            self._waiting[key].append(group)
        else:
            self._waiting[key] = [group]
            heapq.heappush(self._queue, key)

    def _words(self, position: Positions) -> Words:
        """Return the eight bytes at each position."""
        return self._u64[position].astype(np.uint64, copy=False)

    def _tags(self, word: Words) -> NDArray[np.uint32]:
        if not self._encoding.little_endian:
            return (word >> np.uint64(32)).astype(np.uint32)
        raw = word.astype(np.uint32)
        return (raw << np.uint32(16)) | (raw >> np.uint32(16))

    def _long_lengths(self, word: Words) -> Positions:
        """Return the second four bytes of each word: the length of an item, or of implicit VR."""
        if self._encoding.little_endian:
            word = word >> np.uint64(32)
        return word.astype(np.uint32).astype(np.int64)

    def _split(
        self, group: _Group, delimiter: int
    ) -> tuple[_Group | None, _Group | None, NDArray[np.uint32]]:
        """Split a group into items whose innermost level ends here, and items that go on.

        Items that overran are dropped: their end stays -1.

        Returns
        -------
        ended, going_on, tags
            The two groups, and the tags of the items that go on, or a single tag that all of
            them have.
        """
        position, end = group.position, group.ends[-1]
        last = self._size - 8
        ended = np.zeros(1, bool)
        lost = position > last
        if end is not None:
            ended = position == end
            lost = (lost & ~ended) | ((position > end) & (end != UNDEFINED))
        if lost.any():
            group = group.where(~lost)
            position, end = group.position, group.ends[-1]
            ended = ended if end is None else ended[~lost]
        if not position.size:
            return None, None, np.zeros(0, np.uint32)
        word = self._words(position if end is None else np.minimum(position, last))
        tags = self._tags(word[:1] if _alike(word) else word)
        delimited = tags == delimiter
        if delimited.any():
            if end is not None:
                delimited = delimited & (end == UNDEFINED)
            group = group._replace(position=position + 8 * delimited)
            ended = ended | delimited
        group = group._replace(word=word)
        if not ended.any():
            return None, group, tags
        if ended.all():
            return group, None, tags
        return group.where(ended), group.where(~ended), tags[~ended] if tags.size > 1 else tags

    def _arrive_in_item(self, trail: _Key, group: _Group) -> None:
        ended, going_on, tags = self._split(group, ITEM_DELIMITER)
        if going_on is not None:
            self._sort_by_tag(trail, going_on, tags)
        if ended is None:
            return
        if trail:
            self._wait((*trail[:-1], trail[-1] + 1), ended.up())
        else:
            self._walk.ends[ended.item] = ended.position

    def _sort_by_tag(self, trail: _Key, group: _Group, tags: NDArray[np.uint32]) -> None:
        if _alike(tags):
            self._wait((*trail, int(tags[0])), group)
            return
        for tag in np.unique(tags):
            self._wait((*trail, int(tag)), group.where(tags == tag))

    def _step_to_item(self, key: _Key, group: _Group) -> None:
        """Step to item ``key[-1]`` of a sequence, or to the end of the sequence."""
        end = group.ends[-1]
        if key[-1] and end is not None:
            # Selected elements are in first items: the rest of an explicit length is skipped.
            group = group._replace(position=np.where(end != UNDEFINED, end, group.position))
        ended, going_on, tags = self._split(group, SEQUENCE_DELIMITER)
        if ended is not None:
            self._arrive_in_item(key[:-2], ended.up())
        is_item = tags == ITEM
        if going_on is None or not is_item.any():
            return
        if not is_item.all():
            going_on = going_on.where(is_item)
        assert going_on.word is not None
        below = going_on.down(going_on.position + 8, self._long_lengths(going_on.word))
        end = below.ends[-1]
        if end is not None and _path(key) not in self._selected.sequences:
            explicit = end != UNDEFINED
            self._wait((*key[:-1], key[-1] + 1), below._replace(position=end).where(explicit).up())
            if explicit.all():
                return
            below = below.where(~explicit)
        self._arrive_in_item(key, below)

    def _step_over_element(self, key: _Key, group: _Group) -> None:
        vr, value, length = self._headers(group)
        position = group.position + value
        undefined = length == UNDEFINED_LENGTH
        path = _path(key)
        if path in self._selected.elements:
            self._add_values(path, group.item, position, length, vr, ~undefined & (vr != _SQ))
        descend = undefined
        if path in self._selected.sequences:
            descend = undefined | (vr == _SQ) | (vr == _UN) | (vr == 0)
        if descend.any() and len(key) // 2 < DEEPEST_LEVEL:
            below = group.down(position, length)
            self._wait((*key, 0), below if descend.all() else below.where(descend))
        if not descend.all():
            beyond = group._replace(position=position + length)
            self._arrive_in_item(key[:-1], beyond.where(~descend) if descend.any() else beyond)

    def _headers(self, group: _Group) -> tuple[NDArray[np.uint16], Positions, Positions]:
        """Return VRs, offsets of values in their elements, and lengths; size 1 where all agree."""
        assert group.word is not None
        word = group.word[:1] if _alike(group.word) else group.word
        eight = np.full(1, 8)
        if self._encoding.implicit_vr:
            return np.zeros(1, np.uint16), eight, self._long_lengths(word)
        if self._encoding.little_endian:
            vr, short = (word >> np.uint64(32)).astype(np.uint16), word >> np.uint64(48)
        else:
            vr, short = (
                (word >> np.uint64(16)).astype(np.uint16).byteswap(),
                word & np.uint64(65535),
            )
        explicit, is_long = _IS_VR[vr], _IS_LONG_VR[vr]
        length = short.astype(np.int64)
        if is_long.any():
            # A header that the end of the buffer truncates overruns, whatever is read here.
            at = np.minimum(group.position + 8, self._size - 4)
            length = np.where(is_long, self._u32[at], length)
        if not explicit.all():
            length = np.where(explicit, length, self._long_lengths(word))
            vr = np.where(explicit, vr, 0).astype(np.uint16)
        return vr, eight + 4 * is_long, length

    def _add_values(
        self,
        path: TagPath,
        item: Positions,
        offset: Positions,
        length: Positions,
        vr: NDArray[np.uint16],
        has_value: NDArray[np.bool_],
    ) -> None:
        ranges = ValueRanges(
            item, offset, np.broadcast_to(length, item.shape), np.broadcast_to(vr, item.shape)
        )
        if not has_value.all():
            ranges = ranges.where(np.broadcast_to(has_value, item.shape))
        self._walk.values.setdefault(path, []).append(ranges)


def _alike(numbers: NDArray[np.unsignedinteger[Any]]) -> bool:
    return bool((numbers == numbers[0]).all())


def _path(key: _Key) -> TagPath:
    """Return the tags of a key if it stays in first items, else a path that is never selected."""
    return () if any(key[1::2]) else key[::2]


def _merge(groups: list[_Group]) -> _Group:
    if len(groups) == 1:
        return groups[0]
    words = [group.word for group in groups if group.word is not None]
    return _Group(
        np.concatenate([group.position for group in groups]),
        np.concatenate([group.item for group in groups]),
        tuple(_merge_ends(groups, level) for level in range(len(groups[0].ends))),
        np.concatenate(words) if words else None,
    )


def _merge_ends(groups: list[_Group], level: int) -> Positions | None:
    if all(group.ends[level] is None for group in groups):
        return None
    every = ((group.ends[level], group.item.size) for group in groups)
    return np.concatenate([np.full(n, UNDEFINED) if end is None else end for end, n in every])
