"""Descriptions of segments (PS3.3 C.8.20.4, Segment Sequence)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing.elements import Path, Trace, joined
from xarray_dicom.parsing.encoding import Encoding, IncompleteError, MalformedError
from xarray_dicom.parsing.functional import tag
from xarray_dicom.parsing.items import trace_items
from xarray_dicom.parsing.walk import Wanted


@dataclass(frozen=True, slots=True)
class Segment:
    """One item of the Segment Sequence; texts are empty where the file has none."""

    number: int
    label: str
    category: str
    type: str
    algorithm_type: str
    algorithm_name: str
    tracking_id: str
    tracking_uid: str
    description: str


def read_segments(dataset: Dataset, location: str) -> tuple[Segment, ...]:
    """Segments in ascending order of their numbers.

    Raises
    ------
    CorruptDicomError
        If a number is missing or stands twice.
    """
    segments = _plainly_spelled(dataset)
    if segments is None:
        segments = [
            _read_item(item, position, location)
            for position, item in enumerate(dataset.get("SegmentSequence") or [], 1)
        ]
    segments.sort(key=lambda segment: segment.number)
    for one, two in pairwise(segments):
        if one.number == two.number:
            raise CorruptDicomError(
                f"{location}: Segment Number {one.number} stands for both {one.label!r} and "
                f"{two.label!r}"
            )
    if not segments:
        raise CorruptDicomError(f"{location}: the Segment Sequence (0062,0002) is empty or missing")
    return tuple(segments)


def _read_item(item: Dataset, position: int, location: str) -> Segment:
    number = item.get("SegmentNumber")
    if not isinstance(number, int):
        raise CorruptDicomError(
            f"{location}: item {position} of the Segment Sequence (0062,0002) has the Segment "
            f"Number {number!r}"
        )
    return Segment(
        number=int(number),
        label=_text(item, "SegmentLabel"),
        category=_meaning(item, "SegmentedPropertyCategoryCodeSequence"),
        type=_meaning(item, "SegmentedPropertyTypeCodeSequence"),
        algorithm_type=_text(item, "SegmentAlgorithmType"),
        algorithm_name=_text(item, "SegmentAlgorithmName"),
        tracking_id=_text(item, "TrackingID"),
        tracking_uid=_text(item, "TrackingUID"),
        description=_text(item, "SegmentDescription"),
    )


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return "" if value is None else str(value)


def _meaning(item: Dataset, keyword: str) -> str:
    codes = item.get(keyword)
    return _text(codes[0], "CodeMeaning") if codes else ""


#: Where the texts of a segment lie in its item, by attribute of `Segment`.
_PATHS: dict[str, Path] = {
    "label": (tag("SegmentLabel"),),
    "category": (tag("SegmentedPropertyCategoryCodeSequence"), tag("CodeMeaning")),
    "type": (tag("SegmentedPropertyTypeCodeSequence"), tag("CodeMeaning")),
    "algorithm_type": (tag("SegmentAlgorithmType"),),
    "algorithm_name": (tag("SegmentAlgorithmName"),),
    "tracking_id": (tag("TrackingID"),),
    "tracking_uid": (tag("TrackingUID"),),
    "description": (tag("SegmentDescription"),),
}
_NUMBER: Path = (tag("SegmentNumber"),)
_CHARACTER_SET: Path = (tag("SpecificCharacterSet"),)

#: Texts of these VRs are taken from their bytes, up to so many.
_LONGEST = {"CS": 16, "SH": 16, "LO": 64, "UI": 64, "ST": 1024, "UT": 2**16}


def _plainly_spelled(dataset: Dataset) -> list[Segment] | None:
    """The segments, straight from their bytes; None if these are not quite plain.

    pydicom takes a quarter of a millisecond for each, which is most of what opening takes.
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
    texts = {name: _plain_texts(content, trace, path) for name, path in _PATHS.items()}
    if None in texts.values():
        return None
    endian: Literal["little", "big"] = "little" if encoding.little_endian else "big"
    return [
        Segment(
            number=int.from_bytes(content[offset : offset + 2], endian),
            **{name: (found or {}).get(position, "") for name, found in texts.items()},
        )
        for position, offset in enumerate(numbers.offset[order].tolist())
    ]


def _plain_texts(content: bytes, trace: Trace, path: Path) -> dict[int, str] | None:
    """Text of an element by position of its item; None if one is not plain ASCII."""
    leaves = joined(trace.leaves.get(path, []))
    texts: dict[int, str] = {}
    rows = (leaves.item, leaves.offset, leaves.length, leaves.vr)
    for item, offset, length, vr in zip(*(row.tolist() for row in rows), strict=True):
        spelled = content[offset : offset + length]
        longest = _LONGEST.get(vr.to_bytes(2, "little").decode("latin-1"), -1)
        if item in texts or length > longest or not spelled.isascii() or _SPECIAL & set(spelled):
            return None
        texts[item] = spelled.decode().rstrip("\0 ")
    return texts


#: Escape sequences change the character set; a backslash parts values.
_SPECIAL = frozenset(b"\x1b\\")


def _code(vr: str) -> int:
    return int.from_bytes(vr.encode(), "little")
