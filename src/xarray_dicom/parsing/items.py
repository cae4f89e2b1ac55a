"""Find the items of a long sequence, and wanted elements in them.

Candidates are found by searching, then proven: items form a chain from the first byte of
the sequence on, each ending where the next one starts. A candidate inside a value is never
reached by that chain.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.elements import Path
from xarray_dicom.parsing.encoding import (
    ITEM,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    Encoding,
    IncompleteError,
    MalformedError,
    item_header,
    tag_name,
)
from xarray_dicom.parsing.lockstep import Leaves, Lockstep, Positions, Walk
from xarray_dicom.parsing.walk import NOTHING, Leaf, Wanted, walk_item

#: Ways that items may begin before the remaining ones are walked one by one.
MOST_PATTERNS = 16


@dataclass(slots=True)
class Trace:
    """The items of one sequence, as far as the buffer shows them.

    Attributes
    ----------
    count
        Complete items.
    end
        First byte after the sequence if `closed`, else the start of the first item that
        is not there in full.
    closed
        Whether the end of the sequence was reached.
    leaves
        Wanted elements, `item` counting from 0 in file order.
    walked
        Items that were walked one by one.
    needed
        If not `closed`: how many bytes the buffer must have to show more.
    """

    count: int = 0
    end: int = 0
    closed: bool = False
    leaves: dict[Path, list[Leaves]] = field(default_factory=dict)
    walked: int = 0
    needed: int = 0


class _Candidates:
    """Places where items of undefined length may start, and where each would end.

    Sorted by place, whichever pattern found them, so that a chain runs through items that
    begin differently. `number` tells which item of the sequence each one proved to be.
    """

    def __init__(self) -> None:
        self.starts = np.empty(0, np.int64)
        self.ends = np.empty(0, np.int64)
        self.leaves: list[tuple[Path, Leaves]] = []
        self.number = np.empty(0, np.int64)
        self._id = np.empty(0, np.int64)
        self._broken = np.empty(0, np.int64)

    def add(self, starts: Positions, walk: Walk) -> None:
        """Add the places that one pattern found."""
        base = self.number.size
        self.number = np.append(self.number, np.full(starts.size, -1))
        for path, parts in walk.leaves.items():
            self.leaves += [(path, replace(part, item=part.item + base)) for part in parts]
        every_start = np.concatenate([self.starts, starts])
        order = np.argsort(every_start, kind="stable")
        self.starts = every_start[order]
        self.ends = np.concatenate([self.ends, walk.ends])[order]
        self._id = np.append(self._id, base + np.arange(starts.size))[order]
        goes_on = np.append(self.ends[:-1] == self.starts[1:], False)
        self._broken = np.flatnonzero(~goes_on)

    def follow(self, position: int, count: int) -> tuple[int, int] | None:
        """Number the chain that starts at `position` from `count`; its items, and its end."""
        first = int(np.searchsorted(self.starts, position))
        if first == self.starts.size or self.starts[first] != position:
            return None
        last = int(self._broken[np.searchsorted(self._broken, first)]) + 1
        if self.ends[last - 1] < 0:
            last -= 1
        if last == first:
            return None
        self.number[self._id[first:last]] = np.arange(count, count + last - first)
        return last - first, int(self.ends[last - 1])


class _Tracer:
    def __init__(self, buffer: bytes, stop: int | None, encoding: Encoding, wanted: Wanted):
        self.buffer = buffer
        self.stop = stop
        self.encoding = encoding
        self.wanted = wanted
        self.lockstep = Lockstep(buffer, encoding, wanted)
        self.trace = Trace()
        self.candidates = _Candidates()
        self.patterns: set[bytes] = set()
        # Items of known length, gathered to be walked together in the end.
        self.known_number = array("q")
        self.known_start = array("q")
        self.known_end = array("q")
        self.singles: list[tuple[int, Leaf]] = []

    def run(self, position: int) -> Trace:
        trace = self.trace
        trace.end = position
        try:
            while trace.end != self.stop:
                tag, length = item_header(self.buffer, trace.end, self.encoding)
                if tag == SEQUENCE_DELIMITER and self.stop is None:
                    trace.end += 8
                    break
                if tag != ITEM:
                    raise MalformedError(
                        f"{tag_name(tag)} at byte {trace.end} where an item should start"
                    )
                if length == UNDEFINED_LENGTH:
                    trace.end = self._chain(trace.end)
                else:
                    self._hop()
            trace.closed = True
        except IncompleteError as missing:
            if self.stop is not None:
                raise MalformedError(f"an item overruns the sequence at byte {self.stop}") from None
            trace.needed = missing.needed
        self._finish_known()
        self._finish_chains()
        self._finish_singles()
        return trace

    def _hop(self) -> None:
        """Hop over items of known length as long as they follow one another."""
        buffer, trace = self.buffer, self.trace
        unpack = self.encoding.tag.unpack_from
        size = len(buffer)
        position, first = trace.end, len(self.known_start)
        needed = 0
        while position + 8 <= size and position != self.stop:
            group, number, length = unpack(buffer, position)
            if number != ITEM & 0xFFFF or group != ITEM >> 16 or length == UNDEFINED_LENGTH:
                break
            end = position + 8 + length
            if end > size:
                needed = end
                break
            self.known_start.append(position + 8)
            self.known_end.append(end)
            position = end
        found = len(self.known_start) - first
        self.known_number.extend(range(trace.count, trace.count + found))
        trace.count += found
        trace.end = position
        if needed:
            raise IncompleteError(needed)

    def _chain(self, position: int) -> int:
        """Follow items of undefined length, the first one at `position`."""
        pattern = self.buffer[position : position + 14]
        if pattern not in self.patterns and len(self.patterns) < MOST_PATTERNS:
            self.patterns.add(pattern)
            self._search(pattern, position)
        found = self.candidates.follow(position, self.trace.count)
        if found is None:
            return self._walk_one(position)
        items, end = found
        self.trace.count += items
        return end

    def _search(self, pattern: bytes, position: int) -> None:
        starts = array("q")
        while position >= 0:
            starts.append(position)
            position = self.buffer.find(pattern, position + 8)
        found = np.array(starts, np.int64)
        walk = self.lockstep.walk(found + 8, None)
        self.candidates.add(found, walk)

    def _walk_one(self, position: int) -> int:
        end, leaves = walk_item(self.buffer, position, self.encoding, self.wanted)
        self.singles += [(self.trace.count, leaf) for leaf in leaves]
        self.trace.count += 1
        self.trace.walked += 1
        return end

    def _finish_known(self) -> None:
        if not self.known_start or not self.wanted.leaves:
            return
        ends = np.array(self.known_end, np.int64)
        walk = self.lockstep.walk(np.array(self.known_start, np.int64), ends)
        number = np.array(self.known_number, np.int64)
        for item in np.flatnonzero(walk.ends != ends):
            start = self.known_start[item] - 8
            _, leaves = walk_item(self.buffer, start, self.encoding, self.wanted)
            self.singles += [(self.known_number[item], leaf) for leaf in leaves]
            self.trace.walked += 1
            number[item] = -1
        self._keep(walk.leaves, number)

    def _finish_chains(self) -> None:
        for path, part in self.candidates.leaves:
            self._keep({path: [part]}, self.candidates.number)

    def _finish_singles(self) -> None:
        for path in {leaf.path for _, leaf in self.singles}:
            found = [(number, leaf) for number, leaf in self.singles if leaf.path == path]
            codes = [int.from_bytes(leaf.vr, "little") for _, leaf in found]
            self.trace.leaves.setdefault(path, []).append(
                Leaves(
                    np.array([number for number, _ in found], np.int64),
                    np.array([leaf.offset for _, leaf in found], np.int64),
                    np.array([leaf.length for _, leaf in found], np.int64),
                    np.array(codes, np.uint16),
                )
            )

    def _keep(self, leaves: dict[Path, list[Leaves]], number: NDArray[np.int64]) -> None:
        """Keep what was found in proven items, numbered by their place in the sequence."""
        for path, parts in leaves.items():
            for part in parts:
                item = number[part.item]
                proven = item >= 0
                if not proven.all():
                    part = Leaves(
                        part.item[proven], part.offset[proven], part.length[proven], part.vr[proven]
                    )
                    item = item[proven]
                kept = Leaves(item, part.offset, part.length, part.vr)
                self.trace.leaves.setdefault(path, []).append(kept)


def trace_items(
    buffer: bytes,
    position: int,
    stop: int | None,
    encoding: Encoding,
    wanted: Wanted = NOTHING,
) -> Trace:
    """Find the items of the sequence whose value starts at `position`.

    Parameters
    ----------
    stop
        First byte after the value, or None if the length is undefined: then the sequence
        ends with its delimiter, or with the buffer, as `Trace.closed` tells.
    wanted
        Elements to locate. Without any, items of known length are not looked into.

    Raises
    ------
    MalformedError
        If an item does not start where the one before ends, or is damaged inside.
    """
    return _Tracer(buffer, stop, encoding, wanted).run(position)
