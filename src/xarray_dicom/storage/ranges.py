"""Division of many byte ranges into few requests: arrays in, arrays out, no I/O."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Merged:
    """Requests that cover a set of byte ranges.

    Attributes
    ----------
    offsets, lengths
        The requests, in bytes, by ascending offset; shape ``(requests,)``.
    request
        The request that holds each range, in the order the ranges were given; -1 for a
        range of no bytes, which needs none; shape ``(ranges,)``.
    start
        Start of each range in its request, in bytes; shape ``(ranges,)``.
    order
        Indices of the ranges of at least one byte, by ascending offset.
    """

    offsets: Int64Array
    lengths: Int64Array
    request: Int64Array
    start: Int64Array
    order: Int64Array


def merge(offsets: ArrayLike, lengths: ArrayLike, *, gap: int, largest: int) -> Merged:
    """Merge ranges that lie close to each other.

    Parameters
    ----------
    offsets, lengths
        The ranges in bytes, in any order; they may repeat, overlap or be empty.
    gap
        Unwanted bytes between two ranges that are worth fetching to save a request.
    largest
        Bytes that a merged request may have; a single longer range stays one request.

    Raises
    ------
    ValueError
        If an offset or a length is negative.
    """
    offset = np.asarray(offsets, dtype=np.int64).reshape(-1)
    length = np.asarray(lengths, dtype=np.int64).reshape(-1)
    if len(offset) != len(length):
        raise ValueError(f"{len(offset)} offsets, but {len(length)} lengths")
    if len(offset) and min(offset.min(), length.min()) < 0:
        raise ValueError("offsets and lengths of byte ranges must not be negative")

    nonempty = np.flatnonzero(length)
    order = nonempty[np.argsort(offset[nonempty], kind="stable")]
    begin = offset[order]
    # The end so far: a range may lie wholly inside an earlier one.
    end = np.maximum.accumulate(begin + length[order])

    first = _first_of_each_request(begin, end, gap, largest)
    last = np.append(first[1:], len(order))[: len(first)] - 1
    holder = np.zeros(len(order), dtype=np.int64)
    holder[first[1:]] = 1
    holder = np.cumsum(holder)

    request = np.full(len(offset), -1, dtype=np.int64)
    start = np.zeros(len(offset), dtype=np.int64)
    request[order] = holder
    start[order] = begin - begin[first][holder]
    return Merged(begin[first], end[last] - begin[first], request, start, order)


def _first_of_each_request(
    begin: Int64Array, end: Int64Array, gap: int, largest: int
) -> Int64Array:
    """Return the positions, among ranges sorted by offset, at which a new request starts."""
    if not len(begin):
        return np.empty(0, dtype=np.int64)
    apart = np.flatnonzero(begin[1:] - end[:-1] > gap) + 1
    first = np.concatenate([[0], apart])
    stop = np.append(apart, len(begin))
    oversized = (end[stop - 1] - begin[first] > largest) & (stop - first > 1)
    if not oversized.any():
        return first

    ends = end.tolist()
    pieces = [first]
    for group_first, group_stop in zip(first[oversized], stop[oversized], strict=True):
        at, splits = int(group_first), []
        while True:
            # The first range of a request is the one that reaches furthest so far.
            limit = max(int(begin[at]) + largest, ends[at])
            at = bisect_right(ends, limit, at, int(group_stop))
            if at >= group_stop:
                break
            splits.append(at)
        pieces.append(np.array(splits, dtype=np.int64))
    return np.sort(np.concatenate(pieces))
