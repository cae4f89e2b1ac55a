"""Columns of per-frame groups against pydicom, item by item."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from support.encoded_objects import SEQUENCE_DELIMITER, item_bytes, leave_lengths_undefined
from support.walked_items import walked_items
from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing import items, lockstep
from xarray_dicom.parsing.column_values import Column
from xarray_dicom.parsing.columns import read_columns
from xarray_dicom.parsing.encoding import TagPath
from xarray_dicom.parsing.functional_groups import FunctionalGroups

FRAME_CONTENT, DIMENSION_INDEX = 0x00209111, 0x00209157
PLANE_POSITION, POSITION = 0x00209113, 0x00200032
SEGMENT, SEGMENT_NUMBER = 0x0062000A, 0x0062000B
DERIVATION, SOURCE, UID = 0x00089124, 0x00082112, 0x00081155
PURPOSE, MEANING = 0x0040A170, 0x00080104
PRIVATE = 0x20051001

PATHS: dict[TagPath, str] = {
    (FRAME_CONTENT, DIMENSION_INDEX): "UL",
    (FRAME_CONTENT, 0x00189151): "TM",
    (FRAME_CONTENT, 0x00189220): "FD",
    (FRAME_CONTENT, 0x00209165): "AT",
    (FRAME_CONTENT, 0x00209128): "SS",
    (FRAME_CONTENT, 0x00209156): "IS",
    (PLANE_POSITION, POSITION): "DS",
    (SEGMENT, SEGMENT_NUMBER): "US",
    (DERIVATION, SOURCE, UID): "UI",
    (DERIVATION, SOURCE, PURPOSE, MEANING): "LO",
    (0x00080060,): "CS",
}

ASCII = st.text(st.characters(min_codepoint=48, max_codepoint=122, exclude_characters="\\"))


def one_of_few(strategy: st.SearchStrategy) -> st.SearchStrategy:
    """Values that may be absent (None) or empty."""
    return st.one_of(st.none(), st.just([]), strategy)


@st.composite
def frame_items(draw: st.DrawFn) -> Dataset:
    """One item: any element may be absent or empty, sequences may be long or empty."""
    item = Dataset()
    if draw(st.booleans()):
        item.Modality = draw(st.sampled_from(["MR", "CT", "", "A LONG MODALITY"]))
    content = Dataset()
    elements = [
        (DIMENSION_INDEX, "UL", st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4)),
        (0x00189151, "TM", st.just("101010.25")),
        (0x00189220, "FD", st.lists(st.floats(allow_nan=False), min_size=1, max_size=3)),
        (0x00209165, "AT", st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3)),
        (0x00209128, "SS", st.integers(-(2**15), 2**15 - 1)),
        (0x00209156, "IS", st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=3)),
        (0x00204000, "LT", st.just("\\backslashes\\stay")),
    ]
    for tag, vr, values in elements:
        value = draw(one_of_few(values))
        if value is not None:
            content.add_new(tag, vr, value)
    if draw(st.booleans()):
        item.FrameContentSequence = Sequence(draw(st.sampled_from([[content], []])))
    if draw(st.booleans()):
        position = Dataset()
        decimals = st.decimals(-1000, 1000, places=3).map(str)
        position.ImagePositionPatient = draw(st.lists(decimals, min_size=3, max_size=3))
        item.PlanePositionSequence = Sequence([position])
    number = draw(st.none() | st.integers(0, 65535))
    if number is not None:
        segment = Dataset()
        segment.ReferencedSegmentNumber = number
        item.SegmentIdentificationSequence = Sequence([segment])
    sources = []
    for _ in range(draw(st.integers(0, 3))):
        source = Dataset()
        source.ReferencedSOPInstanceUID = f"1.2.{draw(st.integers(1, 10**12))}"
        purpose = Dataset()
        purpose.CodeMeaning = draw(ASCII)
        source.PurposeOfReferenceCodeSequence = Sequence([purpose] * draw(st.integers(0, 2)))
        sources.append(source)
    derivation = Dataset()
    derivation.SourceImageSequence = Sequence(sources)
    if draw(st.booleans()):
        item.DerivationImageSequence = Sequence([derivation])
    if draw(st.booleans()):
        # Delimiters and item tags as content must not be taken for structure.
        trap = SEQUENCE_DELIMITER + bytes.fromhex("feff00e0ffffffff0800600043530000")
        item.add_new(PRIVATE, draw(st.sampled_from(["OB", "UN", "OW"])), trap)
    if draw(st.booleans()):
        leave_lengths_undefined(item)
    return item


def expected(item: Dataset, path: TagPath) -> list[object]:
    """What pydicom reads at `path`, following first items."""
    for tag in path[:-1]:
        if tag not in item or not len(item[tag].value):
            return []
        item = item[tag].value[0]
    if path[-1] not in item:
        return []
    value = item[path[-1]].value
    if value is None or (isinstance(value, str) and not value):
        return []
    return list(value) if isinstance(value, MultiValue | list) else [value]


def assert_same(columns: Mapping[TagPath, Column], sequence: list[Dataset]) -> None:
    for path, column in columns.items():
        assert column.values.shape[0] == column.count.size == len(sequence)
        for frame, item in enumerate(sequence):
            found = column.values[frame, : column.count[frame]]
            value = expected(item, path)
            if column.values.dtype.kind == "S":
                assert [text.decode() for text in found] == [str(text).strip() for text in value]
            elif column.values.dtype.kind == "f":
                assert list(found) == [float(number) for number in value]
            else:
                assert list(found) == [int(number) for number in value]


def groups(sequence: list[Dataset], implicit: bool, little: bool, closed: bool) -> FunctionalGroups:
    content = item_bytes(sequence, implicit, little)
    if closed:
        delimiter = SEQUENCE_DELIMITER if little else bytes.fromhex("fffee0dd00000000")
        content += delimiter
    return FunctionalGroups(content, implicit, little, closed)


ENCODINGS = [(True, True), (False, True), (False, False)]


@settings(max_examples=150, deadline=None)
@given(st.lists(frame_items(), min_size=1, max_size=12), st.sampled_from(ENCODINGS), st.booleans())
def test_random_items(sequence: list[Dataset], encoding: tuple[bool, bool], closed: bool) -> None:
    raw = groups(sequence, *encoding, closed)
    assert_same(read_columns(raw, PATHS, len(sequence)), sequence)


@settings(max_examples=60, deadline=None)
@given(st.lists(frame_items(), min_size=1, max_size=6), st.sampled_from(ENCODINGS), st.booleans())
def test_one_by_one(sequence: list[Dataset], encoding: tuple[bool, bool], closed: bool) -> None:
    """The slow way finds the same, when the fast way gives up at once."""
    raw = groups(sequence, *encoding, closed)
    with pytest.MonkeyPatch.context() as patch, walked_items() as walked:
        patch.setattr(lockstep, "MOST_STEPS", 0)
        columns = read_columns(raw, PATHS, len(sequence))
    assert len(walked) == sum(len(item) > 0 for item in sequence)
    assert_same(columns, sequence)


def plain_item(frame: int) -> Dataset:
    item, content, position, segment = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [frame % 7 + 1, frame + 1]
    position.ImagePositionPatient = [-100.5, f"{frame * 0.37:.6f}", frame]
    segment.ReferencedSegmentNumber = frame % 7 + 1
    item.FrameContentSequence = Sequence([content])
    item.PlanePositionSequence = Sequence([position])
    item.SegmentIdentificationSequence = Sequence([segment])
    if frame % 3 == 0:
        item.add_new(0x20050010, "LO", "MAKER")
        item.add_new(PRIVATE, "SQ", Sequence([segment] * (frame % 4)))
    return item


@pytest.mark.parametrize("undefined", [False, True])
def test_many_items_share_their_steps(undefined: bool) -> None:
    sequence = [plain_item(frame) for frame in range(3000)]
    if undefined:
        for item in sequence:
            leave_lengths_undefined(item)
    with walked_items() as walked:
        columns = read_columns(groups(sequence, False, True, undefined), PATHS, len(sequence))
    assert walked == []
    assert_same(columns, sequence)


def test_implicit_items_in_an_unknown_sequence() -> None:
    """A UN sequence of undefined length is implicit inside (PS3.5 6.2.2)."""
    plain = item_bytes([plain_item(1)], False, True)
    hidden = Dataset()
    hidden.CodeMeaning = "implicit"
    leave_lengths_undefined(hidden)
    unknown = bytes.fromhex("05200110") + b"UN\0\0\xff\xff\xff\xff"
    unknown += item_bytes([hidden], True, True) + SEQUENCE_DELIMITER
    length = int.from_bytes(plain[4:8], "little") + len(unknown)
    one = plain[:4] + length.to_bytes(4, "little") + plain[8:] + unknown
    with walked_items() as walked:
        columns = read_columns(FunctionalGroups(one * 50, False, True, False), PATHS, 50)
    assert walked == []
    assert (columns[SEGMENT, SEGMENT_NUMBER].values == 2).all()


def test_stated_vr_wins_over_the_asked_one() -> None:
    raw = groups([plain_item(5)], False, True, False)
    column = read_columns(raw, {(SEGMENT, SEGMENT_NUMBER): "LO"}, 1)[SEGMENT, SEGMENT_NUMBER]
    assert column.values.dtype == np.int64
    assert column.values.tolist() == [[6]]


def test_absent_everywhere() -> None:
    columns = read_columns(
        groups([plain_item(1)] * 3, False, True, False),
        {(0x00181111,): "DS", (0x00181112,): "US", (0x00181113,): "LO"},
        3,
    )
    assert [column.count.tolist() for column in columns.values()] == [[0, 0, 0]] * 3
    assert np.isnan(columns[0x00181111,].values).all()
    assert (columns[0x00181112,].values == 0).all()
    assert (columns[0x00181113,].values == b"").all()


def test_more_patterns_than_are_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MOST_PATTERNS", 1)
    sequence = [plain_item(frame) for frame in range(20)]
    for frame, item in enumerate(sequence):
        if frame % 2:
            item.Modality = "MR"
        leave_lengths_undefined(item)
    with walked_items() as walked:
        columns = read_columns(groups(sequence, False, True, True), PATHS, 20)
    assert len(walked) == 10
    assert_same(columns, sequence)


def test_items_that_begin_in_turns() -> None:
    """Each begins differently from the one before: one chain all the same."""
    sequence = [plain_item(frame) for frame in range(60)]
    for frame, item in enumerate(sequence):
        if frame % 2:
            item.Modality = "MR"
        leave_lengths_undefined(item)
    content = item_bytes(sequence, False, True) * 300
    begin = time.perf_counter()
    with walked_items() as walked:
        columns = read_columns(FunctionalGroups(content, False, True, True), PATHS, 18000)
    assert time.perf_counter() - begin < 30
    assert walked == []
    assert columns[0x00080060,].count.tolist() == [0, 1] * 9000


@pytest.mark.parametrize("n_frames", [4, 2**31])
def test_wrong_number_of_items(n_frames: int) -> None:
    raw = groups([plain_item(1)] * 3, False, True, False)
    with pytest.raises(CorruptDicomError, match=rf"has 3 items.*is {n_frames}"):
        read_columns(raw, PATHS, n_frames)


@pytest.mark.parametrize("closed", [False, True])
def test_every_cut_is_noticed(closed: bool) -> None:
    sequence = [plain_item(frame) for frame in range(3)]
    if closed:
        for item in sequence:
            leave_lengths_undefined(item)
    content = item_bytes(sequence, False, True)
    for length in range(1, len(content)):
        with pytest.raises(CorruptDicomError):
            read_columns(FunctionalGroups(content[:length], False, True, closed), PATHS, 3)


def test_damaged_number_names_its_element() -> None:
    raw = groups([plain_item(3)], False, True, False)
    damaged = FunctionalGroups(raw.content.replace(b"-100.5", b"-1oo.5"), False, True, False)
    with pytest.raises(CorruptDicomError, match=r"\(0020,9113\) > \(0020,0032\)"):
        read_columns(damaged, PATHS, 1)


def test_one_long_value_does_not_make_a_large_table() -> None:
    sequence = [Dataset() for _ in range(5000)]
    for item in sequence:
        item.add_new(0x00204000, "LT", "short")
    sequence[7].add_new(0x00204000, "LT", "long" * 10**5)
    raw = groups(sequence, False, True, False)
    with pytest.raises(CorruptDicomError, match=r"\(0020,4000\).*differ too much"):
        read_columns(raw, {(0x00204000,): "LT"}, 5000)
