"""Items of the Segment Sequence of a segmentation (PS3.3 C.8.20.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing.damage import VALUE_ERRORS
from xarray_dicom.parsing.elements import Path, Trace, joined
from xarray_dicom.parsing.encoding import Encoding, IncompleteError, MalformedError
from xarray_dicom.parsing.functional import tag
from xarray_dicom.parsing.items import trace_items
from xarray_dicom.parsing.walk import Wanted
from xarray_dicom.warn import warn


@dataclass(frozen=True, slots=True)
class SegmentItem:
    """One item of the Segment Sequence.

    Attributes
    ----------
    number
        Segment Number.
    texts
        Texts that are there, by keyword; of a code its Code Meaning, by the keyword of the
        code's sequence.
    """

    number: int
    texts: dict[str, str]

    def text(self, keyword: str) -> str:
        """Return the text of an element; empty where there is none."""
        return self.texts.get(keyword, "")


#: Elements of an item that are texts, and sequences of one code.
TEXTS = (
    "SegmentLabel",
    "SegmentAlgorithmType",
    "SegmentAlgorithmName",
    "TrackingID",
    "TrackingUID",
    "SegmentDescription",
)
CODES = ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence")

_PATHS: dict[str, Path] = {
    **{keyword: (tag(keyword),) for keyword in TEXTS},
    **{keyword: (tag(keyword), tag("CodeMeaning")) for keyword in CODES},
}
_NUMBER: Path = (tag("SegmentNumber"),)
_CHARACTER_SET: Path = (tag("SpecificCharacterSet"),)

#: Longest values in bytes of the VRs whose texts are taken from their bytes (PS3.5 6.2).
_LONGEST = {"CS": 16, "SH": 16, "LO": 64, "UI": 64, "ST": 1024, "UT": 2**16}

#: Escape sequences change the character set; a backslash parts values.
_SPECIAL = frozenset(b"\x1b\\")

#: Damage raises these: pydicom unpacks headers of nested elements when they are asked for.
_DAMAGE: tuple[type[Exception], ...] = (*VALUE_ERRORS, struct.error, OSError)


def read_segment_items(dataset: Dataset) -> list[SegmentItem]:
    """Return the items of the Segment Sequence, in file order; none where there is no sequence.

    Raises
    ------
    CorruptDicomError
        If the sequence can't be read, or an item has no Segment Number.

    Warns
    -----
    DicomWarning
        If a text can't be read, which is then left out.
    """
    items = plain_items(dataset)
    if items is not None:
        return items
    try:
        sequence = list(dataset.get("SegmentSequence") or [])
    except _DAMAGE as error:
        raise CorruptDicomError(
            f"the Segment Sequence (0062,0002) can't be read: {error}", tag="SegmentSequence"
        ) from error
    return [read_item(item, position) for position, item in enumerate(sequence, 1)]


def read_item(item: Dataset, position: int) -> SegmentItem:
    """Return an item of the Segment Sequence, the `position`-th from 1, as pydicom reads it."""
    try:
        number = item.get("SegmentNumber")
    except _DAMAGE as error:
        raise CorruptDicomError(
            f"the Segment Number of item {position} of the Segment Sequence (0062,0002) can't be "
            f"read: {error}",
            tag="SegmentNumber",
        ) from error
    if not isinstance(number, int):
        raise CorruptDicomError(
            f"item {position} of the Segment Sequence (0062,0002) has the Segment Number "
            f"{number!r}",
            tag="SegmentNumber",
        )
    texts = {keyword: _read(item, keyword, _text, position) for keyword in TEXTS}
    texts |= {keyword: _read(item, keyword, _meaning, position) for keyword in CODES}
    return SegmentItem(int(number), {key: text for key, text in texts.items() if text})


def _read(item: Dataset, keyword: str, convert: Callable[[Any], str], position: int) -> str:
    """Return the text of an element of an item; empty, with a warning, where it is damaged.

    Parameters
    ----------
    item
        Item of the Segment Sequence.
    keyword
        Keyword of the element.
    convert
        Makes the text from the element's value.
    position
        Position of the item from 1, for the warning.
    """
    try:
        return convert(item.get(keyword))
    except _DAMAGE as error:
        warn(
            f"an element in item {position} of the Segment Sequence (0062,0002) can't be read and "
            f"is left empty: {error}",
            tag=keyword,
        )
        return ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _meaning(codes: Any) -> str:
    return _text(codes[0].get("CodeMeaning")) if codes else ""


def plain_items(dataset: Dataset) -> list[SegmentItem] | None:
    """Return the items straight from their bytes; None unless all of them are plain ASCII.

    pydicom takes a quarter of a millisecond for an item, which is most of the time of opening.
    """
    element = dataset.get_item("SegmentSequence")
    if not isinstance(element, RawDataElement) or not element.value:
        return None
    content = element.value
    encoding = Encoding(element.is_implicit_VR, element.is_little_endian)
    wanted = Wanted((*_PATHS.values(), _NUMBER, _CHARACTER_SET))
    try:
        trace = trace_items(content, 0, len(content), encoding, wanted)
    except (MalformedError, IncompleteError):
        return None
    if trace.count == 0 or trace.end != len(content) or _CHARACTER_SET in trace.leaves:
        return None
    numbers = joined(trace.leaves.get(_NUMBER, []))
    order = np.argsort(numbers.item, kind="stable")
    if not np.array_equal(numbers.item[order], np.arange(trace.count)):
        return None
    if encoding.implicit_vr or (numbers.vr != _code("US")).any() or (numbers.length != 2).any():
        return None
    texts: list[dict[str, str]] = [{} for _ in range(trace.count)]
    for keyword, path in _PATHS.items():
        column = _plain_texts(content, trace, path)
        if column is None:
            return None
        for position, text in column.items():
            if text:
                texts[position][keyword] = text
    endian: Literal["little", "big"] = "little" if encoding.little_endian else "big"
    return [
        SegmentItem(int.from_bytes(content[offset : offset + 2], endian), texts[position])
        for position, offset in enumerate(numbers.offset[order].tolist())
    ]


def _plain_texts(content: bytes, trace: Trace, path: Path) -> dict[int, str] | None:
    """Return the text of an element by position of its item; None if one is not plain ASCII.

    Parameters
    ----------
    content
        Bytes of the sequence.
    trace
        Items of the sequence.
    path
        Path of the element in an item.
    """
    leaves = joined(trace.leaves.get(path, []))
    texts: dict[int, str] = {}
    rows = (leaves.item, leaves.offset, leaves.length, leaves.vr)
    for item, offset, length, vr in zip(*(row.tolist() for row in rows), strict=True):
        encoded = content[offset : offset + length]
        longest = _LONGEST.get(vr.to_bytes(2, "little").decode("latin-1"), -1)
        if item in texts or length > longest or not encoded.isascii() or _SPECIAL & set(encoded):
            return None
        texts[item] = encoded.decode().rstrip("\0 ")
    return texts


def _code(vr: str) -> int:
    """Return a VR as `Leaves` has it."""
    return int.from_bytes(vr.encode(), "little")
