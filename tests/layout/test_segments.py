"""Segments by number, with the texts of their items."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from support.segment_items import code, read_again, segment, segmentation
from xarray_dicom import CorruptDicomError
from xarray_dicom.errors import located
from xarray_dicom.layout.segments import Segment, read_segments


def test_segments_ascend_by_number_with_all_their_texts() -> None:
    dataset = segmentation(
        segment(
            300,
            SegmentLabel="Spleen",
            meaning="Spleen type",
            SegmentedPropertyCategoryCodeSequence=code("Organ"),
            SegmentAlgorithmType="SEMIAUTOMATIC",
            SegmentAlgorithmName="region growing",
            TrackingID="spleen 1",
            TrackingUID="1.2.3",
            SegmentDescription="of the first visit",
        ),
        segment(2, SegmentLabel="Liver"),
    )
    liver, spleen = read_segments(read_again(dataset))
    assert liver == Segment(2, "Liver", "", "Liver", "", "", "", "", "")
    assert spleen == Segment(
        number=300,
        label="Spleen",
        category="Organ",
        type="Spleen type",
        algorithm_type="SEMIAUTOMATIC",
        algorithm_name="region growing",
        tracking_id="spleen 1",
        tracking_uid="1.2.3",
        description="of the first visit",
    )


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([segment(1), segment(1, SegmentLabel="again")], "stands for both"),
        ([segment(1), Dataset()], "item 2"),
        ([], "empty or missing"),
    ],
)
def test_wrong_sequences_are_errors_of_the_object(items: list[Dataset], message: str) -> None:
    with pytest.raises(CorruptDicomError, match=f"^here: .*{message}"), located("here"):
        read_segments(read_again(segmentation(*items)))
