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
from pydicom.uid import ExplicitVRLittleEndian

from xarray_dicom import DicomWarning
from xarray_dicom.errors import located
from xarray_dicom.parsing.element_values import Conversions, plain_numbers, raw_value
from xarray_dicom.parsing.functional_groups import tag
from xarray_dicom.parsing.header import Header
from xarray_dicom.parsing.image_pixel import common_format
from xarray_dicom.parsing.outline import PixelElement
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
