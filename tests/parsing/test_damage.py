"""Damaged objects raise errors of this package, quickly, or are read; nothing else."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from test_header import rich_image

from support.encoded_objects import SEQUENCE_DELIMITER, opened, part10, wait
from xarray_dicom.errors import DicomError
from xarray_dicom.frames.framing import unwrap
from xarray_dicom.frames.offsets import find_offsets, scan
from xarray_dicom.parsing.columns import read_columns
from xarray_dicom.parsing.header import complete_header, read_header
from xarray_dicom.pixel_format import PixelFormat

PATHS = {(0x00209111, 0x00209157): "UL", (0x00209113, 0x00200032): "DS"}


def encapsulated() -> bytes:
    dataset = rich_image()
    del dataset.PixelData
    value = encapsulate([b"\xff\xd8\xff" + bytes(9)] * 3, has_bot=False) + SEQUENCE_DELIMITER
    header = bytes.fromhex("e07f1000") + b"OB\0\0\xff\xff\xff\xff"
    return part10(dataset, JPEGBaseline8Bit) + header + value


OBJECTS = [
    part10(rich_image(undefined=undefined), syntax)
    for undefined in (False, True)
    for syntax in (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    )
] + [encapsulated()]


def read_all(content: bytes) -> None:
    """Everything that opening an image does, and its frames' offsets."""
    source = opened(content)
    header = wait(read_header(source, first=500))
    wait(complete_header(source))
    if header.per_frame is not None:
        read_columns(header.per_frame, PATHS, 3)
    layout = PixelFormat(header.transfer_syntax, 4, 5, 1, 16, 16, 0, "MONOCHROME2")
    offsets = wait(find_offsets(source, header, 3, layout))
    offsets = offsets or wait(scan(source, header, 3, layout))
    spans = offsets.byte_ranges(np.arange(3))
    whole = content if header.inflated is None else header.inflated
    for start, length in zip(spans.offset.tolist(), spans.length.tolist(), strict=True):
        unwrap(offsets.framing, whole[start : start + length])


def read_or_refuse(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(DicomError):
            read_all(content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("content", OBJECTS)
def test_sound_objects_are_read(content: bytes) -> None:
    read_all(content)


@settings(max_examples=250, deadline=2000)
@given(st.sampled_from(OBJECTS), st.data())
def test_flipped_bytes(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(128, len(content) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(damaged))


@settings(max_examples=150, deadline=2000)
@given(st.sampled_from(OBJECTS), st.data())
def test_truncated(content: bytes, data: st.DataObject) -> None:
    read_or_refuse(content[: data.draw(st.integers(0, len(content)))])


@settings(max_examples=150, deadline=2000)
@given(st.sampled_from(OBJECTS), st.data())
def test_spliced(content: bytes, data: st.DataObject) -> None:
    first, second = sorted(data.draw(st.tuples(*[st.integers(132, len(content))] * 2)))
    extreme = data.draw(st.sampled_from([b"\xff" * 4, b"\xff\xff\xff\x7f", bytes(8)]))
    read_or_refuse(content[:first] + extreme + content[second:])


@settings(max_examples=200, deadline=2000)
@given(st.binary(max_size=600), st.booleans())
def test_noise(noise: bytes, prefixed: bool) -> None:
    read_or_refuse(bytes(128) + b"DICM" + noise if prefixed else noise)
