"""Per-frame groups of very many frames: found in blocks and runs, kept in little memory."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from support.encoded_objects import (
    SEQUENCE_DELIMITER,
    item_bytes,
    leave_lengths_undefined,
    opened,
    wait,
)
from support.generate.many_frames import PLANE_STEP, big_segmentation, per_frame_items
from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing import items, lockstep, values
from xarray_dicom.parsing.columns import Columns, read_columns
from xarray_dicom.parsing.elements import Column, FunctionalGroups
from xarray_dicom.parsing.elements import Path as Tags
from xarray_dicom.parsing.header import read_header

INDEX: Tags = (0x00209111, 0x00209157)
POSITION: Tags = (0x00209113, 0x00200032)
NUMBER: Tags = (0x0062000A, 0x0062000B)
LABEL: Tags = (0x00209111, 0x00209453)
STACK: Tags = (0x00209111, 0x00209056)
UID: Tags = (0x00089124, 0x00082112, 0x00081155)
PATHS = {INDEX: "UL", POSITION: "DS", NUMBER: "US", LABEL: "LO", STACK: "SH", UID: "UI"}

FORMS = ["explicit", "undefined", "mixed"]

MEASURE = Path(__file__).parents[2] / "benchmarks" / "opening_memory.py"


def varied_item(frame: int, rng: random.Random) -> Dataset:
    """An item whose elements come and go, and whose values have many lengths."""
    item, content, position, segment = Dataset(), Dataset(), Dataset(), Dataset()
    if rng.random() < 0.7:
        derivation = Dataset()
        derivation.SourceImageSequence = Sequence([])
        for _ in range(rng.randrange(4)):
            source = Dataset()
            source.ReferencedSOPInstanceUID = f"1.2.{rng.randrange(10 ** rng.randrange(1, 20))}"
            derivation.SourceImageSequence.append(source)
        item.DerivationImageSequence = Sequence([derivation])
    if rng.random() < 0.5:
        content.StackID = "1"
    content.DimensionIndexValues = [frame % 7 + 1, frame + 1]
    if rng.random() < 0.3:
        content.FrameLabel = "x" * rng.randrange(30)
    item.FrameContentSequence = Sequence([content])
    position.ImagePositionPatient = ["-10.5", "-20.25", f"{frame * 0.25:.{rng.randrange(5)}f}"]
    item.PlanePositionSequence = Sequence([position])
    segment.ReferencedSegmentNumber = frame % 7 + 1
    item.SegmentIdentificationSequence = Sequence([segment])
    if rng.random() < 0.1:
        # What would end the sequence, and what would begin an item, inside a value.
        trap = SEQUENCE_DELIMITER + bytes.fromhex("feff00e0ffffffff2000119153510000ffffffff")
        item.add_new(0x20051001, "OB", trap * rng.randrange(1, 3))
    return item


def varied(n: int, form: str) -> list[Dataset]:
    rng = random.Random(n)
    sequence = [varied_item(frame, rng) for frame in range(n)]
    for item in sequence:
        if form == "undefined" or (form == "mixed" and rng.random() < 0.5):
            leave_lengths_undefined(item)
    return sequence


def expected(item: Dataset, path: Tags) -> list[Any]:
    """What pydicom has at `path`, following first items."""
    for tag in path[:-1]:
        if tag not in item or not len(item[tag].value):
            return []
        item = item[tag].value[0]
    found = item.get(path[-1])
    if found is None or found.value in (None, ""):
        return []
    many = isinstance(found.value, pydicom.multival.MultiValue | list)
    return list(found.value) if many else [found.value]


def assert_like_pydicom(columns: Columns, sequence: list[Dataset]) -> None:
    for path, column in columns.columns.items():
        for frame, item in enumerate(sequence):
            found = column.values[frame, : column.count[frame]].tolist()
            if column.values.dtype.kind == "S":
                found = [text.decode() for text in found]
            value = [type(one)(two) for one, two in zip(found, expected(item, path), strict=True)]
            assert found == value


def raw(sequence: list[Dataset], form: str) -> FunctionalGroups:
    content = item_bytes(sequence, False, True)
    if form == "undefined":
        return FunctionalGroups(content + SEQUENCE_DELIMITER, False, True, True)
    return FunctionalGroups(content, False, True, False)


@pytest.mark.parametrize("form", FORMS)
def test_varied_items_like_pydicom(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Many blocks, and a leap wherever two items in a row have one length.
    monkeypatch.setattr(lockstep, "ITEMS_AT_ONCE", 50)
    monkeypatch.setattr(items, "STEADY", 1)
    sequence = varied(700, form)
    columns = read_columns(raw(sequence, form), PATHS, len(sequence))
    assert columns.walked == 0
    assert_like_pydicom(columns, sequence)


@pytest.mark.parametrize("form", FORMS)
def test_a_group_may_lie_among_other_bytes(form: str) -> None:
    sequence = varied(60, form)
    alone = raw(sequence, form)
    before, behind = alone.content[:333], alone.content
    among = FunctionalGroups(
        before + alone.content + behind,
        False,
        True,
        alone.length_is_undefined,
        len(before),
        len(before) + len(alone.content),
    )
    assert among.nbytes == len(alone.content)
    assert_like_pydicom(read_columns(among, PATHS, 60), sequence)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", [1, 8, 17, 100])
def test_a_group_that_ends_early_does_not_go_on_behind_its_end(form: str, cut: int) -> None:
    content = item_bytes(varied(60, form), False, True)
    short = FunctionalGroups(content, False, True, False, 0, len(content) - cut)
    with pytest.raises(CorruptDicomError):
        read_columns(short, PATHS, 60)


def arrays(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Planes, and segments from 1, of `n` frames: planes go faster."""
    frame = np.arange(n)
    return frame % 500, frame // 500 + 1


