"""Descriptions of segments (PS3.3 C.8.20.4, Segment Sequence)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError


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
    segments = []
    for position, item in enumerate(dataset.get("SegmentSequence") or [], 1):
        number = item.get("SegmentNumber")
        if not isinstance(number, int):
            raise CorruptDicomError(
                f"{location}: item {position} of the Segment Sequence (0062,0002) has the Segment "
                f"Number {number!r}"
            )
        segments.append(
            Segment(
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
        )
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


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return "" if value is None else str(value)


def _meaning(item: Dataset, keyword: str) -> str:
    codes = item.get(keyword)
    return _text(codes[0], "CodeMeaning") if codes else ""
