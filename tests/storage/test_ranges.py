"""Merging of byte ranges, against a plain model of it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_dicom.storage.ranges import Merged, merge

RANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), max_size=40)


def merged(ranges: list[tuple[int, int]], gap: int, largest: int) -> Merged:
    offsets = [offset for offset, _ in ranges]
    lengths = [length for _, length in ranges]
    return merge(offsets, lengths, gap=gap, largest=largest)


def requests(result: Merged) -> list[tuple[int, int]]:
    return list(zip(result.offsets.tolist(), result.lengths.tolist(), strict=True))


@given(RANGES, st.integers(0, 30), st.integers(1, 200))
def test_every_range_lies_in_its_request(
    ranges: list[tuple[int, int]], gap: int, largest: int
) -> None:
    content = np.random.default_rng(0).bytes(500)
    result = merged(ranges, gap, largest)
    bodies = [content[offset : offset + length] for offset, length in requests(result)]
    for (offset, length), request, start in zip(ranges, result.request, result.start, strict=True):
        if length:
            assert bodies[request][start : start + length] == content[offset : offset + length]
        else:
            assert request == -1


@given(RANGES, st.integers(0, 30), st.integers(1, 200))
def test_a_request_is_longer_than_allowed_only_for_one_range(
    ranges: list[tuple[int, int]], gap: int, largest: int
) -> None:
    result = merged(ranges, gap, largest)
    for number, (_, length) in enumerate(requests(result)):
        held = [ranges[index][1] for index in np.flatnonzero(result.request == number)]
        assert held, "a request for nothing"
        assert length <= max(largest, *held)


@given(RANGES, st.integers(0, 30), st.integers(1, 200))
def test_no_request_has_a_gap_wider_than_allowed(
    ranges: list[tuple[int, int]], gap: int, largest: int
) -> None:
    result = merged(ranges, gap, largest)
    for number, (start, length) in enumerate(requests(result)):
        unwanted = np.ones(length, dtype=bool)
        for index in np.flatnonzero(result.request == number):
            offset, size = ranges[index]
            unwanted[offset - start : offset - start + size] = False
        runs = "".join("x" if byte else " " for byte in unwanted).split()
        assert all(len(run) <= gap for run in runs)
        assert not unwanted[0]
        assert not unwanted[-1]


@given(RANGES, st.integers(0, 30))
def test_unlimited_requests_are_the_connected_parts(
    ranges: list[tuple[int, int]], gap: int
) -> None:
    result = merged(ranges, gap, 10**6)
    expected: list[list[int]] = []
    for offset, length in sorted(item for item in ranges if item[1]):
        if expected and offset - expected[-1][1] <= gap:
            expected[-1][1] = max(expected[-1][1], offset + length)
        else:
            expected.append([offset, offset + length])
    assert requests(result) == [(start, stop - start) for start, stop in expected]


@given(RANGES, st.integers(0, 30), st.integers(1, 200))
def test_requests_are_filled_greedily(
    ranges: list[tuple[int, int]], gap: int, largest: int
) -> None:
    result = merged(ranges, gap, largest)
    expected: list[list[int]] = []
    reach = 0
    for offset, length in sorted((item for item in ranges if item[1]), key=lambda item: item[0]):
        stop = offset + length
        near = expected and offset - reach <= gap
        if near and (stop <= expected[-1][1] or stop - expected[-1][0] <= largest):
            expected[-1][1] = max(expected[-1][1], stop)
        else:
            expected.append([offset, stop])
        reach = max(reach, stop)
    assert requests(result) == [(start, stop - start) for start, stop in expected]


@given(RANGES)
def test_order_is_by_offset_without_empty_ranges(ranges: list[tuple[int, int]]) -> None:
    order = merged(ranges, 0, 100).order.tolist()
    assert order == sorted((i for i, r in enumerate(ranges) if r[1]), key=lambda i: ranges[i][0])


def test_offsets_beyond_32_bits() -> None:
    result = merged([(2**40, 10), (2**40 + 10, 10)], 0, 100)
    assert requests(result) == [(2**40, 20)]


@pytest.mark.parametrize(("offsets", "lengths"), [([-1], [1]), ([1], [-1]), ([1, 2], [1])])
def test_impossible_ranges_raise(offsets: list[int], lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets"):
        merge(offsets, lengths, gap=0, largest=1)


@pytest.mark.parametrize("spacing", [1000, 100_000], ids=["adjacent", "scattered"])
def test_a_million_ranges(spacing: int) -> None:
    offsets = np.random.default_rng(0).permutation(1_000_000) * spacing
    began = time.perf_counter()
    result = merge(offsets, np.full(1_000_000, 1000), gap=8192, largest=2 * 2**20)
    assert time.perf_counter() - began < 30
    assert len(result.offsets) == (477 if spacing == 1000 else 1_000_000)