def assert_known(columns: Columns, n: int) -> None:
    plane, segment = arrays(n)
    position = columns.columns[POSITION].values
    assert (columns.columns[INDEX].values == np.stack([segment, plane + 1], axis=1)).all()
    assert (columns.columns[NUMBER].values[:, 0] == segment).all()
    assert (position[:, :2] == [-10.5, -20.25]).all()
    assert (position[:, 2] == plane * PLANE_STEP).all()


@pytest.mark.parametrize("undefined", [False, True])
def test_items_of_one_length(undefined: bool) -> None:
    content = per_frame_items(*arrays(20_000), undefined=undefined)
    content += SEQUENCE_DELIMITER if undefined else b""
    columns = read_columns(FunctionalGroups(content, False, True, undefined), PATHS, 20_000)
    assert columns.walked == 0
    assert_known(columns, 20_000)


@pytest.mark.parametrize("undefined", [False, True])
def test_a_run_ends_where_an_item_differs(undefined: bool) -> None:
    parts = [per_frame_items(*arrays(1000), undefined=undefined)]
    other = varied_item(3, random.Random(1))
    if undefined:
        leave_lengths_undefined(other)
    parts = [*parts, item_bytes([other], False, True), *parts]
    content = b"".join(parts) + (SEQUENCE_DELIMITER if undefined else b"")
    found = read_columns(FunctionalGroups(content, False, True, undefined), PATHS, 2001)
    numbers = found.columns[NUMBER].values[:, 0]
    _, segment = arrays(1000)
    assert numbers.tolist() == [*segment, *expected(other, NUMBER), *segment]


def test_items_that_a_leap_would_pass_over() -> None:
    """After a run of long items come short ones, two of which are as long as one of them."""
    short, long = Dataset(), Dataset()
    for item, size in ((short, 10), (long, 44)):
        item.FrameComments = "x" * size
        leave_lengths_undefined(item)
    one, two = (item_bytes([item], False, True) for item in (short, long))
    assert len(two) == 2 * len(one)
    content = two * 50 + one * 5001 + two * 50 + SEQUENCE_DELIMITER
    path: Tags = (0x00209158,)
    columns = read_columns(FunctionalGroups(content, False, True, True), {path: "LT"}, 5101)
    assert columns.walked == 0
    found = np.strings.str_len(columns.columns[path].values[:, 0])
    assert found.tolist() == [44] * 50 + [10] * 5001 + [44] * 50


