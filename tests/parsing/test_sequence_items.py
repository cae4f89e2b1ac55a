"""Items of sequences as they come from a file, held to pydicom's."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from xarray_dicom.parsing.element_values import Conversions, as_tag
from xarray_dicom.parsing.functional_groups import tag
from xarray_dicom.parsing.sequence_items import sequence_items

PATHS = tag("OpticalPathSequence")


def path(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


ITEMS: dict[str, list[Dataset]] = {
    "none": [],
    "one": [path(OpticalPathIdentifier="1", IlluminationWaveLength=488.0)],
    "several": [path(OpticalPathIdentifier=str(number)) for number in range(3)],
    "empty": [path(), path(OpticalPathDescription="")],
    "text": [path(OpticalPathDescription="Färbung")],
    "own character set": [
        path(SpecificCharacterSet="ISO_IR 192", OpticalPathDescription="Färbung")
    ],
    "nested": [path(IlluminationTypeCodeSequence=Sequence([path(CodeValue="111744")]))],
    "long": [path(ICCProfile=bytes(20_000))],
}


def read(items: list[Dataset], *, undefined: bool, implicit: bool, little: bool) -> Dataset:
    """Return a data set as it comes from a file: nothing of it is converted yet."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.OpticalPathSequence = Sequence(items)
    for item in items:
        item.is_undefined_length_sequence_item = undefined
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, dataset)
    return read_dataset(BytesIO(file.getvalue()), implicit, little)


@pytest.mark.parametrize("items", ITEMS.values(), ids=ITEMS)
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize(("implicit", "little"), [(False, True), (True, True), (False, False)])
def test_items_are_those_of_pydicom(
    items: list[Dataset], undefined: bool, implicit: bool, little: bool
) -> None:
    encoding = {"undefined": undefined, "implicit": implicit, "little": little}
    found = sequence_items(read(items, **encoding), PATHS, Conversions())
    assert list(found) == list(read(items, **encoding).OpticalPathSequence)


def test_nested_items_and_their_text_are_those_of_pydicom() -> None:
    text = path(CodeMeaning="Färbung")
    items = [path(IlluminationTypeCodeSequence=Sequence([text]))]
    dataset = read(items, undefined=False, implicit=False, little=True)
    conversions = Conversions()
    (outer,) = sequence_items(dataset, PATHS, conversions)
    (inner,) = sequence_items(outer, tag("IlluminationTypeCodeSequence"), conversions)
    assert inner.CodeMeaning == "Färbung"
    assert isinstance(dataset.get_item(as_tag(PATHS)), RawDataElement)


def test_sequences_of_the_same_bytes_share_their_items() -> None:
    conversions = Conversions()
    encoding = {"undefined": False, "implicit": False, "little": True}
    first, second = (
        sequence_items(read(ITEMS["several"], **encoding), PATHS, conversions) for _ in range(2)
    )
    assert first is second


def test_absent_sequence_has_no_items() -> None:
    assert list(sequence_items(Dataset(), PATHS, Conversions())) == []


def raw(content: bytes) -> Dataset:
    element = RawDataElement(as_tag(PATHS), "SQ", len(content), content, 0, False, True)
    return Dataset({as_tag(PATHS): element})


def outcome(read_items: Any) -> Any:
    try:
        # Elements are compared as they are stored: some can't be converted.
        return [
            {key: item.get_item(key).value for key in sorted(item.keys())} for item in read_items()
        ]
    except Exception as error:
        return type(error)


GOOD = struct.pack("<HHLHH2sH2s", 0xFFFE, 0xE000, 10, 0x0048, 0x0106, b"SH", 2, b"1 ")


@given(st.integers(0, len(GOOD)), st.binary(max_size=24))
def test_damaged_sequences_are_left_to_pydicom(cut: int, junk: bytes) -> None:
    content = GOOD[:cut] + junk
    assert outcome(lambda: sequence_items(raw(content), PATHS, Conversions())) == outcome(
        lambda: raw(content)[as_tag(PATHS)].value
    )
