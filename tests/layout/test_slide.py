"""Slides made of plain data sets, against highdicom's tile positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from highdicom.spatial import PixelToReferenceTransformer, iter_tiled_full_frame_data

from support.plain_instances import item, items, plain_instance
from xarray_dicom.errors import CorruptDicomError, DicomWarning, UnsupportedDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.concatenation import JoinedInstance, join
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.slide import layout_slide
from xarray_dicom.layout.tiled import is_full, is_tiled, matrix_size

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"

#: Rows of the matrix run along −x of the slide, columns along −y, as scanners write it.
ORIENTATION = [0, -1, 0, -1, 0, 0]
SPACING = (0.0005, 0.00025)
ORIGIN = (20.5, 40.25)

#: 7 × 14 pixels in tiles of 4 × 6: 2 × 3 tiles a plane, the last ones partly outside.
MATRIX = (7, 14)
TILES = 6


def slide(
    location: str = "a.dcm",
    *,
    n_frames: int = TILES,
    paths: tuple[str, ...] = ("1",),
    measures: dict[str, Any] | None = None,
    **attributes: Any,
) -> Instance:
    return plain_instance(
        location,
        n_frames=n_frames,
        **{
            "SOPClassUID": WHOLE_SLIDE,
            "FrameOfReferenceUID": "1.2.840.1",
            "DimensionOrganizationType": "TILED_FULL",
            "TotalPixelMatrixRows": MATRIX[0],
            "TotalPixelMatrixColumns": MATRIX[1],
            "ImageOrientationSlide": ORIENTATION,
            "TotalPixelMatrixOriginSequence": item(
                XOffsetInSlideCoordinateSystem=ORIGIN[0],
                YOffsetInSlideCoordinateSystem=ORIGIN[1],
            ),
            "OpticalPathSequence": items(*({"OpticalPathIdentifier": path} for path in paths)),
            "SharedFunctionalGroupsSequence": item(
                PixelMeasuresSequence=item(PixelSpacing=list(SPACING), **(measures or {}))
            ),
            **attributes,
        },
    )


def laid_out(*instances: Instance) -> ImageLayout:
    return layout_slide([JoinedInstance((i,), (0,)) for i in instances], LayoutOptions())


def test_pixels_lie_where_highdicom_has_them() -> None:
    layout = laid_out(slide())
    assert layout.dims == ("y", "x")
    assert layout.frames.shape == MATRIX
    assert layout.coordinate_system == "slide"
    oracle = PixelToReferenceTransformer((*ORIGIN, 0.0), ORIENTATION, SPACING)
    assert layout.affine is not None
    for row, column in [(0, 0), (6, 0), (0, 13), (6, 13), (3, 8)]:
        expected = oracle(np.array([[column, row]]))[0]
        np.testing.assert_allclose((layout.affine @ [0, row, column, 1])[:3], expected)
        # Columns run along -x and rows along -y: coordinates are projections on them.
        np.testing.assert_allclose(layout.coordinates["y"].values[row], -expected[0])
        np.testing.assert_allclose(layout.coordinates["x"].values[column], -expected[1])
    assert layout.coordinates["y"].attrs["units"] == layout.coordinates["x"].attrs["units"] == "mm"
    assert layout.frame_of_reference is not None
    assert layout.frame_of_reference.uid == "1.2.840.1"
    assert layout.frame_of_reference.orientation == tuple(ORIENTATION)


@pytest.mark.parametrize(("paths", "focal"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_frames_lie_where_highdicom_has_them(paths: int, focal: int) -> None:
    instance = slide(
        n_frames=TILES * paths * focal,
        paths=tuple(f"p{n}" for n in range(paths)),
        measures={"SpacingBetweenSlices": 0.002},
        TotalPixelMatrixFocalPlanes=focal,
        NumberOfOpticalPaths=paths,
    )
    layout = laid_out(instance)
    outer = {"optical_path": paths, "z": focal}
    assert layout.sizes == {
        **{dimension: size for dimension, size in outer.items() if size > 1},
        "y": MATRIX[0],
        "x": MATRIX[1],
    }
    every = layout.frames.placement.every()
    places = dict(
        zip(
            every.frame.tolist(),
            zip(every.cell.tolist(), every.y.tolist(), every.x.tolist(), strict=True),
            strict=True,
        )
    )
    oracle = list(iter_tiled_full_frame_data(instance.dataset))
    assert len(places) == len(oracle)
    for frame, (channel, plane, column, row, *position) in enumerate(oracle):
        assert channel is not None
        cell = (channel - 1) * focal + plane - 1
        assert places[frame] == (cell, row - 1, column - 1)
        if layout.affine is not None:
            index = [plane - 1, row - 1, column - 1, 1]
            np.testing.assert_allclose((layout.affine @ index)[:3], position, atol=1e-9)


def test_focal_planes_rise_from_the_glass_in_mm() -> None:
    layout = laid_out(
        slide(
            n_frames=3 * TILES,
            measures={"SpacingBetweenSlices": 0.002},
            TotalPixelMatrixOriginSequence=item(
                XOffsetInSlideCoordinateSystem=1,
                YOffsetInSlideCoordinateSystem=2,
                ZOffsetInSlideCoordinateSystem=1.5,
            ),
        )
    )
    # Z Offset in Slide Coordinate System is in µm (PS3.3 C.8.12.2.1.1).
    np.testing.assert_allclose(layout.coordinates["z"].values, [0.0015, 0.0035, 0.0055])
    assert layout.coordinates["z"].attrs["units"] == "mm"


def test_focal_planes_of_unknown_distance_have_no_coordinate() -> None:
    instance = slide("deep.dcm", n_frames=2 * TILES, TotalPixelMatrixFocalPlanes=2)
    with pytest.warns(DicomWarning, match=r"2 focal planes .* no coordinate") as caught:
        layout = laid_out(instance)
    assert caught[0].message.location == "deep.dcm"
    assert layout.sizes == {"z": 2, "y": 7, "x": 14}
    assert "z" not in layout.coordinates


def test_a_slide_without_a_position_has_distances() -> None:
    layout = laid_out(slide(ImageOrientationSlide=None))
    assert layout.coordinate_system == "image"
    assert layout.affine is None
    np.testing.assert_allclose(layout.coordinates["y"].values, np.arange(7) * SPACING[0])
    np.testing.assert_allclose(layout.coordinates["x"].values, np.arange(14) * SPACING[1])
    assert layout.frame_of_reference is not None
    assert layout.frame_of_reference.uid == slide().dataset.SOPInstanceUID


def test_spacing_follows_from_the_extent_where_it_is_not_given() -> None:
    layout = laid_out(
        slide(SharedFunctionalGroupsSequence=None, ImagedVolumeHeight=3.5, ImagedVolumeWidth=2.8)
    )
    np.testing.assert_allclose(np.diff(layout.coordinates["y"].values), 3.5 / 7)
    np.testing.assert_allclose(np.diff(layout.coordinates["x"].values), 2.8 / 14)
    assert laid_out(slide(SharedFunctionalGroupsSequence=None)).coordinate_system is None


def test_colour_has_a_dimension_of_samples() -> None:
    instance = plain_instance(
        photometric="RGB",
        dtype="uint8",
        SOPClassUID=WHOLE_SLIDE,
        n_frames=1,
        TotalPixelMatrixRows=4,
        TotalPixelMatrixColumns=6,
    )
    layout = laid_out(instance)
    assert layout.sizes == {"y": 4, "x": 6, "c": 3}
    assert layout.coordinates["c"].values.tolist() == ["r", "g", "b"]
    assert layout.attrs == {"photometric_interpretation": "RGB"}


def test_files_of_one_channel_each_are_one_image() -> None:
    layout = laid_out(slide("b.dcm", paths=("Cy5",)), slide("a.dcm", paths=("DAPI",)))
    assert layout.sizes == {"optical_path": 2, "y": 7, "x": 14}
    assert layout.coordinates["optical_path"].values.tolist() == ["Cy5", "DAPI"]
    grid = layout.frames.placement.chunk_grid()
    assert grid is not None
    np.testing.assert_array_equal(grid, np.arange(2 * TILES).reshape(2, 2, 3))


def test_files_of_one_focal_plane_each_are_sorted_by_height() -> None:
    def at(micrometres: float) -> Instance:
        return slide(
            f"{micrometres}.dcm",
            TotalPixelMatrixOriginSequence=item(
                XOffsetInSlideCoordinateSystem=1,
                YOffsetInSlideCoordinateSystem=2,
                ZOffsetInSlideCoordinateSystem=micrometres,
            ),
        )

    layout = laid_out(at(4.0), at(0.0), at(2.0))
    np.testing.assert_allclose(layout.coordinates["z"].values, [0, 0.002, 0.004])
    grid = layout.frames.placement.chunk_grid()
    assert grid is not None
    # First frame of each plane: files in the order of their height.
    assert grid[:, 0, 0].tolist() == [TILES, 2 * TILES, 0]


def sparse(n: int = 3, **attributes: Any) -> Instance:
    rows = [1, 1, 5][:n]
    columns = [1, 7, 13][:n]
    return slide(
        "sparse.dcm",
        n_frames=n,
        DimensionOrganizationType="TILED_SPARSE",
        **{
            "per_frame": {
                "RowPositionInTotalImagePixelMatrix": rows,
                "ColumnPositionInTotalImagePixelMatrix": columns,
                **attributes.pop("per_frame", {}),
            },
            **attributes,
        },
    )


def test_sparse_tiles_lie_where_they_say() -> None:
    layout = laid_out(sparse())
    every = layout.frames.placement.every()
    # Positions count from 1 (PS3.3 C.8.12.6.1).
    assert every.y.tolist() == [0, 0, 4]
    assert every.x.tolist() == [0, 6, 12]
    assert layout.frames.placement.absent().tolist() == [0]
    grid = layout.frames.placement.chunk_grid()
    assert grid is not None
    np.testing.assert_array_equal(grid, [[[0, 1, -1], [-1, -1, 2]]])


def test_sparse_tiles_of_several_paths_and_heights() -> None:
    layout = laid_out(
        sparse(
            paths=("a", "b"),
            per_frame={
                "OpticalPathIdentifier": ["b", "a", "b"],
                "ZOffsetInSlideCoordinateSystem": [0.0, 0.0, 5.0],
            },
        )
    )
    assert layout.sizes == {"optical_path": 2, "z": 2, "y": 7, "x": 14}
    np.testing.assert_allclose(layout.coordinates["z"].values, [0, 0.005])
    every = layout.frames.placement.every()
    assert dict(zip(every.frame.tolist(), every.cell.tolist(), strict=True)) == {0: 2, 1: 0, 2: 3}


def test_missing_parts_of_a_concatenation_are_absent_tiles() -> None:
    parts = [
        slide(
            f"{number}.dcm",
            n_frames=2,
            ConcatenationUID="1.2.5",
            InConcatenationNumber=number,
            InConcatenationTotalNumber=3,
            ConcatenationFrameOffsetNumber=2 * (number - 1),
        )
        for number in (1, 3)
    ]
    with pytest.warns(DicomWarning, match="part 2 is missing"):
        images = join(parts)
    layout = layout_slide(images, LayoutOptions())
    grid = layout.frames.placement.chunk_grid()
    assert grid is not None
    np.testing.assert_array_equal(grid, [[[0, 1, -1], [-1, 2, 3]]])


@pytest.mark.parametrize(
    ("instances", "error", "message"),
    [
        ([slide(n_frames=TILES + 1)], CorruptDicomError, r"is 7, but 7 × 14 .* make 6"),
        ([slide(n_frames=TILES - 1)], CorruptDicomError, r"is 5, but 7 × 14 .* make 6"),
        ([slide(), slide("b.dcm")], CorruptDicomError, "same optical path at the same focal plane"),
        ([slide(), sparse()], UnsupportedDicomError, "TILED_FULL and sparse"),
        (
            [sparse(paths=("a", "b"), per_frame={"OpticalPathIdentifier": ["a", "c", "b"]})],
            CorruptDicomError,
            r"name the Optical Path Identifier 'c' \(0048,0106\), .* a, b",
        ),
        ([slide(TotalPixelMatrixRows=2**22 + 1)], CorruptDicomError, "no slide has more"),
        ([slide(TotalPixelMatrixFocalPlanes=10_001)], CorruptDicomError, r"\(0048,0303\) is 10001"),
        ([slide(ImageOrientationSlide=[1, 0, 0, 1, 0, 0])], CorruptDicomError, r"\(0048,0102\)"),
    ],
)
def test_contradictions_are_errors(
    instances: list[Instance], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        laid_out(*instances)


def test_a_tile_far_off_any_slide_is_named_by_its_frame() -> None:
    far = sparse(per_frame={"RowPositionInTotalImagePixelMatrix": [1, 2**24, 5]})
    with pytest.raises(CorruptDicomError, match=r"^sparse\.dcm: frame 2: lies at row") as caught:
        laid_out(far)
    assert caught.value.frame == 2


def test_images_that_are_tiled() -> None:
    assert is_tiled(slide())
    assert is_tiled(plain_instance(SOPClassUID=WHOLE_SLIDE))
    assert not is_tiled(plain_instance(SOPClassUID=WHOLE_SLIDE, n_frames=2))
    assert not is_tiled(plain_instance())
    assert matrix_size(plain_instance(SOPClassUID=WHOLE_SLIDE)) == (4, 6)
    assert is_full(slide(DimensionOrganizationType=None))
    assert not is_full(sparse())
