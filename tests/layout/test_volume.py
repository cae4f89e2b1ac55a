"""Series and multi-frame images made of plain data sets."""

from __future__ import annotations

from typing import Any

import highdicom as hd
import numpy as np
import pytest

from support.plain_instances import item, items, plain_instance
from xarray_dicom.errors import CorruptDicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.frame_set import FrameSet
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.volume import layout_frames, split_images
from xarray_dicom.parsing.functional import tag

AXIAL = [1, 0, 0, 0, 1, 0]
OBLIQUE = [0.8, 0.6, 0, 0, 0, -1]
SPACING = [0.5, 0.75]


def plane(height: float, location: str = "", **attributes: Any) -> Instance:
    """Return a classic single-frame instance at `height` along its normal."""
    orientation = attributes.pop("ImageOrientationPatient", AXIAL)
    normal = np.cross(orientation[:3], orientation[3:])
    position = np.array([-10.0, 5.0, 2.0]) + height * normal
    return plain_instance(
        location or f"{height}.dcm",
        **{
            "ImageOrientationPatient": orientation,
            "ImagePositionPatient": position.tolist(),
            "PixelSpacing": SPACING,
            "FrameOfReferenceUID": "1.2.840.1",
            **attributes,
        },
    )


def laid_out(*instances: Instance, **options: Any) -> ImageLayout:
    return layout_frames(FrameSet.of(instances), LayoutOptions(), **options)


def frame_at(layout: ImageLayout) -> list[int]:
    """Return the frame number of each cell."""
    grid = layout.frames.placement.chunk_grid()
    assert grid is not None
    return grid.reshape(-1).tolist()


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_a_shuffled_series_is_the_volume_that_highdicom_has(orientation: list[float]) -> None:
    heights = [5.0, 0.0, 7.5, 2.5]
    layout = laid_out(*(plane(h, ImageOrientationPatient=orientation) for h in heights))
    assert layout.sizes == {"z": 4, "y": 4, "x": 6}
    assert layout.coordinate_system == "patient"
    assert frame_at(layout) == [1, 3, 0, 2]
    # highdicom stacks along -n: its first plane is our last one.
    normal = np.cross(orientation[:3], orientation[3:])
    oracle = hd.VolumeGeometry.from_attributes(
        image_position=(np.array([-10.0, 5.0, 2.0]) + 7.5 * normal).tolist(),
        image_orientation=orientation,
        rows=4,
        columns=6,
        pixel_spacing=SPACING,
        spacing_between_slices=2.5,
        number_of_frames=4,
        coordinate_system="PATIENT",
    )
    reverse = np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    np.testing.assert_allclose(layout.affine, oracle.affine @ reverse, atol=1e-9)
    for index in [(0, 0, 0), (3, 2, 5)]:
        position = (oracle.affine @ reverse @ [*index, 1])[:3]
        for dim, direction, i in zip(
            "zyx", (normal, orientation[3:], orientation[:3]), index, strict=True
        ):
            value = layout.coordinates[dim].values[i]
            np.testing.assert_allclose(value, np.dot(position, direction), atol=1e-9)
    assert layout.frame_of_reference is not None
    assert layout.frame_of_reference.uid == "1.2.840.1"
    assert layout.frame_of_reference.orientation == pytest.approx(orientation)
    assert [layout.coordinates[dim].attrs["units"] for dim in "zyx"] == ["mm"] * 3


def test_one_single_frame_image_is_a_plane_with_a_scalar_position() -> None:
    layout = laid_out(plane(3.0), single=True)
    assert layout.sizes == {"y": 4, "x": 6}
    assert layout.coordinates["z"].dims == ()
    assert layout.coordinates["z"].values == pytest.approx(2.0 + 3.0)
    assert laid_out(plane(3.0)).sizes == {"z": 1, "y": 4, "x": 6}


def test_echoes_are_a_dimension_and_what_varies_with_planes_is_not() -> None:
    series = [
        plane(height, f"{height}-{echo}.dcm", EchoTime=echo, AcquisitionNumber=int(height))
        for echo in (30.0, 10.0)
        for height in (2.0, 0.0, 1.0)
    ]
    layout = laid_out(*series)
    assert layout.sizes == {"echo_time": 2, "z": 3, "y": 4, "x": 6}
    np.testing.assert_array_equal(layout.coordinates["echo_time"].values, [10.0, 30.0])
    assert layout.coordinates["echo_time"].attrs == {"units": "ms"}
    assert layout.coordinates["acquisition_number"].dims == ("z",)
    assert layout.coordinates["acquisition_number"].values.tolist() == [0, 1, 2]
    assert frame_at(layout) == [4, 5, 3, 1, 2, 0]


