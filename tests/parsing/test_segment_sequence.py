"""Segment items: straight from their bytes where these are plain, as pydicom reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from support.segment_items import read_again, segment, segmentation
from xarray_dicom.errors import CorruptDicomError, DicomError, DicomWarning
from xarray_dicom.parsing.segment_sequence import (
    SegmentItem,
    plain_items,
    read_item,
    read_segment_items,
)

CASES = Path(__file__).resolve().parents[2] / "../shared/cases"


def by_pydicom(dataset: Dataset) -> list[SegmentItem]:
    return [read_item(item, position) for position, item in enumerate(dataset.SegmentSequence, 1)]


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
    found = read_segment_items(read_again(dataset, implicit=implicit, little=little))
    assert found == by_pydicom(read_again(dataset, implicit=implicit, little=little))


@pytest.mark.parametrize("little", [True, False])
def test_plain_ones_are_read_from_their_bytes(little: bool) -> None:
    dataset = segmentation(
        segment(2, SegmentLabel="Spleen ", SegmentAlgorithmType="MANUAL"),
        segment(300, SegmentLabel="", TrackingID="a", SegmentDescription="in\r\ntwo lines"),
    )
    written = read_again(dataset, little=little)
    found = plain_items(written)
    assert found == by_pydicom(written)
    assert [item.number for item in found or []] == [2, 300]


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
    assert plain_items(read_again(dataset)) is None
    assert read_segment_items(read_again(dataset)) == by_pydicom(read_again(dataset))


def test_an_item_without_a_number_is_named() -> None:
    dataset = read_again(segmentation(segment(1), Dataset()))
    with pytest.raises(CorruptDicomError, match="item 2 of the Segment Sequence") as caught:
        read_segment_items(dataset)
    assert caught.value.tag == "SegmentNumber"


def test_damaged_bytes_are_left_to_pydicom() -> None:
    dataset = read_again(segmentation(segment(1, SegmentLabel="Liver")))
    element = dataset.get_item("SegmentSequence")
    for length in range(1, len(element.value)):
        damaged = element._replace(value=element.value[:length])
        dataset._dict[element.tag] = damaged
        assert plain_items(dataset) is None


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_give_an_error_of_this_package_or_a_text_less(data: st.DataObject) -> None:
    dataset = read_again(
        segmentation(
            segment(1, SegmentLabel="Liver", TrackingUID="1.2"), segment(2, SegmentLabel="Spleen")
        )
    )
    element = dataset.get_item("SegmentSequence")
    content = bytearray(element.value)
    start = data.draw(st.integers(0, len(content) - 8))
    content[start : start + 8] = data.draw(st.binary(min_size=8, max_size=8))
    dataset._dict[element.tag] = element._replace(value=bytes(content))
    try:
        items = read_segment_items(dataset)
    except DicomError:
        return
    assert all(isinstance(item.number, int) for item in items)


@pytest.mark.filterwarnings("ignore:End of file reached:UserWarning")
@pytest.mark.parametrize(
    "damage",
    [
        {b"SH\x04\x0099AB": b"\xff\xff\xff\xff99AB", b"Spleen": b"\xff\xff\xff\xffen"},
        {b"\x08\x00\x04\x01LO": b"\x08\x00\x04\x01PO"},
    ],
    ids=["lengths", "VR"],
)
def test_a_damaged_code_is_a_meaning_less_with_a_warning(damage: dict[bytes, bytes]) -> None:
    dataset = read_again(
        segmentation(segment(1, SegmentLabel="Liver", meaning="Spleen", TrackingUID="1.2"))
    )
    element = dataset.get_item("SegmentSequence")
    content = element.value
    for bytes_before, bytes_after in damage.items():
        assert content.count(bytes_before) == 1
        content = content.replace(bytes_before, bytes_after)
    dataset._dict[element.tag] = element._replace(value=content)
    with pytest.warns(DicomWarning, match=r"in item 1 .*\(0062,000F\)") as caught:
        (item,) = read_segment_items(dataset)
    (warning,) = (w.message for w in caught if isinstance(w.message, DicomWarning))
    assert warning.tag == "SegmentedPropertyTypeCodeSequence"
    assert item.texts == {"SegmentLabel": "Liver", "TrackingUID": "1.2"}


@pytest.mark.filterwarnings("ignore:End of file reached:UserWarning")
@pytest.mark.skipif(not CASES.exists(), reason="no cases")
def test_the_damaged_description_of_a_real_case() -> None:
    dataset = dcmread(CASES / "damaged_segment_description.dcm", stop_before_pixels=True)
    with pytest.warns(DicomWarning, match="in item 3"):
        items = read_segment_items(dataset)
    assert [item.number for item in items] == [0, 1, 2, 3]
    labels = [item.text("SegmentLabel") for item in items]
    assert labels == ["Background", "Liver", "Spleen", "Aorta"]
    assert items[2].text("SegmentedPropertyTypeCodeSequence") == ""
