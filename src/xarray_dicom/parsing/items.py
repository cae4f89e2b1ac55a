"""Find the items of a long sequence, and wanted elements in them.

Candidates are found by searching, then proven: items form a chain from the first byte of
the sequence on, each ending where the next one starts. A candidate inside a value is never
reached by that chain.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

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
from xarray_dicom.parsing.lockstep import UNDEFINED, Leaves, Lockstep, Positions
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


@dataclass(slots=True)
class _Candidates:
    """Places where items of undefined length may start, and where each would end."""

    starts: Positions
    ends: Positions
    leaves: dict[Path, list[Leaves]]
    number: Positions

    def run(self, position: int) -> tuple[int, int] | None:
        """Candidates ``[first, last)`` that form a chain from `position` on."""
        first = int(np.searchsorted(self.starts, position))
        if first == self.starts.size or self.starts[first] != position:
            return None
        broken = np.flatnonzero(self.ends[first:-1] != self.starts[first + 1 :])
        last = first + int(broken[0]) + 1 if broken.size else self.starts.size
        if self.ends[last - 1] < 0:
            last -= 1
        return (first, last) if last > first else None


class _Tracer:
    def __init__(self, buffer: bytes, stop: int | None, encoding: Encoding, wanted: Wanted):
        self.buffer = buffer
        self.stop = stop
        self.encoding = encoding
        self.wanted = wanted
        self.lockstep = Lockstep(buffer, encoding, wanted)
        self.trace = Trace()
        self.candidates: dict[bytes, _Candidates] = {}
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
        """Follow items of undefined length that begin alike; the first one is at `position`."""
        pattern = self.buffer[position : position + 14]
        if pattern not in self.candidates and len(self.candidates) < MOST_PATTERNS:
            self.candidates[pattern] = self._search(pattern, position)
        known = self.candidates.get(pattern)
        run = known.run(position) if known else None
        if known is None or run is None:
            return self._walk_one(position)
        first, last = run
        known.number[first:last] = np.arange(self.trace.count, self.trace.count + last - first)
        self.trace.count += last - first
        return int(known.ends[last - 1])

    def _search(self, pattern: bytes, position: int) -> _Candidates:
        starts = []
        while position >= 0:
            starts.append(position)
            position = self.buffer.find(pattern, position + 8)
        found = np.array(starts, np.int64)
        walk = self.lockstep.walk(found + 8, np.full(found.size, UNDEFINED, np.int64))
        return _Candidates(found, walk.ends, walk.leaves, np.full(found.size, -1, np.int64))

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
        for candidates in self.candidates.values():
            self._keep(candidates.leaves, candidates.number)

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