def test_dimensions_of_enhanced_images_are_those_of_their_index() -> None:
    positions = [[0, 0, z] for z in (0.0, 3.0)] * 2
    instance = plain_instance(
        n_frames=4,
        ImageOrientationPatient=AXIAL,
        PixelSpacing=SPACING,
        DimensionIndexSequence=items(
            {
                "DimensionIndexPointer": tag("StackID"),
                "FunctionalGroupPointer": tag("FrameContentSequence"),
            },
            {
                "DimensionIndexPointer": tag("TemporalPositionIndex"),
                "FunctionalGroupPointer": tag("FrameContentSequence"),
            },
        ),
        # The frames have no Temporal Position Index: its ordinal stands for it.
        per_frame={
            "ImagePositionPatient": positions,
            "DimensionIndexValues": [[1, 2], [1, 2], [1, 1], [1, 1]],
        },
    )
    layout = laid_out(instance)
    assert layout.sizes == {"temporal_position": 2, "z": 2, "y": 4, "x": 6}
    assert layout.coordinates["temporal_position"].values.tolist() == [1, 2]
    assert frame_at(layout) == [2, 3, 0, 1]


def test_frames_that_nothing_distinguishes_are_kept_in_order_with_a_warning() -> None:
    with pytest.warns(DicomWarning, match="frames 1 and 2 lie in one plane"):
        layout = laid_out(plane(0.0, "a.dcm"), plane(0.0, "b.dcm"), plane(1.0))
    assert layout.sizes == {"frame": 3, "y": 4, "x": 6}
    assert layout.coordinates["z"].dims == ("frame",)
    np.testing.assert_allclose(layout.coordinates["z"].values, [2.0, 2.0, 3.0])


def test_missing_combinations_read_as_fill_with_a_warning() -> None:
    series = [
        plane(height, f"{height}-{echo}.dcm", EchoTime=echo)
        for echo in (10.0, 30.0)
        for height in (0.0, 1.0, 2.0)
    ]
    with pytest.warns(DicomWarning, match="1 of 6 planes have no frame"):
        layout = laid_out(*series[:-1])
    assert layout.sizes == {"echo_time": 2, "z": 3, "y": 4, "x": 6}
    assert layout.frames.placement.absent().tolist() == [5]


def test_a_series_without_positions_is_a_sequence_of_frames() -> None:
    instances = [plain_instance(f"{n}.dcm", PixelSpacing=SPACING) for n in range(3)]
    with pytest.warns(DicomWarning, match=r"3 instances without Image Position \(Patient\)"):
        layout = laid_out(*instances)
    assert layout.sizes == {"frame": 3, "y": 4, "x": 6}
    assert layout.coordinate_system == "image"
    np.testing.assert_allclose(layout.coordinates["y"].values, np.arange(4) * 0.5)
    np.testing.assert_allclose(layout.coordinates["x"].values, np.arange(6) * 0.75)


def test_cine_without_spacing_has_no_coordinates() -> None:
    layout = laid_out(plain_instance(n_frames=5))
    assert layout.sizes == {"frame": 5, "y": 4, "x": 6}
    assert layout.coordinates == {}
    assert layout.coordinate_system is None


def test_a_spacing_of_zero_is_a_warning() -> None:
    with pytest.warns(DicomWarning, match=r"Pixel Spacing \(0028,0030\) is 0\\0"):
        layout = laid_out(plane(0.0, PixelSpacing=[0, 0]), plane(1.0, PixelSpacing=[0, 0]))
    assert set(layout.coordinates) == {"z"}
    assert layout.affine is None


def test_a_gantry_tilt_is_sheared_and_told() -> None:
    tilted = [
        plain_instance(
            f"{n}.dcm",
            ImageOrientationPatient=AXIAL,
            PixelSpacing=SPACING,
            ImagePositionPatient=[0.0, 0.5 * n, 2.0 * n],
        )
        for n in range(4)
    ]
    with pytest.warns(DicomWarning, match=r"drift by 0\.5 mm per plane along y"):
        layout = laid_out(*tilted)
    assert set(layout.coordinates) == {"z", "x"}
    assert layout.affine is not None
    np.testing.assert_allclose((layout.affine @ [3, 0, 0, 1])[:3], [0.0, 1.5, 6.0])


