"""Kinds of objects, and the images that a series of them makes."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    SegmentationStorage,
)

from support.plain_instances import item, items, plain_instance
from xarray_dicom.errors import DicomError, DicomWarning, UnsupportedDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.kinds import lay_out
from xarray_dicom.layout.options import LayoutOptions

AXIAL = [1, 0, 0, 0, 1, 0]


def ct(location: str, height: float = 0.0, **attributes: Any) -> Instance:
    return plain_instance(
        location,
        **{
            "SOPClassUID": CTImageStorage,
            "ImageOrientationPatient": AXIAL,
            "ImagePositionPatient": [0.0, 0.0, height],
            "PixelSpacing": [1.0, 1.0],
            **attributes,
        },
    )


def level(location: str, rows: int, flavor: str = "VOLUME") -> Instance:
    return plain_instance(
        location,
        shape=(rows, rows),
        photometric="RGB",
        dtype="uint8",
        ImageType=["ORIGINAL", "PRIMARY", flavor, "NONE"],
        TotalPixelMatrixRows=rows,
        TotalPixelMatrixColumns=rows,
    )


def paths(*instances: Instance, alone: bool = False, **options: Any) -> list[str]:
    return list(lay_out(instances, LayoutOptions(**options), alone=alone))


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        (BasicTextSRStorage, "Basic Text SR Storage"),
        (EncapsulatedPDFStorage, "Encapsulated PDF Storage"),
        (None, "object"),
    ],
)
def test_objects_without_pixels_are_named_by_their_sop_class(sop_class: Any, name: str) -> None:
    report = plain_instance("report.dcm", has_pixels=False, SOPClassUID=sop_class)
    for instances in ([report], [ct("ct.dcm"), report]):
        with pytest.raises(
            UnsupportedDicomError, match=rf"^report\.dcm: this {name} has no pixel data"
        ) as caught:
            paths(*instances)
        assert caught.value.location == "report.dcm"


def test_an_object_without_pixels_may_say_that_it_is_a_part() -> None:
    part = plain_instance(
        "part.dcm", has_pixels=False, SOPClassUID=SegmentationStorage, ConcatenationUID="1.2"
    )
    with pytest.raises(UnsupportedDicomError, match="Segmentation Storage has no pixel data"):
        paths(part)


def test_a_single_object_is_one_image() -> None:
    assert lay_out([ct("a.dcm")], LayoutOptions(), alone=True)[""].dims == ("y", "x")
    assert lay_out([ct("a.dcm")], LayoutOptions(), alone=False)[""].dims == ("z", "y", "x")


def test_copies_are_passed_over_with_a_warning() -> None:
    again = ct("copy.dcm", SOPInstanceUID=ct("a.dcm").dataset.SOPInstanceUID)
    with pytest.warns(DicomWarning, match=r"^copy\.dcm: the same SOP instance as a\.dcm"):
        layouts = lay_out([ct("a.dcm"), again], LayoutOptions(), alone=False)
    assert layouts[""].sizes == {"z": 1, "y": 4, "x": 6}


def test_series_are_groups_by_modality_and_number() -> None:
    series = [
        ct("a.dcm", SeriesInstanceUID="1.1", Modality="CT", SeriesNumber=2),
        ct("b.dcm", SeriesInstanceUID="1.2", Modality="CT", SeriesNumber=2),
        ct("c.dcm", SeriesInstanceUID="1.3", Modality="PT"),
        ct("d.dcm", SeriesInstanceUID="1.4"),
    ]
    assert paths(*series) == ["ct_2", "ct_2_2", "pt", "series"]


def test_images_of_one_series_are_numbered() -> None:
    stacks = [ct("a.dcm"), ct("b.dcm", shape=(8, 8)), ct("c.dcm", height=1.0)]
    layouts = lay_out(stacks, LayoutOptions(), alone=False)
    assert {path: layout.sizes["z"] for path, layout in layouts.items()} == {
        "stack_1": 2,
        "stack_2": 1,
    }


def test_kinds_of_one_series_are_named_by_their_variable() -> None:
    segmentation = plain_instance(
        "seg.dcm",
        SOPClassUID=SegmentationStorage,
        SegmentSequence=items({"SegmentNumber": 1}),
        ImageOrientationPatient=AXIAL,
        ImagePositionPatient=[0.0, 0.0, 0.0],
    )
    assert paths(ct("a.dcm"), segmentation) == ["segmentation", "image"]


def test_levels_of_a_slide_are_scales_and_its_label_is_hidden() -> None:
    slide = [
        level("label.dcm", 8, "LABEL"),
        level("coarse.dcm", 16),
        level("overview.dcm", 10, "OVERVIEW"),
        level("fine.dcm", 64),
    ]
    assert paths(*slide) == ["scale0", "scale1", "overview"]
    assert paths(*slide, slide_label=True) == ["scale0", "scale1", "label", "overview"]
    layouts = lay_out(slide, LayoutOptions(), alone=False)
    assert [layout.sizes["y"] for layout in layouts.values()] == [64, 16, 10]
    assert paths(level("fine.dcm", 64), alone=True) == [""]


def test_nothing_but_a_label_is_an_error() -> None:
    with pytest.raises(DicomError, match=r"^label\.dcm: there is only the picture of a slide's"):
        paths(level("label.dcm", 8, "LABEL"))


def test_errors_name_the_object_they_are_about() -> None:
    skewed = ct("skewed.dcm", shape=(8, 8), ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    with pytest.raises(DicomError, match=r"^skewed\.dcm: Image Orientation \(Patient\)"):
        paths(ct("a.dcm"), skewed)


def test_warnings_name_the_object_they_are_about() -> None:
    no_spacing = {
        "SharedFunctionalGroupsSequence": item(PixelMeasuresSequence=item(PixelSpacing=[0, 0])),
        "PixelSpacing": None,
    }
    with pytest.warns(DicomWarning, match=r"^zero\.dcm: Pixel Spacing \(0028,0030\)"):
        paths(ct("a.dcm"), ct("zero.dcm", shape=(8, 8), **no_spacing))


def test_options_hold_for_the_variable_they_name() -> None:
    instances = [ct("a.dcm", RescaleSlope=2, RescaleIntercept=3)]
    for stored, linear in ((frozenset({"image"}), False), (frozenset({"segmentation"}), True)):
        layout = lay_out(instances, LayoutOptions(stored=stored), alone=False)[""]
        assert (layout.linear is not None) == linear
    options = LayoutOptions(memory_budget=12345, decoder="highdicom")
    frames = lay_out(instances, options, alone=False)[""].frames
    assert (frames.memory_budget, frames.decoder) == (12345, "highdicom")
