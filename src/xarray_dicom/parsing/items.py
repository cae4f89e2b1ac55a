"""Find the items of a long sequence, and wanted elements in them.

Candidates are found by searching, then proven: items form a chain from the first byte of
the sequence on, each ending where the next one starts. A candidate inside a value is never
reached by that chain.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.elements import Leaves, Path, Trace
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
from xarray_dicom.parsing.lockstep import Lockstep, Positions, Walk
from xarray_dicom.parsing.walk import NOTHING, Leaf, Wanted, walk_item

#: Ways that items may begin before the remaining ones are walked one by one.
MOST_PATTERNS = 16

#: Bytes that tell how an item begins: its header, and the tag and VR of its first element.
PATTERN = 14

#: Items of one length in a row after which more are looked for at once.
STEADY = 8


class _Candidates:
    """Places where items of undefined length may start, and where each would end.

    Sorted by place, whichever pattern found them, so that a chain runs through items that
    begin differently.
    """

    def __init__(self) -> None:
        self.leaves: list[tuple[Path, Leaves]] = []
        self._starts = np.empty(0, np.int64)
        self._ends = np.empty(0, np.int64)
        self._id = np.empty(0, np.int64)
        self._number = np.empty(0, np.int64)
        # As lists, since looking up single numbers in arrays is slow.
        self._place: list[int] = []
        self._chain_last: list[int] = []
        self._chain_end: list[int] = []
        self._proven: list[tuple[int, int, int]] = []

    def add(self, starts: Positions, walk: Walk) -> None:
        """Add the places that one pattern found."""
        base = self.numbers().size
        self._number = np.append(self._number, np.full(starts.size, -1))
        for path, parts in walk.leaves.items():
            self.leaves += [(path, replace(part, item=part.item + base)) for part in parts]
        every_start = np.concatenate([self._starts, starts])
        order = np.argsort(every_start, kind="stable")
        order = order[np.append(True, np.diff(every_start[order]) > 0)]
        self._starts = every_start[order]
        self._ends = np.concatenate([self._ends, walk.ends])[order]
        self._id = np.append(self._id, base + np.arange(starts.size))[order]
        goes_on = np.append(self._ends[:-1] == self._starts[1:], False)
        broken = np.flatnonzero(~goes_on)
        last = broken[np.searchsorted(broken, np.arange(order.size))]
        # What could not be walked has no end and no place in a chain.
        last = np.where(self._ends[last] < 0, last - 1, last)
        self._place = self._starts.tolist()
        self._chain_last = last.tolist()
        self._chain_end = self._ends[last].tolist()

    def follow(self, position: int, count: int) -> tuple[int, int] | None:
        """Number the chain that starts at `position` from `count`; its items, and its end."""
        first = bisect_left(self._place, position)
        if first == len(self._place) or self._place[first] != position:
            return None
        last = self._chain_last[first]
        if last < first:
            return None
        self._proven.append((first, last + 1, count))
        return last + 1 - first, self._chain_end[first]

    def numbers(self) -> NDArray[np.int64]:
        """Which item of the sequence each candidate proved to be; -1 for none."""
        if self._proven:
            first, last, count = np.array(self._proven, np.int64).T
            items = last - first
            self._number[self._id[_counted(first, items)]] = _counted(count, items)
            self._proven = []
        return self._number


class _Tracer:
    def __init__(self, buffer: bytes, stop: int | None, encoding: Encoding, wanted: Wanted):
        self.buffer = buffer
        self.stop = stop
        self.limit = len(buffer) if stop is None else stop
        self.encoding = encoding
        self.wanted = wanted
        self.lockstep = Lockstep(buffer, encoding, wanted)
        self.trace = Trace(wanted=wanted.leaves)
        self.candidates = _Candidates()
        # How items begin that were searched for, and whether places were leapt over then.
        self.patterns: dict[bytes, bool] = {}
        # Items of known length, gathered to be walked together in the end.
        self.known_starts = array("q")
        self.known_ends = array("q")
        self.known_runs: list[tuple[int, int]] = []
        self.singles: list[tuple[int, Leaf]] = []

    def run(self, position: int) -> Trace:
        trace = self.trace
        trace.end = position
        try:
            while trace.end != self.stop:
                if trace.end + 8 > self.limit:
                    raise IncompleteError(trace.end + 8)
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
                if trace.end > self.limit:
                    raise IncompleteError(trace.end)
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
        header = struct.Struct("<LL" if self.encoding.little_endian else ">LL")
        item, _ = header.unpack_from(buffer, trace.end)
        edges = array("q")
        position, last = trace.end, self.limit - 8
        steady = before = 0
        while position <= last:
            tag, length = header.unpack_from(buffer, position)
            if tag != item or length == UNDEFINED_LENGTH:
                break
            edges.append(position)
            steady = steady + 1 if length == before else 0
            before = length
            position += 8 + length
            if steady == STEADY and position <= last:
                again = _repeats(buffer, position - 8 - length, 8 + length, 8, self.limit)
                edges.extend(range(position, position + (again - 1) * (8 + length), 8 + length))
                position += (again - 1) * (8 + length)
        edges.append(position)
        if position > self.limit:
            edges.pop()
        found = len(edges) - 1
        self.known_starts.extend(edges[:-1])
        self.known_ends.extend(edges[1:])
        self.known_runs.append((trace.count, found))
        trace.count += found
        trace.end = edges[-1]
        if position > self.limit:
            raise IncompleteError(position)

    def _chain(self, position: int) -> int:
        """Follow items of undefined length, the first one at `position`."""
        pattern = self.buffer[position : position + PATTERN]
        if pattern not in self.patterns and len(self.patterns) < MOST_PATTERNS:
            self.patterns[pattern] = self._search(pattern, position, leap=True)
        found = self.candidates.follow(position, self.trace.count)
        if found is None and self.patterns.get(pattern):
            self.patterns[pattern] = self._search(pattern, position, leap=False)
            found = self.candidates.follow(position, self.trace.count)
        if found is None:
            return self._walk_one(position)
        items, end = found
        self.trace.count += items
        return end

    def _search(self, pattern: bytes, position: int, leap: bool) -> bool:
        """Note every place of a pattern; whether some may have been leapt over."""
        starts = array("q")
        leapt = False
        find, steady, step = self.buffer.find, 0, 0
        while position >= 0:
            starts.append(position)
            following = find(pattern, position + 8, self.limit)
            steady = steady + 1 if following - position == step else 0
            step = following - position
            if leap and steady == STEADY and len(pattern) == PATTERN:
                leapt = True
                again = _repeats(self.buffer, position, step, PATTERN, self.limit)
                starts.extend(range(following, position + again * step, step))
                following = find(pattern, starts[-1] + 8, self.limit)
            position = following
        found = np.array(starts, np.int64)
        self.candidates.add(found, self.lockstep.walk(found + 8, None))
        return leapt

    def _walk_one(self, position: int) -> int:
        end, leaves = walk_item(self.buffer, position, self.encoding, self.wanted)
        self.singles += [(self.trace.count, leaf) for leaf in leaves]
        self.trace.count += 1
        self.trace.walked += 1
        return end

    def _finish_known(self) -> None:
        if not self.known_starts or not self.wanted.leaves:
            return
        starts, ends = np.array(self.known_starts) + 8, np.array(self.known_ends)
        number = _counted(*np.array(self.known_runs).T)
        walk = self.lockstep.walk(starts, ends)
        for item in np.flatnonzero(walk.ends != ends):
            _, leaves = walk_item(self.buffer, int(starts[item]) - 8, self.encoding, self.wanted)
            self.singles += [(int(number[item]), leaf) for leaf in leaves]
            self.trace.walked += 1
            number[item] = -1
        self._keep(walk.leaves, number)

    def _finish_chains(self) -> None:
        number = self.candidates.numbers()
        for path, part in self.candidates.leaves:
            self._keep({path: [part]}, number)

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
                kept = replace(part, item=number[part.item])
                proven = kept.item >= 0
                if not proven.all():
                    kept = kept.where(proven)
                self.trace.leaves.setdefault(path, []).append(kept)


def _counted(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers from each `first` on, `count` of them."""
    before = np.cumsum(count) - count
    numbers: NDArray[np.int64] = np.arange(count.sum()) + np.repeat(first - before, count)
    return numbers


def _repeats(buffer: bytes, position: int, stride: int, width: int, limit: int) -> int:
    """How often the `width` bytes at `position` stand there again, `stride` bytes apart."""
    places = max(1, (limit - position - width) // stride + 1)
    words = [
        np.ndarray((places,), "<u8", buffer, position + at, (stride,)) for at in {0, width - 8}
    ]
    count, size = 1, 64
    while count < places:
        part = slice(count, count + size)
        same = np.logical_and.reduce([word[part] == word[0] for word in words])
        if not same.all():
            return count + int(same.argmin())
        count += same.size
        size = min(4 * size, 2**14)
    return places


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