def test_an_rt_dose_is_stacked_by_its_offsets() -> None:
    def dose(offsets: list[float], z: float = 7.0) -> Instance:
        return plain_instance(
            "dose.dcm",
            n_frames=3,
            ImageOrientationPatient=AXIAL,
            ImagePositionPatient=[0.0, 0.0, z],
            PixelSpacing=SPACING,
            GridFrameOffsetVector=offsets,
        )

    # Relative offsets begin with 0, others are positions (PS3.3 C.8.8.3.2).
    for offsets in ([0.0, 2.5, 5.0], [7.0, 9.5, 12.0]):
        layout = laid_out(dose(offsets))
        assert layout.sizes == {"z": 3, "y": 4, "x": 6}
        np.testing.assert_allclose(layout.coordinates["z"].values, [7.0, 9.5, 12.0])
    downwards = laid_out(dose([0.0, -2.5, -5.0]))
    np.testing.assert_allclose(downwards.coordinates["z"].values, [2.0, 4.5, 7.0])
    assert frame_at(downwards) == [2, 1, 0]
    with pytest.raises(CorruptDicomError, match=r"\(3004,000C\) has 2 values for 3 frames"):
        laid_out(dose([0.0, 2.5]))
    with pytest.warns(DicomWarning, match="the last are passed over"):
        longer = laid_out(dose([0.0, 2.5, 5.0, 7.5]))
    assert longer.sizes["z"] == 3


def test_a_position_that_is_no_point_is_named_with_its_object_and_frame() -> None:
    lost = plane(1.0, "lost.dcm", ImagePositionPatient=[0.0, 0.0, float("nan")])
    with pytest.raises(CorruptDicomError, match="3 finite numbers") as caught:
        laid_out(plane(0.0), lost)
    assert caught.value.location == "lost.dcm"
    assert caught.value.frame == 1
    assert caught.value.tag == "ImagePositionPatient"


def test_a_mosaic_is_left_as_it_is() -> None:
    mosaic = plane(0.0, "mosaic.dcm", ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    with pytest.warns(DicomWarning, match=r"^mosaic\.dcm: a Siemens mosaic"):
        laid_out(mosaic, plane(1.0))


def test_frames_of_another_size_spacing_orientation_or_stack_are_other_images() -> None:
    instances = [
        plane(0.0, "a.dcm"),
        plane(0.0, "size.dcm", shape=(8, 6)),
        plane(1.0, "b.dcm", PixelSpacing=[0.5000001, 0.75]),
        plane(0.0, "spacing.dcm", PixelSpacing=[0.6, 0.75]),
        plane(0.0, "oblique.dcm", ImageOrientationPatient=OBLIQUE),
        plane(2.0, "stack.dcm", StackID="2"),
        plane(3.0, "c.dcm"),
    ]
    images = split_images(instances)
    assert [[i.location for i in image.instances] for image in images] == [
        ["a.dcm", "b.dcm", "c.dcm"],
        ["size.dcm"],
        ["spacing.dcm"],
        ["oblique.dcm"],
        ["stack.dcm"],
    ]


def test_attributes_are_those_that_all_instances_share() -> None:
    layout = laid_out(
        plane(0.0, Modality="MR", InstanceNumber=1, ImageType=["ORIGINAL", "PRIMARY"]),
        plane(1.0, Modality="MR", InstanceNumber=2, ImageType=["ORIGINAL", "PRIMARY"]),
    )
    assert layout.dataset_attrs["Modality"] == "MR"
    assert layout.dataset_attrs["ImageType"] == ["ORIGINAL", "PRIMARY"]
    assert "InstanceNumber" not in layout.dataset_attrs
    assert "SOPInstanceUID" not in layout.dataset_attrs


def test_attributes_never_name_a_patient() -> None:
    layout = laid_out(plane(0.0, PatientName="Doe^Jane", PatientID="7", StudyDate="20260102"))
    assert not any("Doe" in str(value) for value in layout.dataset_attrs.values())
    assert {"PatientName", "PatientID", "StudyDate"}.isdisjoint(layout.dataset_attrs)


def test_enhanced_images_with_shared_geometry() -> None:
    shared = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=OBLIQUE),
        PixelMeasuresSequence=item(PixelSpacing=SPACING),
    )
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    instance = plain_instance(
        n_frames=3,
        SharedFunctionalGroupsSequence=shared,
        per_frame={"ImagePositionPatient": np.outer([4.0, 0.0, 2.0], normal)},
    )
    layout = laid_out(instance)
    np.testing.assert_allclose(layout.coordinates["z"].values, [0, 2, 4], atol=1e-9)
    assert frame_at(layout) == [1, 2, 0]
