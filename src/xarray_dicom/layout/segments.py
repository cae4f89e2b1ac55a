"""Descriptions of segments (PS3.3 C.8.20.4, Segment Sequence)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing.segment_sequence import read_segment_items


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


def read_segments(dataset: Dataset) -> tuple[Segment, ...]:
    """Return the segments of a segmentation, in ascending order of their numbers.

    Raises
    ------
    CorruptDicomError
        If there is none, or a number is missing or stands twice.
    """
    segments = [
        Segment(
            number=item.number,
            label=item.text("SegmentLabel"),
            category=item.text("SegmentedPropertyCategoryCodeSequence"),
            type=item.text("SegmentedPropertyTypeCodeSequence"),
            algorithm_type=item.text("SegmentAlgorithmType"),
            algorithm_name=item.text("SegmentAlgorithmName"),
            tracking_id=item.text("TrackingID"),
            tracking_uid=item.text("TrackingUID"),
            description=item.text("SegmentDescription"),
        )
        for item in read_segment_items(dataset)
    ]
    segments.sort(key=lambda segment: segment.number)
    for first, second in pairwise(segments):
        if first.number == second.number:
            raise CorruptDicomError(
                f"Segment Number {first.number} stands for both {first.label!r} and "
                f"{second.label!r}",
                tag="SegmentNumber",
            )
    if not segments:
        raise CorruptDicomError(
            "the Segment Sequence (0062,0002) is empty or missing", tag="SegmentSequence"
        )
    return tuple(segments)
