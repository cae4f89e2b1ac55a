"""Levels of slides: grouped by UID or extent, their outer edges made to coincide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.plain_instances import item, plain_instance
from xarray_dicom.layout.concatenation import JoinedInstance
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.pyramid import associated_name, share_origin, split_pyramids
from xarray_dicom.layout.slide import layout_slide


def level(rows: int, columns: int, spacing: float = 0.001, **attributes: Any) -> JoinedInstance:
    """Return a level of one tile, by default with the origin that all levels repeat."""
    instance = plain_instance(
        f"{rows}.dcm",
        shape=(rows, columns),
        **{
            "TotalPixelMatrixRows": rows,
            "TotalPixelMatrixColumns": columns,
            "FrameOfReferenceUID": "1.2.9",
            "ImageOrientationSlide": [0, -1, 0, -1, 0, 0],
            "TotalPixelMatrixOriginSequence": item(
                XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=40.0
            ),
            "SharedFunctionalGroupsSequence": item(
                PixelMeasuresSequence=item(PixelSpacing=[spacing, spacing])
            ),
            **attributes,
        },
    )
    return JoinedInstance((instance,), (0,))


def sizes(pyramids: list[list[list[JoinedInstance]]]) -> list[list[list[str]]]:
    return [[[image.location for image in files] for files in levels] for levels in pyramids]


@pytest.mark.parametrize(
    ("image_type", "name"),
    [
        (["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"], ""),
        (["ORIGINAL", "PRIMARY", "LABEL", "NONE"], "label"),
        (["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"], "overview"),
        (["DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED"], "thumbnail"),
        (["ORIGINAL", "PRIMARY"], ""),
        ("LABEL", ""),
        (None, ""),
    ],
)
def test_associated_images_by_the_third_value_of_image_type(image_type: Any, name: str) -> None:
    assert associated_name(level(8, 8, ImageType=image_type)) == name


def test_levels_of_one_extent_are_a_pyramid_finest_first() -> None:
    # 103 / 4 is 25.75: rounded, within a pixel of the coarser level.
    images = [level(25, 50), level(103, 200), level(51, 100), level(24, 24)]
    assert sizes(split_pyramids(images)) == [
        [["103.dcm"], ["51.dcm"], ["25.dcm"]],
        [["24.dcm"]],
    ]


def test_levels_of_one_pyramid_uid_belong_together_whatever_their_extent() -> None:
    images = [
        level(64, 64, PyramidUID="1.1"),
        level(32, 20, PyramidUID="1.1"),
        level(16, 16, PyramidUID="1.2"),
    ]
    assert sizes(split_pyramids(images)) == [[["64.dcm"], ["32.dcm"]], [["16.dcm"]]]


def test_files_of_one_size_are_one_level() -> None:
    images = [level(64, 64), level(32, 32), level(64, 64)]
    assert sizes(split_pyramids(images)) == [[["64.dcm", "64.dcm"], ["32.dcm"]]]


def edges(layout: ImageLayout, dim: str) -> tuple[float, float]:
    """Return the outer edges of the first and the last pixel."""
    values = layout.coordinates[dim].values
    half = (values[1] - values[0]) / 2
    return values[0] - half, values[-1] + half


def layouts(*levels: JoinedInstance) -> list[ImageLayout]:
    return share_origin([layout_slide([image], LayoutOptions()) for image in levels])


def test_outer_edges_coincide_where_all_levels_repeat_one_origin() -> None:
    finest, *coarser = layouts(level(64, 128, 0.001), level(32, 64, 0.002), level(8, 16, 0.008))
    for layout in coarser:
        for dim in ("y", "x"):
            np.testing.assert_allclose(edges(layout, dim), edges(finest, dim))
        assert layout.attrs["origin_adjusted"] == 1
        # The affine places the first pixel where the coordinates do: columns run along -x,
        # rows along -y of the slide.
        assert layout.affine is not None
        origin = layout.affine[:3, 3]
        np.testing.assert_allclose(-origin[0], layout.coordinates["y"].values[0])
        np.testing.assert_allclose(-origin[1], layout.coordinates["x"].values[0])
    assert "origin_adjusted" not in finest.attrs


def test_levels_with_origins_of_their_own_stay() -> None:
    own = item(XOffsetInSlideCoordinateSystem=19.9995, YOffsetInSlideCoordinateSystem=39.9995)
    _, coarse = layouts(
        level(64, 64, 0.001), level(32, 32, 0.002, TotalPixelMatrixOriginSequence=own)
    )
    assert "origin_adjusted" not in coarse.attrs
    np.testing.assert_allclose(coarse.coordinates["y"].values[0], -19.9995)


def test_levels_of_another_extent_stay() -> None:
    _, coarse = layouts(level(64, 64, 0.001), level(32, 32, 0.004))
    assert "origin_adjusted" not in coarse.attrs


def test_levels_without_a_frame_of_reference_share_that_of_the_finest() -> None:
    finest, coarse = layouts(
        level(64, 64, 0.001, FrameOfReferenceUID=None, ImageOrientationSlide=None),
        level(32, 32, 0.002, FrameOfReferenceUID=None, ImageOrientationSlide=None),
    )
    assert coarse.frame_of_reference == finest.frame_of_reference
    np.testing.assert_allclose(edges(coarse, "x"), edges(finest, "x"))
    assert coarse.affine is None
    assert "origin_adjusted" not in coarse.attrs
