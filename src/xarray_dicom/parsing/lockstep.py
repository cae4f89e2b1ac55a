"""Walk many items of one sequence at once, one NumPy operation for all of them.

The items of a functional groups sequence are built alike, so one cursor per item moves
through the buffer, and each step reads tag, VR and length of all items together. Where
items differ the group splits; steps are taken in document order, so that those that wait
behind an optional element join again.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.elements import Path
from xarray_dicom.parsing.encoding import (
    ITEM,
    ITEM_DELIMITER,
    LONG_VRS,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    Encoding,
)
from xarray_dicom.parsing.walk import Wanted

Positions = NDArray[np.int64]

#: Steps after which the items still under way are left to be walked one by one.
MOST_STEPS = 4096

#: Sequences nested deeper than this are left to be walked one by one.
DEEPEST_LEVEL = 12

#: End of a sequence or item of undefined length.
UNDEFINED = -1


def _vr_code(vr: bytes) -> int:
    return int.from_bytes(vr, "little")


_IS_VR = np.zeros(65536, bool)
_IS_VR[[_vr_code(bytes((a, b))) for a in range(65, 91) for b in range(65, 91)]] = True
_IS_LONG_VR = np.zeros(65536, bool)
_IS_LONG_VR[[_vr_code(vr) for vr in LONG_VRS]] = True
_SQ, _UN = _vr_code(b"SQ"), _vr_code(b"UN")


@dataclass(frozen=True, slots=True)
class Leaves:
    """Where one wanted element lies in the items that have it: parallel arrays.

    `vr` is the VR's two letters as a little-endian number, 0 where it is implicit.
    """

    item: Positions
    offset: Positions
    length: Positions
    vr: NDArray[np.uint16]


@dataclass(slots=True)
class Walk:
    """What a walk in lockstep found.

    `ends` holds the first byte after each item, or -1 for an item that could not be walked.
    """

    ends: Positions
    leaves: dict[Path, list[Leaves]] = field(default_factory=dict)


class _Group(NamedTuple):
    """Items that stand at the same place of the structure; `ends` has one row per level."""

    position: Positions
    item: Positions
    ends: tuple[Positions, ...]

    def where(self, mask: NDArray[np.bool_]) -> _Group:
        return _Group(self.position[mask], self.item[mask], tuple(e[mask] for e in self.ends))


#: Alternating tags and item numbers, from the outermost item inwards. A key that ends with a
#: tag stands before an element, one that ends with a number before that item of a sequence.
_Key = tuple[int, ...]


class Lockstep:
    """Cursors over the items in one buffer."""

    def __init__(self, buffer: bytes, encoding: Encoding, wanted: Wanted) -> None:
        order = "<" if encoding.little_endian else ">"
        self._size = len(buffer)
        self._encoding = encoding
        self._wanted = wanted
        # Views with a stride of one byte read a number at any offset, without copies.
        self._u32 = np.ndarray((max(0, self._size - 3),), f"{order}u4", buffer, strides=(1,))
        self._u16 = np.ndarray((max(0, self._size - 1),), f"{order}u2", buffer, strides=(1,))
        self._vr = np.ndarray((max(0, self._size - 1),), "<u2", buffer, strides=(1,))
        self._queue: list[_Key] = []
        self._waiting: dict[_Key, list[_Group]] = {}
        self._walk = Walk(np.empty(0, np.int64))

    def walk(self, starts: Positions, ends: Positions) -> Walk:
        """Walk items whose first elements are at `starts`.

        Parameters
        ----------
        starts
            First byte after each item's header.
        ends
            First byte after each item, or -1 where its length is undefined.
        """
        self._walk = Walk(np.full(starts.size, -1, np.int64))
        self._queue, self._waiting = [], {}
        if starts.size and self._size >= 8:
            self._arrive_in_item((), _Group(starts, np.arange(starts.size), (ends,)))
        for _ in range(MOST_STEPS):
            if not self._queue:
                break
            key = heapq.heappop(self._queue)
            group = _merge(self._waiting.pop(key))
            if len(key) % 2:
                self._step_over_element(key, group)
            else:
                self._step_to_item(key, group)
        return self._walk

    def _wait(self, key: _Key, group: _Group) -> None:
        if key in self._waiting:
            self._waiting[key].append(group)
        else:
            self._waiting[key] = [group]
            heapq.heappush(self._queue, key)

    def _tags(self, position: Positions) -> NDArray[np.uint32]:
        raw = self._u32[position]
        if not self._encoding.little_endian:
            return raw.astype(np.uint32)
        return (raw << np.uint32(16)) | (raw >> np.uint32(16))

    def _split_off_ended(
        self, group: _Group, delimiter: int
    ) -> tuple[_Group | None, _Group | None, NDArray[np.uint32]]:
        """Part a group in those whose innermost level ends here, and those that go on.

        Items that overran are dropped: they keep -1 for an end.
        """
        end = group.ends[-1]
        explicit = end != UNDEFINED
        ended = explicit & (group.position == end)
        sane = ended | ((group.position + 8 <= self._size) & ~(explicit & (group.position > end)))
        if not sane.all():
            group, explicit, ended = group.where(sane), explicit[sane], ended[sane]
        tags = self._tags(np.minimum(group.position, self._size - 8))
        delimited = ~explicit & (tags == delimiter)
        if delimited.any():
            group = group._replace(position=group.position + 8 * delimited)
            ended = ended | delimited
        if not ended.any():
            return None, group if group.item.size else None, tags
        if ended.all():
            return group, None, tags
        return group.where(ended), group.where(~ended), tags[~ended]

    def _arrive_in_item(self, trail: _Key, group: _Group) -> None:
        ended, going_on, tags = self._split_off_ended(group, ITEM_DELIMITER)
        if going_on is not None:
            self._sort_by_tag(trail, going_on, tags)
        if ended is None:
            return
        if trail:
            self._wait((*trail[:-1], trail[-1] + 1), ended._replace(ends=ended.ends[:-1]))
        else:
            self._walk.ends[ended.item] = ended.position

    def _sort_by_tag(self, trail: _Key, group: _Group, tags: NDArray[np.uint32]) -> None:
        same = tags == tags[0]
        if same.all():
            self._wait((*trail, int(tags[0])), group)
            return
        for tag in np.unique(tags):
            self._wait((*trail, int(tag)), group.where(tags == tag))

    def _step_to_item(self, key: _Key, group: _Group) -> None:
        """Stand before item ``key[-1]`` of a sequence, or at the sequence's end."""
        if key[-1]:
            # Only first items are wanted: the rest of a sequence of known length is hopped over.
            end = group.ends[-1]
            group = group._replace(position=np.where(end != UNDEFINED, end, group.position))
        ended, going_on, tags = self._split_off_ended(group, SEQUENCE_DELIMITER)
        if ended is not None:
            self._arrive_in_item(key[:-2], ended._replace(ends=ended.ends[:-1]))
        if going_on is None:
            return
        is_item = tags == ITEM
        if not is_item.all():
            going_on = going_on.where(is_item)
        position = going_on.position + 8
        length = self._u32[going_on.position + 4].astype(np.int64)
        end = np.where(length == UNDEFINED_LENGTH, UNDEFINED, position + length)
        if _path(key) not in self._wanted.sequences:
            known = end != UNDEFINED
            if known.any():
                hopped = going_on._replace(position=end).where(known)
                self._wait((*key[:-1], key[-1] + 1), hopped)
                position, end, going_on = position[~known], end[~known], going_on.where(~known)
        if going_on.item.size:
            self._arrive_in_item(key, _Group(position, going_on.item, (*going_on.ends, end)))

    def _step_over_element(self, key: _Key, group: _Group) -> None:
        position, length, vr = self._header(group.position)
        undefined = length == UNDEFINED_LENGTH
        path = _path(key)
        if path in self._wanted.leaves:
            self._note(path, group.item, position, length, vr, ~undefined & (vr != _SQ))
        descend = undefined
        if path in self._wanted.sequences:
            descend = undefined | (vr == _SQ) | (vr == _UN) | (vr == 0)
        if descend.any() and len(key) // 2 < DEEPEST_LEVEL:
            end = np.where(undefined, UNDEFINED, position + length)
            below = _Group(position, group.item, (*group.ends, end))
            self._wait((*key, 0), below if descend.all() else below.where(descend))
        if not descend.all():
            beyond = group._replace(position=position + length)
            self._arrive_in_item(key[:-1], beyond.where(~descend) if descend.any() else beyond)

    def _header(self, position: Positions) -> tuple[Positions, Positions, NDArray[np.uint16]]:
        """Where the values start, how long they are, and their VRs."""
        if self._encoding.implicit_vr:
            vr = np.zeros(position.size, np.uint16)
            return position + 8, self._u32[position + 4].astype(np.int64), vr
        vr = self._vr[position + 4]
        explicit = _IS_VR[vr]
        is_long = _IS_LONG_VR[vr]
        length = self._u16[position + 6].astype(np.int64)
        if is_long.any():
            # A header cut by the end of the buffer overruns, whatever is read here.
            at = np.minimum(position + 8, self._size - 4)
            length = np.where(is_long, self._u32[at], length)
        if not explicit.all():
            length = np.where(explicit, length, self._u32[position + 4])
            vr = np.where(explicit, vr, 0)
        return position + 8 + 4 * is_long, length, vr

    def _note(
        self,
        path: Path,
        item: Positions,
        offset: Positions,
        length: Positions,
        vr: NDArray[np.uint16],
        has_value: NDArray[np.bool_],
    ) -> None:
        found = Leaves(item[has_value], offset[has_value], length[has_value], vr[has_value])
        self._walk.leaves.setdefault(path, []).append(found)


def _path(key: _Key) -> Path:
    """The tags of a key if it stays in first items, else a path that nobody wants."""
    return () if any(key[1::2]) else key[::2]


def _merge(groups: list[_Group]) -> _Group:
    if len(groups) == 1:
        return groups[0]
    return _Group(
        np.concatenate([group.position for group in groups]),
        np.concatenate([group.item for group in groups]),
        tuple(np.concatenate(level) for level in zip(*(g.ends for g in groups), strict=True)),
    )
