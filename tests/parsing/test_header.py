"""Headers read by range: every spelling, few requests, clear errors."""

from __future__ import annotations

import io
import re
import time
import zlib

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from support.encoded_objects import (
    dataset_bytes,
    image,
    leave_lengths_undefined,
    nested,
    opened,
    part10,
    wait,
)
from xarray_dicom.errors import (
    CorruptDicomError,
    DicomWarning,
    NotDicomError,
    UnsupportedDicomError,
)
from xarray_dicom.parsing import deflate, outline
from xarray_dicom.parsing.header import Header, complete_header, read_header
from xarray_dicom.storage import RecordingSource

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def rich_image(frames: int = 3, undefined: bool = False) -> Dataset:
    """An image with functional groups, an icon, and private content that looks like structure."""
    dataset = image(frames=frames)
    icon = image(2, 2, 1)
    dataset.IconImageSequence = Sequence([icon])
    dataset.add_new(0x00091001, "OB", bytes.fromhex("feffdde000000000e07f1000"))
    items = []
    for frame in range(frames):
        content, item = Dataset(), Dataset()
        content.DimensionIndexValues = [1, frame + 1]
        item.FrameContentSequence = Sequence([content])
        items.append(item)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(items)
    shared = Dataset()
    shared.CodeMeaning = "shared"
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    if undefined:
        for element in dataset:
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    leave_lengths_undefined(item)
    return dataset


def read(content: bytes, first: int = 2**18) -> Header:
    return wait(read_header(opened(content), first=first))


def pixels(header: Header, content: bytes) -> bytes:
    assert header.pixel is not None
    assert header.pixel.length is not None
    return content[header.pixel.offset : header.pixel.offset + header.pixel.length]


@pytest.mark.parametrize("first", [1, 132, 200, 777, 2**18])
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_equals_pydicom_in_every_encoding(syntax: str, undefined: bool, first: int) -> None:
    content = part10(rich_image(undefined=undefined), syntax)
    header = read(content, first)
    oracle = pydicom.dcmread(io.BytesIO(content))
    pixel_data = oracle.PixelData
    del oracle.PixelData
    assert wait(complete_header(opened(content), first=first)) == oracle
    del oracle.PerFrameFunctionalGroupsSequence
    assert header.dataset == oracle
    assert header.dataset.file_meta == oracle.file_meta
    assert header.transfer_syntax == syntax
    assert pixels(header, content) == pixel_data
    assert header.per_frame is not None
    assert header.per_frame.length_is_undefined == undefined
    assert content.startswith(header.head)


def test_the_header_costs_one_request_and_its_rest_one_round() -> None:
    content = part10(rich_image(20000))
    source = RecordingSource(opened(content))
    header = wait(read_header(source, first=2**16))
    assert header.pixel is not None
    assert source.bytes_read < header.pixel.offset + 2**15
    # The first request, the rest of the groups in requests of some MB, the shared tail.
    assert len(source.requests) <= 3
    small = RecordingSource(opened(part10(image())))
    wait(read_header(small))
    assert len(small.requests) == 1


def test_groups_of_unknown_length_are_fetched_by_estimate() -> None:
    content = part10(rich_image(20000, undefined=True))
    source = RecordingSource(opened(content))
    header = wait(read_header(source, first=2**16))
    assert header.per_frame is not None
    assert len(header.per_frame.content) > 10 * 2**16
    assert len(source.requests) <= 4


def test_without_preamble_and_without_meta() -> None:
    whole = part10(image())
    for content in (whole[132:], dataset_bytes(image()), dataset_bytes(image(), implicit=True)):
        header = read(content)
        assert header.dataset.PatientName == "Nobody"
        assert pixels(header, content) == image().PixelData


def test_big_endian_without_meta() -> None:
    header = read(dataset_bytes(image(), little=False))
    assert header.transfer_syntax == ExplicitVRBigEndian
    assert header.dataset.Rows == 4


@pytest.mark.parametrize("obeyed", SYNTAXES)
@pytest.mark.parametrize("stated", SYNTAXES)
def test_bytes_that_obey_another_syntax(stated: str, obeyed: str) -> None:
    if stated == obeyed:
        return
    meta = part10(Dataset(), stated)
    body = part10(image(), obeyed)
    body = body[len(part10(Dataset(), obeyed)) :]
    with pytest.warns(DicomWarning, match=f"stated as {stated}, .* encoded like {obeyed};"):
        header = read(meta + body)
    assert header.transfer_syntax == obeyed
    assert header.dataset.PatientName == "Nobody"


def test_deflated() -> None:
    content = part10(rich_image(), DeflatedExplicitVRLittleEndian)
    with pytest.warns(DicomWarning, match="no random access"):
        header = read(content, first=200)
    assert header.inflated is not None
    assert header.dataset.PatientName == "Nobody"
    assert header.per_frame is not None
    assert pixels(header, header.inflated) == image().PixelData


