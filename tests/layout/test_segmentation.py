"""Segmentations made of plain data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.plain_instances import item, items, plain_instance
from xarray_dicom.errors import CorruptDicomError, DicomWarning, UnsupportedDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.concatenation import JoinedInstance
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.segmentation import is_segmentation, layout_segmentation
from xarray_dicom.parsing.functional import tag
from xarray_dicom.pixels.transform import Fraction, Stored

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"

#: Not in the order of their numbers.
SEGMENTS = items(
    {"SegmentNumber": 5, "SegmentLabel": "Left kidney", "TrackingUID": "1.2.5"},
    {
        "SegmentNumber": 2,
        "SegmentLabel": "Liver",
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": item(CodeMeaning="Organ"),
        "SegmentedPropertyTypeCodeSequence": item(CodeMeaning="Liver type"),
    },
)


def segmentation(
    numbers: list[int],
    heights: list[float] | None,
    *,
    kind: str = "BINARY",
    per_frame: dict[str, Any] | None = None,
    **attributes: Any,
) -> Instance:
    """Return a segmentation whose frames show these segments at these heights."""
    values: dict[str, Any] = {"ReferencedSegmentNumber": numbers} if kind != "LABELMAP" else {}
    if heights is not None:
        values["ImagePositionPatient"] = [[-10.0, 5.0, height] for height in heights]
    return plain_instance(
        "seg.dcm",
        n_frames=len(numbers),
        dtype="uint8",
        **{
            "per_frame": values | (per_frame or {}),
            "SOPClassUID": LABEL_MAP if kind == "LABELMAP" else SEGMENTATION,
            "SegmentationType": kind,
            "SegmentSequence": SEGMENTS,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0] if heights is not None else None,
            "PixelSpacing": [0.5, 0.75],
            **attributes,
        },
    )


def laid_out(instance: Instance, **options: Any) -> ImageLayout:
    return layout_segmentation(JoinedInstance((instance,), (0,)), LayoutOptions(**options))


def grid(layout: ImageLayout) -> list[list[int]]:
    """Return the frame number of each plane of each segment."""
    tiles = layout.frames.placement.chunk_grid()
    assert tiles is not None
    return tiles.reshape(len(layout.segments), -1).tolist()


def test_frames_lie_by_segment_number_and_position() -> None:
    layout = laid_out(segmentation([5, 2, 5], [30.0, 10.0, 20.0]))
    assert layout.name == "segmentation"
    assert layout.sizes == {"segment": 2, "z": 3, "y": 4, "x": 6}
    assert [segment.number for segment in layout.segments] == [2, 5]
    np.testing.assert_array_equal(layout.coordinates["z"].values, [10, 20, 30])
    assert grid(layout) == [[1, -1, -1], [-1, 2, 0]]
    assert layout.frames.fill == 0
    assert isinstance(layout.frames.transform, Stored)
    assert layout.coordinate_system == "patient"
    np.testing.assert_allclose(layout.affine @ [2, 3, 5, 1], [-10 + 5 * 0.75, 6.5, 30, 1])


def test_descriptions_are_coordinates_of_segments() -> None:
    coordinates = laid_out(segmentation([5, 2], [0.0, 0.0])).coordinates
    described = {
        name: c.values.tolist() for name, c in coordinates.items() if c.dims == ("segment",)
    }
    assert described == {
        "segment_category": ["Organ", ""],
        "segment_type": ["Liver type", ""],
        "segment_algorithm_type": ["MANUAL", ""],
        "tracking_uid": ["", "1.2.5"],
    }


def test_label_maps_have_flags_and_no_dimension_of_segments() -> None:
    layout = laid_out(segmentation([0, 0], [0.0, 1.0], kind="LABELMAP"))
    assert layout.sizes == {"z": 2, "y": 4, "x": 6}
    assert layout.attrs["flag_values"].tolist() == [2, 5]
    assert layout.attrs["flag_values"].dtype == np.uint8
    assert layout.attrs["flag_meanings"] == "Liver Left_kidney"
    assert "segment_type" not in layout.coordinates
    assert [segment.number for segment in layout.segments] == [2, 5]


def test_fractions_are_scaled_by_the_maximum() -> None:
    instance = segmentation([2, 5], [0.0, 0.0], kind="FRACTIONAL", MaximumFractionalValue=200)
    transform = laid_out(instance).frames.transform
    assert isinstance(transform, Fraction)
    np.testing.assert_allclose(transform.apply(np.array([0, 50, 200], np.uint8), 0), [0, 0.25, 1])
    assert isinstance(laid_out(instance, scale=False).frames.transform, Stored)


@pytest.mark.parametrize(
    ("instance", "message", "keyword"),
    [
        (
            segmentation([2, 7], [0.0, 1.0]),
            r"^seg\.dcm: frame 2: refers to segment 7 \(0062,000B\)",
            "ReferencedSegmentNumber",
        ),
        (
            segmentation([2, 5], [0.0, 1.0], per_frame={"ReferencedSegmentNumber": [[], []]}),
            r"Referenced Segment Number \(0062,000B\) is missing",
            "ReferencedSegmentNumber",
        ),
        (segmentation([2], [0.0], SegmentSequence=None), "empty or missing", "SegmentSequence"),
        (
            segmentation([2], [0.0], kind="FRACTIONAL"),
            "no Maximum Fractional Value",
            "MaximumFractionalValue",
        ),
    ],
    ids=["unknown segment", "no segment", "no description", "no maximum"],
)
def test_contradictions_are_errors(instance: Instance, message: str, keyword: str) -> None:
    with pytest.raises(CorruptDicomError, match=message) as caught:
        laid_out(instance)
    assert caught.value.tag in (keyword, None)


def test_an_unknown_segmentation_type_is_unsupported() -> None:
    with pytest.raises(UnsupportedDicomError, match=r"Segmentation Type \(0062,0001\) PROBABLE"):
        laid_out(segmentation([2], [0.0], kind="PROBABLE"))


def test_frames_of_the_only_segment_need_not_refer_to_it() -> None:
    instance = segmentation(
        [2, 2],
        [0.0, 1.0],
        per_frame={"ReferencedSegmentNumber": [[], []]},
        SegmentSequence=items({"SegmentNumber": 2}),
    )
    assert grid(laid_out(instance)) == [[0, 1]]


def test_of_several_frames_at_one_place_the_last_counts_with_a_warning() -> None:
    with pytest.warns(DicomWarning, match=r"^seg\.dcm: several frames show one segment"):
        layout = laid_out(segmentation([2, 2, 5], [0.0, 0.0, 0.0]))
    assert layout.frames.placement.overlapping
    every = layout.frames.placement.every()
    assert every.frame[every.cell == 0].tolist() == [0, 1]


def test_frames_without_positions_lie_by_the_rest_of_their_index() -> None:
    instance = segmentation(
        [2, 5, 5],
        None,
        per_frame={"DimensionIndexValues": [[1, 7], [2, 9], [2, 7]]},
        DimensionIndexSequence=items(
            {"DimensionIndexPointer": tag("ReferencedSegmentNumber")},
            {"DimensionIndexPointer": tag("InstanceNumber")},
        ),
    )
    layout = laid_out(instance)
    assert layout.sizes == {"segment": 2, "frame": 2, "y": 4, "x": 6}
    assert grid(layout) == [[0, -1], [2, 1]]
    assert layout.coordinate_system == "image"


def test_frames_without_positions_or_index_lie_in_their_order() -> None:
    layout = laid_out(segmentation([2, 5, 5, 2, 5], None))
    assert layout.sizes["frame"] == 3
    assert grid(layout) == [[0, 3, -1], [1, 2, 4]]


MATRIX: dict[str, Any] = {"TotalPixelMatrixRows": 7, "TotalPixelMatrixColumns": 14}


def test_full_tiles_follow_each_other_by_segment() -> None:
    instance = segmentation(
        [2] * 6 + [5] * 6, None, DimensionOrganizationType="TILED_FULL", **MATRIX
    )
    layout = laid_out(instance)
    assert layout.sizes == {"segment": 2, "y": 7, "x": 14}
    assert grid(layout) == [list(range(6)), list(range(6, 12))]


def test_sparse_tiles_lie_by_segment_and_position() -> None:
    instance = segmentation(
        [5, 2],
        None,
        per_frame={
            "RowPositionInTotalImagePixelMatrix": [5, 1],
            "ColumnPositionInTotalImagePixelMatrix": [7, 13],
        },
        DimensionOrganizationType="TILED_SPARSE",
        **MATRIX,
    )
    layout = laid_out(instance)
    assert layout.sizes == {"segment": 2, "y": 7, "x": 14}
    assert grid(layout) == [[-1, -1, 1, -1, -1, -1], [-1, -1, -1, -1, 0, -1]]


def test_segmentations_are_known_by_their_sop_class() -> None:
    assert is_segmentation(segmentation([2], [0.0]))
    assert is_segmentation(segmentation([0], [0.0], kind="LABELMAP"))
    assert not is_segmentation(plain_instance(SegmentSequence=SEGMENTS))
