"""Items of a long sequence, and the values of selected elements in them.

Candidates are found by a search for the bytes of an item header, then confirmed: items form
a chain from the first byte of the sequence on, each ending where the next one starts. A
candidate inside a value is never reached by that chain.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.encoding import (
    ITEM,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    Encoding,
    IncompleteError,
    MalformedError,
    TagPath,
    item_header,
    tag_name,
)
from xarray_dicom.parsing.lockstep import Lockstep, Positions, WalkedItems
from xarray_dicom.parsing.traced_items import Trace, ValueRanges
from xarray_dicom.parsing.walk import NO_ELEMENTS, TagSelection, ValueRange, walk_item

#: Different first bytes of items that are searched for; further items are walked one by one.
MOST_PATTERNS = 16

#: Bytes searched for: header of an item, and tag and VR of its first element.
PATTERN = 14

#: Items of one length in a row after which their repetition is tested at once.
STEADY = 8


class _Candidates:
    """Positions where items of undefined length may start, and the end of each.

    Sorted by position, whichever pattern found them, so that a chain runs through items that
    begin differently.
    """

    def __init__(self) -> None:
        self.values: list[tuple[TagPath, ValueRanges]] = []
        self._starts = np.empty(0, np.int64)
        self._ends = np.empty(0, np.int64)
        self._id = np.empty(0, np.int64)
        self._number = np.empty(0, np.int64)
        # Lists, since single numbers are looked up, which is slow in arrays.
        self._position: list[int] = []
        self._chain_last: list[int] = []
        self._chain_end: list[int] = []
        self._confirmed: list[tuple[int, int, int]] = []

    def add(self, starts: Positions, walk: WalkedItems) -> None:
        """Add the positions that one pattern was found at."""
        base = self.numbers().size
        self._number = np.append(self._number, np.full(starts.size, -1))
        for path, parts in walk.values.items():
            self.values += [(path, replace(part, item=part.item + base)) for part in parts]
        every_start = np.concatenate([self._starts, starts])
        order = np.argsort(every_start, kind="stable")
        order = order[np.append(True, np.diff(every_start[order]) > 0)]
        self._starts = every_start[order]
        self._ends = np.concatenate([self._ends, walk.ends])[order]
        self._id = np.append(self._id, base + np.arange(starts.size))[order]
        goes_on = np.append(self._ends[:-1] == self._starts[1:], False)
        broken = np.flatnonzero(~goes_on)
        last = broken[np.searchsorted(broken, np.arange(order.size))]
        # An item that could not be walked has no end, so it is in no chain.
        last = np.where(self._ends[last] < 0, last - 1, last)
        self._position = self._starts.tolist()
        self._chain_last = last.tolist()
        self._chain_end = self._ends[last].tolist()

    def follow(self, position: int, count: int) -> tuple[int, int] | None:
        """Give the items of the chain at `position` their numbers, from `count` on.

        Returns
        -------
        tuple or None
            Number of items, and end of the chain; None if no chain starts there.
        """
        first = bisect_left(self._position, position)
        if first == len(self._position) or self._position[first] != position:
            return None
        last = self._chain_last[first]
        if last < first:
            return None
        self._confirmed.append((first, last + 1, count))
        return last + 1 - first, self._chain_end[first]

    def numbers(self) -> NDArray[np.int64]:
        """Return the number of each candidate in the sequence; -1 where it is no item of it."""
        if self._confirmed:
            first, last, count = np.array(self._confirmed, np.int64).T
            items = last - first
            self._number[self._id[_numbers_from(first, items)]] = _numbers_from(count, items)
            self._confirmed = []
        return self._number


class _Tracer:
    """Search of one sequence for its items; see `trace_items`."""

    def __init__(self, buffer: bytes, stop: int | None, encoding: Encoding, selected: TagSelection):
        self.buffer = buffer
        self.stop = stop
        self.limit = len(buffer) if stop is None else stop
        self.encoding = encoding
        self.selected = selected
        self.lockstep = Lockstep(buffer, encoding, selected)
        self.trace = Trace(selected=selected.elements)
        self.candidates = _Candidates()
        # First bytes of items that were searched for; True if positions were leapt over.
        self.patterns: dict[bytes, bool] = {}
        # Items of explicit length, which are walked together at the end.
        self.explicit_starts = array("q")
        self.explicit_ends = array("q")
        self.explicit_runs: list[tuple[int, int]] = []
        self.singles: list[tuple[int, ValueRange]] = []

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
                    self._skip_explicit()
                if trace.end > self.limit:
                    raise IncompleteError(trace.end)
            trace.closed = True
        except IncompleteError as missing:
            if self.stop is not None:
                raise MalformedError(f"an item overruns the sequence at byte {self.stop}") from None
            trace.needed = missing.needed
        self._finish_explicit()
        self._finish_chains()
        self._finish_singles()
        return trace

    def _skip_explicit(self) -> None:
        """Skip items of explicit length as long as they follow one another."""
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
        skipped = len(edges) - 1
        self.explicit_starts.extend(edges[:-1])
        self.explicit_ends.extend(edges[1:])
        self.explicit_runs.append((trace.count, skipped))
        trace.count += skipped
        trace.end = edges[-1]
        if position > self.limit:
            raise IncompleteError(position)

    def _chain(self, position: int) -> int:
        """Follow items of undefined length from `position` on; return the end of the last."""
        pattern = self.buffer[position : position + PATTERN]
        if pattern not in self.patterns and len(self.patterns) < MOST_PATTERNS:
            self.patterns[pattern] = self._search(pattern, position, leap=True)
        chain = self.candidates.follow(position, self.trace.count)
        if chain is None and self.patterns.get(pattern):
            self.patterns[pattern] = self._search(pattern, position, leap=False)
            chain = self.candidates.follow(position, self.trace.count)
        if chain is None:
            return self._walk_one(position)
        items, end = chain
        self.trace.count += items
        return end

    def _search(self, pattern: bytes, position: int, leap: bool) -> bool:
        """Add every position of a pattern; return True if some may have been leapt over."""
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
        positions = np.array(starts, np.int64)
        self.candidates.add(positions, self.lockstep.walk(positions + 8, None))
        return leapt

    def _walk_one(self, position: int) -> int:
        end, values = walk_item(self.buffer, position, self.encoding, self.selected)
        self.singles += [(self.trace.count, value) for value in values]
        self.trace.count += 1
        return end

    def _finish_explicit(self) -> None:
        if not self.explicit_starts or not self.selected.elements:
            return
        starts, ends = np.array(self.explicit_starts) + 8, np.array(self.explicit_ends)
        number = _numbers_from(*np.array(self.explicit_runs).T)
        walk = self.lockstep.walk(starts, ends)
        for item in np.flatnonzero(walk.ends != ends):
            _, values = walk_item(self.buffer, int(starts[item]) - 8, self.encoding, self.selected)
            self.singles += [(int(number[item]), value) for value in values]
            number[item] = -1
        self._add_values(walk.values, number)

    def _finish_chains(self) -> None:
        number = self.candidates.numbers()
        for path, part in self.candidates.values:
            self._add_values({path: [part]}, number)

    def _finish_singles(self) -> None:
        for path in {value.path for _, value in self.singles}:
            values = [(number, value) for number, value in self.singles if value.path == path]
            codes = [int.from_bytes(value.vr, "little") for _, value in values]
            self.trace.values.setdefault(path, []).append(
                ValueRanges(
                    np.array([number for number, _ in values], np.int64),
                    np.array([value.offset for _, value in values], np.int64),
                    np.array([value.length for _, value in values], np.int64),
                    np.array(codes, np.uint16),
                )
            )

    def _add_values(
        self, values: dict[TagPath, list[ValueRanges]], number: NDArray[np.int64]
    ) -> None:
        """Add the values of confirmed items, numbered by their place in the sequence."""
        for path, parts in values.items():
            for part in parts:
                numbered = replace(part, item=number[part.item])
                confirmed = numbered.item >= 0
                if not confirmed.all():
                    numbered = numbered.where(confirmed)
                self.trace.values.setdefault(path, []).append(numbered)


def _numbers_from(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `count` numbers from each `first` on, concatenated."""
    before = np.cumsum(count) - count
    numbers: NDArray[np.int64] = np.arange(count.sum()) + np.repeat(first - before, count)
    return numbers


def _repeats(buffer: bytes, position: int, stride: int, width: int, limit: int) -> int:
    """Count how often the `width` bytes at `position` repeat, `stride` bytes apart."""
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
    selected: TagSelection = NO_ELEMENTS,
) -> Trace:
    """Find the items of the sequence whose value starts at `position`.

    Parameters
    ----------
    buffer, position
        Bytes, and the offset of the value of the sequence in them.
    stop
        First byte after the value, or None if the length is undefined: then the sequence
        ends with its delimiter, or with the buffer, as `Trace.closed` says.
    encoding
        Of the data set.
    selected
        Elements to locate. Without any, items of explicit length are not looked into.

    Returns
    -------
    Trace
        Items and byte ranges, as far as `buffer` reaches.

    Raises
    ------
    MalformedError
        If an item does not start where the one before ends, or is damaged inside.
    """
    return _Tracer(buffer, stop, encoding, selected).run(position)
