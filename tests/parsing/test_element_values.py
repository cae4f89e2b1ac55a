"""Values converted once for all that have the same bytes, held to pydicom's."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

from xarray_dicom import DicomWarning
from xarray_dicom.errors import CorruptDicomError, located
from xarray_dicom.parsing.element_values import Conversions, plain_numbers, plain_value, raw_value
from xarray_dicom.parsing.functional_groups import tag
from xarray_dicom.parsing.header import Header
from xarray_dicom.parsing.image_pixel import common_format, number_of_frames
from xarray_dicom.parsing.outline import PixelElement
from xarray_dicom.parsing.value_errors import values_read
from xarray_dicom.pixel_format import PixelFormat

VALUES: dict[str, Any] = {
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "SOPInstanceUID": "1.2.3",
    "StudyTime": "120000",
    "Manufacturer": "Maker",
    "KVP": "120",
    "PixelSpacing": ["0.5", "0.25"],
    "SeriesNumber": "7",
    "Rows": 12,
    "PixelRepresentation": 1,
    "PixelPaddingValue": -5,
    "DiffusionBValue": 700.5,
    "DimensionIndexPointer": Tag("ImagePositionPatient"),
    "InstanceNumber": "",
}


def read(implicit: bool, little: bool, **values: Any) -> Dataset:
    """A data set as it comes from a file: nothing of it is converted yet."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if "PixelPaddingValue" in values:
        dataset["PixelPaddingValue"].VR = "SS" if dataset.get("PixelRepresentation") else "US"
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, dataset)
    return read_dataset(BytesIO(file.getvalue()), implicit, little)


@pytest.mark.parametrize(("implicit", "little"), [(False, True), (True, True), (False, False)])
def test_values_are_those_of_pydicom(implicit: bool, little: bool) -> None:
    conversions = Conversions()
    for _ in range(2):
        dataset = read(implicit, little, **VALUES)
        expected = read(implicit, little, **VALUES)
        for keyword in VALUES:
            assert conversions.value(dataset, tag(keyword)) == expected.get(keyword), keyword
    assert conversions.value(dataset, tag("EchoTime")) is None


def test_equal_bytes_are_converted_once() -> None:
    conversions = Conversions()
    for _ in range(3):
        dataset = read(False, True, PixelSpacing=["1", "2"], Manufacturer="Maker")
        values = [
            conversions.value(dataset, tag(name)) for name in ("PixelSpacing", "Manufacturer")
        ]
        raw = [
            isinstance(dataset.get_item(name), RawDataElement)
            for name in ("PixelSpacing", "Manufacturer")
        ]
        assert values == [[1, 2], "Maker"]
    assert raw == [True, True]


def test_purposes_are_told_apart() -> None:
    conversions, dataset = Conversions(), read(False, True, KVP="80")
    assert [conversions.once(dataset, tag("KVP"), name, lambda n=name: n) for name in "aba"] == [
        *"aba"
    ]


def test_byte_orders_are_told_apart() -> None:
    conversions = Conversions()
    swapped = read(False, False, Rows=0x0102)
    assert conversions.value(swapped, tag("Rows")) == 0x0102
    assert conversions.value(read(False, True, Rows=0x0201), tag("Rows")) == 0x0201


def test_bytes_that_mean_different_things_are_not_shared() -> None:
    conversions = Conversions()
    for sign, value in ((0, 65531), (1, -5), (0, 65531)):
        dataset = read(True, True, PixelRepresentation=sign, PixelPaddingValue=value)
        assert conversions.value(dataset, tag("PixelPaddingValue")) == value
    for charset, expected in (("ISO_IR 100", "é"), ("ISO_IR 144", "щ")):
        dataset = read(False, True, SpecificCharacterSet=charset, SeriesDescription=expected)
        assert dataset.get_item("SeriesDescription").value.strip() == b"\xe9"
        assert conversions.value(dataset, tag("SeriesDescription")) == expected


def test_errors_are_raised_each_time() -> None:
    conversions = Conversions()
    for _ in range(2):
        dataset = Dataset()
        dataset[Tag("Rows")] = RawDataElement(Tag("Rows"), "US", 3, b"abc", 0, False, True)
        with pytest.raises(Exception, match=r"unpack|length|multiple"):
            conversions.value(dataset, tag("Rows"))


@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=False).map(lambda v: f"{v:.10g}"),
            st.from_regex(r"\A[-+ 0-9.eE]{0,17}\Z"),
        ),
        max_size=4,
    ),
    st.sampled_from(["", " ", "\0"]),
)
def test_plain_numbers_are_those_of_pydicom(texts: list[str], padding: str) -> None:
    spelled = "\\".join(texts).encode() + padding.encode()
    element = Tag("PixelSpacing")
    dataset = Dataset()
    dataset[element] = RawDataElement(element, "DS", len(spelled), spelled, 0, False, True)
    numbers = plain_numbers(dataset, element)
    if numbers is not None:
        expected = np.atleast_1d(np.asarray(dataset.PixelSpacing, np.float64))
        np.testing.assert_array_equal(numbers, expected)


def test_usual_numbers_are_plain() -> None:
    dataset = read(True, True, PixelSpacing=["-0.5", "1.25E-3"])
    np.testing.assert_array_equal(plain_numbers(dataset, tag("PixelSpacing")), [-0.5, 1.25e-3])
    assert plain_numbers(dataset, tag("Rows")) is None


def test_large_and_nested_values_have_no_spelling() -> None:
    dataset = read(
        False, True, DerivationDescription="x" * 1000, ReferencedImageSequence=[Dataset()]
    )
    assert raw_value(dataset, tag("DerivationDescription")) is not None
    long = read(False, True, DerivationDescription="x" * 1025)
    assert raw_value(long, tag("DerivationDescription")) is None
    assert raw_value(dataset, tag("ReferencedImageSequence")) is None