@pytest.mark.filterwarnings("ignore::xarray_dicom.DicomWarning")
def test_deflated_and_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    content = part10(rich_image(), DeflatedExplicitVRLittleEndian)
    with pytest.raises(CorruptDicomError, match="cut short"):
        read(content[:-20])
    start = len(part10(Dataset(), DeflatedExplicitVRLittleEndian)) - 4
    with pytest.raises(CorruptDicomError, match="damaged"):
        read(content[:start] + b"\xff" * 100)
    monkeypatch.setattr(deflate, "INFLATED_LIMIT", 2**16)
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    meta = content[: content.index(b"1.2.840.10008.1.2.1.99") + 22]
    bomb = engine.compress(bytes(2**24)) + engine.flush()
    with pytest.raises(UnsupportedDicomError, match="larger than 65536 bytes"):
        read(part10(Dataset(), DeflatedExplicitVRLittleEndian)[: len(meta)] + bomb)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"DICM",
        b"<!DOCTYPE html><html><head><title>403 Forbidden</title></head></html>" * 5,
        b'{"error": {"code": 403, "message": "denied"}}' * 9,
        b"II*\0\x08\0\0\0" + bytes(300),
        bytes(1000),
        bytes(range(256)) * 8,
        b"\x08\0\x05\0CS\x0a\0ISO_IR 100 and then prose that is no data set" * 3,
    ],
    ids=["empty", "short", "html", "json", "tiff", "zeros", "ramp", "prose"],
)
def test_not_dicom(content: bytes) -> None:
    with pytest.raises(NotDicomError, match="bytes>: is not DICOM"):
        read(content)


@pytest.mark.parametrize("undefined", [False, True])
def test_every_truncation_of_the_header_is_named(undefined: bool) -> None:
    content = part10(rich_image(undefined=undefined))
    pixel = read(content).pixel
    assert pixel is not None
    complete = 0
    for length in range(140, pixel.offset):
        try:
            header = read(content[:length])
        except CorruptDicomError as error:
            message = str(error)
        else:
            # Cut between two elements: nothing tells that there were more.
            complete += 1
            assert header.pixel is None
            continue
        assert re.search(r"\([0-9A-F]{4},[0-9A-F]{4}\)|an element at byte", message), message
    assert complete < 60
    for length in range(pixel.offset, len(content)):
        assert read(content[:length]).pixel == pixel


def test_length_beyond_the_object() -> None:
    content = part10(image()).replace(b"PN\x06\0", b"PN\xfe\xff")
    with pytest.raises(CorruptDicomError, match=r"\(0010,0010\).* the object ends at byte"):
        read(content)


def test_huge_header_is_refused_before_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "LARGEST_HEADER", 2**20)
    dataset = image()
    dataset.add_new(0x00091001, "OB", bytes(2**21))
    source = RecordingSource(opened(part10(dataset)))
    with pytest.raises(UnsupportedDicomError, match=r"\(0009,1001\)"):
        wait(read_header(source))
    assert source.bytes_read <= 2**18


@pytest.mark.parametrize("undefined", [False, True])
def test_deep_nesting_is_refused(undefined: bool) -> None:
    """10,000 sequences in one another, written by hand: pydicom would recurse."""
    header = bytes.fromhex("400030a7") + b"SQ\0\0"
    item, levels = bytes.fromhex("feff00e0"), 10000
    if undefined:
        body = (header + b"\xff" * 4 + item + b"\xff" * 4) * levels
        body += (
            bytes.fromhex("feff0de0") + bytes(4) + bytes.fromhex("feffdde0") + bytes(4)
        ) * levels
    else:
        parts = []
        for level in range(levels - 1, -1, -1):
            outer, inner = (20 * level + 8, 20 * level)
            parts.append(header + outer.to_bytes(4, "little") + item + inner.to_bytes(4, "little"))
        body = b"".join(parts)
    content = part10(Dataset()) + body
    begin = time.perf_counter()
    with pytest.raises(CorruptDicomError, match=r"\(0040,A730\).*nested more than 64"):
        read(content)
    assert time.perf_counter() - begin < 30


def test_moderate_nesting_is_read() -> None:
    for dataset in (nested(40), nested(40)):
        leave_lengths_undefined(dataset)
        header = read(part10(dataset))
        assert header.dataset == dataset
        assert header.pixel is None


def test_sequence_without_delimiter() -> None:
    dataset = rich_image(undefined=True)
    del dataset.PixelData
    content = part10(dataset)
    with pytest.raises(CorruptDicomError, match=r"\(5200,9230\)"):
        read(content[:-8])


def test_pixel_data_ends_the_header() -> None:
    dataset = image()
    dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 100)
    header = read(part10(dataset))
    assert 0xFFFCFFFC not in header.dataset
    assert header.pixel is not None
    assert header.pixel.keyword == "PixelData"


def test_float_pixels_and_none() -> None:
    dataset = image()
    del dataset.PixelData
    assert read(part10(dataset)).pixel is None
    dataset.FloatPixelData = bytes(240)
    pixel = read(part10(dataset)).pixel
    assert pixel is not None
    assert (pixel.keyword, pixel.length) == ("FloatPixelData", 240)


def test_trailing_zeros_are_padding() -> None:
    dataset = image()
    del dataset.PixelData
    assert read(part10(dataset) + bytes(5)).dataset.Rows == 4
    begin = time.perf_counter()
    with pytest.raises(CorruptDicomError, match="more than 65536 elements"):
        read(part10(dataset) + bytes(2**23))
    assert time.perf_counter() - begin < 30
