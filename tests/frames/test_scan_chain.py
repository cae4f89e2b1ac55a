"""The chain of items: what is certain on the way, and what only the end tells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import generate_fragments
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from support.scanned_objects import DELIMITER, item, jpeg, value_of
from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.framing import join_fragments
from xarray_dicom.frames.offsets.item_chain import TRAIL, Chain, frame_edges

J2K = b"\xff\x4f\xff\x51" + b"a" * 20 + b"\xff\xd9"

#: What items hold: a frame for sure, or perhaps a part of one.
CERTAIN = [jpeg(1, 30), jpeg(2, 7) + b"\0", J2K, J2K + b"\0", b"\xff\xd8\xff\xd9"]
UNCERTAIN = [
    b"",
    jpeg(3, 30)[:-4],
    jpeg(3, 30)[9:],
    b"\xff\xd8\xff" + bytes(9),
    jpeg(4, 20) + b"\0\0",
    b"\x01\0\0\0" + bytes(30),
    b"\xff\x0a" + bytes(20) + b"\xff\xd9",
    b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(10) + b"\xff\xd9",
    b"\xff\xd9",
]


def followed(value: bytes, chain: Chain, cuts: list[int] | None = None) -> Chain:
    """`chain` after all of `value`, in blocks that end at `cuts`."""
    kept_at = 0
    for end in sorted({*(cuts or []), len(value)}):
        chain.extend(value[kept_at:end], kept_at, last=end == len(value))
        kept_at = min(max(chain.end - TRAIL, kept_at), end)
        if chain.closed or chain.broken:
            break
    return chain


def frame(value: bytes, edges: np.ndarray, number: int) -> bytes:
    return bytes(join_fragments(value[edges[number] : edges[number + 1]]))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(CERTAIN + UNCERTAIN), min_size=1, max_size=12),
    st.lists(st.integers(1, 400), max_size=8),
)
def test_items_are_those_that_pydicom_finds(payloads: list[bytes], cuts: list[int]) -> None:
    value = value_of(payloads)
    chain = followed(value, Chain.at(0, 5, JPEGBaseline8Bit), cuts)
    assert chain.closed
    assert chain.end == len(value) - len(DELIMITER)
    assert chain.n_items == len(payloads)
    edges = [*chain.starts, chain.end]
    found = [value[start + 8 : end] for start, end in itertools.pairwise(edges)]
    assert found == list(generate_fragments(value))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(CERTAIN), max_size=6),
    st.lists(st.sampled_from(CERTAIN + UNCERTAIN), min_size=1, max_size=8),
    st.integers(2, 12),
    st.sampled_from([JPEGBaseline8Bit, JPEG2000Lossless, RLELossless]),
    st.lists(st.integers(1, 400), max_size=8),
)
def test_the_end_never_contradicts_what_was_certain(
    first: list[bytes], others: list[bytes], n_frames: int, syntax: str, cuts: list[int]
) -> None:
    value = value_of(first + others)
    chain = followed(value, Chain.at(0, n_frames, syntax), cuts)
    early = chain.edges(0, chain.whole - 1)
    if syntax != RLELossless:
        # The last of them may go on in what follows.
        assert chain.whole >= len(first) - 1
    try:
        edges = frame_edges(chain, n_frames, syntax)
    except CorruptDicomError:
        return
    for number in range(min(chain.whole, n_frames)):
        assert frame(value, early, number) == frame(value, edges, number)


@pytest.mark.parametrize("payload", UNCERTAIN)
def test_nothing_is_certain_from_such_an_item_on(payload: bytes) -> None:
    payloads = [jpeg(1, 20), jpeg(2, 20), payload, jpeg(3, 20), jpeg(4, 20)]
    chain = followed(value_of(payloads), Chain.at(0, 5, JPEGBaseline8Bit))
    goes_on = not payload.startswith((b"\xff\xd8", b"\xff\x0a", b"\0\0\0\x0c"))
    assert (chain.whole, chain.certain) == (1 if goes_on else 2, False)


@pytest.mark.parametrize("payload", CERTAIN)
def test_such_items_are_frames_at_once(payload: bytes) -> None:
    value = value_of([payload] * 4)
    chain = followed(value, Chain.at(0, 9, JPEGBaseline8Bit))
    assert (chain.whole, chain.certain) == (4, True)
    # What proves an item is the header behind it.
    cut = Chain.at(0, 9, JPEGBaseline8Bit)
    cut.extend(value[:-9], 0, last=True)
    assert cut.whole == 3


def test_an_only_frame_and_codestreams_without_marker_wait_for_the_end() -> None:
    value = value_of([jpeg(1, 20)] * 3)
    for chain in (Chain.at(0, 1, JPEGBaseline8Bit), Chain.at(0, 3, RLELossless)):
        assert followed(value, chain).whole == 0


def test_padding_that_no_length_counts() -> None:
    value = item(b"") + b"".join(item(jpeg(n, 21)) + b"\0" for n in range(4)) + DELIMITER
    chain = followed(value, Chain.at(0, 4, JPEGBaseline8Bit), [40, 60, 61, 62, 63, 64, 90])
    assert (chain.closed, chain.whole) == (True, 4)
    edges = frame_edges(chain, 4, JPEGBaseline8Bit)
    assert [frame(value, edges, n) for n in range(4)] == [jpeg(n, 21) for n in range(4)]


def test_edges_of_a_part() -> None:
    payloads = [jpeg(n, 20 + 2 * n) for n in range(6)]
    value = value_of(payloads)
    chain = followed(value, Chain.at(0, 6, JPEGBaseline8Bit))
    whole = frame_edges(chain, 6, JPEGBaseline8Bit)
    np.testing.assert_array_equal(chain.edges(0, 5), whole)
    np.testing.assert_array_equal(chain.edges(2, 4), whole[2:6])
    assert chain.mean_length() == (whole[-1] - whole[0]) / 6