@pytest.mark.parametrize("value", [None, ""])
def test_each_object_warns_of_what_is_assumed(value: str | None) -> None:
    stated: dict[str, Any] = {
        "Rows": 4,
        "Columns": 5,
        "SamplesPerPixel": 1,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2",
    }
    if value is None:
        del stated["BitsStored"]
    else:
        stated["BitsStored"] = value
    pixel = PixelElement("PixelData", 0, 40, "OW")
    formats = []
    for location in ("first", "second"):
        header = Header(read(False, True, **stated), ExplicitVRLittleEndian, None, pixel, b"")
        with pytest.warns(DicomWarning, match=f"{location}: BitsStored"), located(location):
            formats.append(common_format(header, pixel))
    assert formats[0] == formats[1]
    assert formats[0].bits_stored == 16


def test_headers_of_the_same_bytes_share_a_format_and_others_do_not() -> None:
    stated: dict[str, Any] = {
        "Rows": 4,
        "Columns": 5,
        "SamplesPerPixel": 1,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2",
    }
    pixel = PixelElement("PixelData", 0, 40, "OW")

    def made(**changed: Any) -> PixelFormat:
        dataset = read(False, True, **{**stated, **changed})
        header = Header(dataset, ExplicitVRLittleEndian, None, pixel, b"")
        return common_format(header, pixel)

    assert made() is made()
    assert made(Rows=6).rows == 6
    assert made(PixelRepresentation=1).dtype == np.int16
    assert made().dtype == np.uint16


STORED: list[tuple[str, bytes]] = [
    *(("CS", text) for text in (b"MR", b"MR ", b" MR", b"A\\B ", b"A \\B", b"A\\", b"", b"\0")),
    *(("LO", text) for text in (b"Maker ", b"A\\B", b"A \\B", b"x" * 64, b"\xe9t\xe9", b"  ")),
    *(("SH", text) for text in (b"abc", b"1.0\\2", b"\x1b(Babc")),
    *(("UI", text) for text in (b"1.2.3\0", b"1.2", b"1.2\\3.4", b"", b" 1.2", b"1.2.3 ")),
    *(("IS", text) for text in (b"7", b"007 ", b"-3\\+4", b"1.0", b" 12 ", b"", b"1\\")),
    *(("DS", text) for text in (b"1.5", b"1e3 ", b"1\\2\\3 ", b"1.\\.5", b"", b"1\\ 2\0")),
    *(("US", number) for number in (b"\1\2", b"\1\2\3\4", b"")),
    *(("SS", number) for number in (b"\xff\xff", b"\xff\xff\0\0\x10\0")),
    *(("UL", number) for number in (b"\1\2\3\4", b"\1\2\3\4\5\6\7\x08")),
    *(("SL", number) for number in (b"\xff\xff\xff\xff",)),
    *(("FL", number) for number in (b"\0\0\x80\x3f", b"\0\0\x80\x3f" * 3)),
    *(("FD", number) for number in (b"\0\0\0\0\0\0\xf0\x3f", b"\0\0\0\0\0\0\xf0\x3f" * 2)),
]


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize(("vr", "stored"), STORED)
def test_plain_values_are_those_of_pydicom(vr: str, stored: bytes, little: bool) -> None:
    element = Tag(0x00091010)
    raw = RawDataElement(element, vr, len(stored), stored, 0, False, little)
    dataset = Dataset({element: raw})
    plain = plain_value((element, vr, stored, little))
    expected = Dataset({element: raw})[element].value
    if plain is not None:
        assert plain == expected
        assert type(plain) in (UID if vr == "UI" else str, int, float, list)
    assert Conversions().value(dataset, element) == expected


@given(st.sampled_from(["CS", "LO", "SH", "UI", "IS", "DS"]), st.text(" 0123456789.-+AZ\\\0"))
def test_random_text_is_plain_as_pydicom_reads_it(vr: str, text: str) -> None:
    element, stored = Tag(0x00091010), text.encode()
    plain = plain_value((element, vr, stored, True))
    if plain is not None:
        raw = RawDataElement(element, vr, len(stored), stored, 0, False, True)
        assert plain == Dataset({element: raw})[element].value


def test_usual_values_are_plain() -> None:
    plain = {
        ("CS", b"DERIVED\\PRIMARY "): ["DERIVED", "PRIMARY"],
        ("UI", b"1.2.840.10008\0"): "1.2.840.10008",
        ("DS", b"0.5\\0.25"): [0.5, 0.25],
        ("IS", b"12"): 12,
        ("US", b"\0\2"): 512,
        ("LO", b"Maker "): "Maker",
    }
    for (vr, stored), value in plain.items():
        assert plain_value((0x00091010, vr, stored, True)) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [("0", "is 0"), ("-2", "is -2"), ("2\\3", "not a number"), ("many", "can't be read|not a")],
)
def test_number_of_frames_that_is_none(value: str, message: str) -> None:
    element = Tag("NumberOfFrames")
    raw = RawDataElement(element, "IS", len(value), value.encode(), 0, False, True)
    with pytest.raises(CorruptDicomError, match=message) as error, values_read():
        number_of_frames(Dataset({element: raw}))
    assert error.value.location is None


def test_number_of_frames() -> None:
    assert number_of_frames(Dataset()) == 1
    for stored, frames in {None: 1, "": 1, "1": 1, "12 ": 12, "3.0": 3}.items():
        dataset = read(False, True, NumberOfFrames="1")
        element = Tag("NumberOfFrames")
        raw = None if stored is None else stored.encode()
        dataset[element] = RawDataElement(element, "IS", len(raw or b""), raw, 0, False, True)
        assert number_of_frames(dataset) == frames