@pytest.mark.parametrize("undefined", [False, True])
def test_a_run_that_is_cut_off(undefined: bool) -> None:
    content = per_frame_items(*arrays(40), undefined=undefined)
    for cut in range(1, len(content) // 40 + 1):
        groups = FunctionalGroups(content[:-cut], False, True, undefined)
        with pytest.raises(CorruptDicomError):
            read_columns(groups, PATHS, 40)


def test_texts_that_only_seem_to_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal texts are read once; texts that the quick look takes for equal must not be."""
    content = per_frame_items(*arrays(9000))
    monkeypatch.setattr(values, "_mixed", lambda word, offset, places: offset * 0)
    assert_known(read_columns(FunctionalGroups(content, False, True, False), PATHS, 9000), 9000)


def test_absent_columns_take_no_memory() -> None:
    content = per_frame_items(*arrays(1000))
    columns = read_columns(FunctionalGroups(content, False, True, False), PATHS, 1000).columns
    absent: Column = columns[LABEL]
    assert absent.values.shape == (1000, 1)
    assert absent.values.strides[0] == absent.count.strides[0] == 0


@pytest.mark.parametrize("first", [700, 2**15, 2**22])
def test_what_finds_the_end_notes_the_elements(first: int) -> None:
    """Groups of unknown length are walked once, however many requests they come in."""
    file = io.BytesIO()
    big_segmentation(file, planes=100, segments=30, undefined=True)
    header = wait(read_header(opened(file.getvalue()), first=first, paths=lambda _: PATHS))
    assert header.per_frame is not None
    assert header.per_frame.trace is not None
    assert header.per_frame.trace.wanted == set(PATHS)
    again = wait(read_header(opened(file.getvalue()), first=first))
    assert again.per_frame is not None
    assert again.per_frame.trace is not None
    assert not again.per_frame.trace.leaves
    one, two = (read_columns(found.per_frame, PATHS, 3000) for found in (header, again))
    for path, column in one.columns.items():
        np.testing.assert_array_equal(column.values, two.columns[path].values)
        np.testing.assert_array_equal(column.count, two.columns[path].count)
    assert one.columns[NUMBER].values[:, 0].tolist() == [n // 100 + 1 for n in range(3000)]


def test_paths_that_cannot_be_told_are_asked_for_later() -> None:
    def damaged(before: Dataset) -> dict[Tags, str]:
        assert before.SegmentSequence
        raise KeyError("no such element")

    file = io.BytesIO()
    big_segmentation(file, planes=10, segments=3, undefined=True)
    header = wait(read_header(opened(file.getvalue()), paths=damaged))
    assert header.per_frame is not None
    columns = read_columns(header.per_frame, PATHS, 30).columns
    assert columns[NUMBER].values[:, 0].tolist() == [n // 10 + 1 for n in range(30)]


@pytest.mark.parametrize("undefined", [False, True])
def test_memory_of_opening(undefined: bool, tmp_path: Path) -> None:
    """No more than three times the header's bytes at any time, and next to nothing after."""
    small, large = tmp_path / "small.dcm", tmp_path / "large.dcm"
    big_segmentation(small, planes=2, segments=2)
    big_segmentation(large, planes=400, segments=100, shape=(4, 4), undefined=undefined)
    finished = subprocess.run(
        [
            sys.executable,
            MEASURE,
            small,
            large,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    header = large.stat().st_size
    assert header > 15e6
    assert found["peak"] < 3 * header + 2**20
    assert found["retained"] < 24 * 40_000 + 2**20
