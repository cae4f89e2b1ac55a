"""Segment descriptions: straight from their bytes where these are plain, as pydicom has them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from xarray_dicom import CorruptDicomError
from xarray_dicom.layout import segments
from xarray_dicom.layout.segments import read_segments


def read_again(dataset: Dataset, *, implicit: bool = False, little: bool = True) -> Dataset:
    """`dataset` written and read, its sequence not yet looked into."""
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, dataset)
    return read_dataset(BytesIO(file.getvalue()), implicit, little)


def code(meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue = "1"
    item.CodeMeaning = meaning
    return Sequence([item])


def segment(number: int, **texts: Any) -> Dataset:
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentedPropertyTypeCodeSequence = code(texts.pop("meaning", "Liver"))
    for keyword, text in texts.items():
        setattr(item, keyword, text)
    return item


def segmentation(*items: Dataset, **attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.SegmentSequence = Sequence(items)
    return dataset


def by_pydicom(dataset: Dataset) -> list[segments.Segment]:
    found = [
        segments._read_item(item, position, "")
        for position, item in enumerate(dataset.SegmentSequence, 1)
    ]
    return sorted(found, key=lambda one: one.number)


plain = st.text(st.characters(codec="ascii", exclude_characters="\\\x1b"), max_size=16)
any_text = st.text(st.characters(codec="latin-1"), max_size=20)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(plain | any_text, plain, plain | st.none()), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_as_pydicom_has_them(
    texts: list[tuple[str, str, str | None]], implicit: bool, little: bool
) -> None:
    items = []
    for number, (label, meaning, description) in enumerate(texts, 1):
        item = segment(number, SegmentLabel=label, meaning=meaning, TrackingUID="1.2.3")
        if description is not None:
            item.SegmentDescription = description
        items.append(item)
    dataset = segmentation(*items, SpecificCharacterSet="ISO_IR 100")
    found = read_segments(read_again(dataset, implicit=implicit, little=little), "here")
    assert list(found) == by_pydicom(read_again(dataset, implicit=implicit, little=little))


@pytest.mark.parametrize("little", [True, False])
def test_plain_ones_are_read_from_their_bytes(little: bool) -> None:
    dataset = segmentation(
        segment(2, SegmentLabel="Spleen ", SegmentAlgorithmType="MANUAL"),
        segment(300, SegmentLabel="", TrackingID="a", SegmentDescription="in\r\ntwo lines"),
    )
    written = read_again(dataset, little=little)
    found = segments._plainly_spelled(written)
    assert found == by_pydicom(written)
    assert [one.number for one in found or []] == [2, 300]


@pytest.mark.parametrize(
    "dataset",
    [
        segmentation(segment(1, SegmentLabel="Leber für Ärzte"), SpecificCharacterSet="ISO_IR 192"),
        segmentation(segment(1, SpecificCharacterSet="ISO_IR 144", SegmentLabel="Печень")),
        segmentation(segment(1, SegmentLabel=["two", "values"])),
        segmentation(segment(1, SegmentDescription="back\\slash")),
    ],
    ids=["character set", "character set of its own", "two values", "backslash"],
)
def test_others_are_left_to_pydicom(dataset: Dataset) -> None:
    assert segments._plainly_spelled(read_again(dataset)) is None
    assert list(read_segments(read_again(dataset), "here")) == by_pydicom(read_again(dataset))


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([segment(1), segment(1, SegmentLabel="again")], "stands for both"),
        ([segment(1), Dataset()], "item 2"),
        ([], "empty or missing"),
    ],
)
def test_what_is_wrong_is_told(items: list[Dataset], told: str) -> None:
    with pytest.raises(CorruptDicomError, match=told):
        read_segments(read_again(segmentation(*items)), "here")


def test_damaged_bytes_are_left_to_pydicom() -> None:
    dataset = read_again(segmentation(segment(1, SegmentLabel="Liver")))
    element = dataset.get_item("SegmentSequence")
    for length in range(1, len(element.value)):
        damaged = element._replace(value=element.value[:length])
        dataset._dict[element.tag] = damaged
        assert segments._plainly_spelled(dataset) is None
