"""Plane geometry and affines, against highdicom's."""

import highdicom as hd
import numpy as np
import pytest
from highdicom.spatial import ImageToReferenceTransformer, PixelToReferenceTransformer
from hypothesis import given
from hypothesis import strategies as st

from support.geometries import lengths, planes
from xarray_dicom.errors import CorruptDicomError, DicomWarning, located
from xarray_dicom.layout.plane_geometry import (
    SLIDE_Z,
    PlaneGeometry,
    axis_coordinates,
    image_coordinates,
    slide_origin,
    usable_spacing,
)

AXIAL = (1, 0, 0, 0, 1, 0)
SLIDE = (0, -1, 0, -1, 0, 0)

places = st.floats(-500, 500)


@given(planes(), st.tuples(places, places, places), st.tuples(*[st.integers(0, 2000)] * 2))
def test_plane_affine_is_that_of_highdicom(geometry, origin, pixel):
    row, column = pixel
    oracle = PixelToReferenceTransformer(origin, geometry.orientation, geometry.spacing)
    expected = oracle(np.array([[column, row]]))[0]
    found = (geometry.affine(origin) @ [0, row, column, 1])[:3]
    np.testing.assert_allclose(found, expected, atol=1e-9 * 2000 * 10)


def test_affine_maps_pixel_centres_not_corners():
    geometry = PlaneGeometry.from_elements(AXIAL, (0.5, 0.7))
    corner = ImageToReferenceTransformer((10, 20, 30), geometry.orientation, geometry.spacing)
    centre_of_first = corner(np.array([[0.5, 0.5]]))[0]
    np.testing.assert_allclose(geometry.affine((10, 20, 30))[:3, 3], centre_of_first)


@given(planes(), st.tuples(places, places, places), lengths, st.integers(1, 20))
def test_volume_affine_is_that_of_highdicom(geometry, origin, thickness, count):
    normal = np.array(geometry.normal)
    oracle = hd.VolumeGeometry.from_attributes(
        image_position=(np.array(origin) + (count - 1) * thickness * normal).tolist(),
        image_orientation=geometry.orientation,
        rows=8,
        columns=9,
        pixel_spacing=geometry.spacing,
        spacing_between_slices=thickness,
        number_of_frames=count,
        coordinate_system="PATIENT",
    )
    # highdicom stacks along -n, planes here ascend along n
    flipped = oracle.affine @ np.array(
        [[-1, 0, 0, count - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float
    )
    np.testing.assert_allclose(geometry.affine(origin, thickness * normal), flipped, atol=1e-6)


@given(planes(), st.tuples(places, places, places), st.integers(1, 50), st.integers(1, 50))
def test_coordinates_are_projections_of_pixel_positions(geometry, origin, rows, columns):
    y, x = geometry.coordinates(origin, (rows, columns))
    matrix = geometry.affine(origin)
    down = np.stack([np.zeros(rows), np.arange(rows), np.zeros(rows), np.ones(rows)])
    across = np.stack([np.zeros(columns), np.zeros(columns), np.arange(columns), np.ones(columns)])
    np.testing.assert_allclose(
        y, np.array(geometry.column_cosines) @ (matrix @ down)[:3], atol=1e-9
    )
    np.testing.assert_allclose(x, np.array(geometry.row_cosines) @ (matrix @ across)[:3], atol=1e-9)


def test_axial_coordinates_are_patient_coordinates_exactly():
    y, x = PlaneGeometry.from_elements(AXIAL, (0.7, 0.3)).coordinates((-100.5, 20.25, 7.0), (3, 2))
    np.testing.assert_array_equal(y, 20.25 + np.arange(3) * 0.7)
    np.testing.assert_array_equal(x, -100.5 + np.arange(2) * 0.3)
    assert y.dtype == x.dtype == np.float64


def test_slide_x_is_minus_its_y():
    geometry = PlaneGeometry.from_elements(SLIDE, (0.0005, 0.00025))
    origin = slide_origin(20.0, 40.0, 0.002)
    y, x = geometry.coordinates(origin, (2, 2))
    np.testing.assert_allclose(x, [-40.0, -40.0 + 0.00025])
    np.testing.assert_allclose(y, [-20.0, -20.0 + 0.0005])
    np.testing.assert_array_equal(axis_coordinates(origin, SLIDE_Z, 0.001, 2), [0.002, 0.003])
    assert geometry.normal == (0, 0, -1)
    oracle = PixelToReferenceTransformer(origin, SLIDE, geometry.spacing)
    matrix = geometry.affine(origin, SLIDE_Z)
    np.testing.assert_allclose((matrix @ [0, 5, 3, 1])[:3], oracle(np.array([[3, 5]]))[0])


def test_image_coordinates_begin_at_the_first_pixel():
    np.testing.assert_array_equal(image_coordinates(0.25, 3), [0, 0.25, 0.5])


def test_cosines_are_normalised_without_negative_zeros():
    geometry = PlaneGeometry.from_elements([0.9999, -0.0, 0, 0, 1.0001, 0], (1, 1))
    assert geometry.row_cosines == (1, 0, 0)
    assert str(geometry.row_cosines) == "(1.0, 0.0, 0.0)"
    assert geometry.normal == (0, 0, 1)


@pytest.mark.parametrize(
    ("orientation", "spacing", "words"),
    [
        ((0, 0, 0, 0, 1, 0), (1, 1), "length 1"),
        ((1, 0, 0, 1, 0, 0), (1, 1), "perpendicular"),
        ((1, 0, 0, 0.5, 0.866, 0), (1, 1), "60.00 degrees"),
        ((1, 0, 0, 0, np.nan, 0), (1, 1), r"\(0020,0037\)"),
        ((1, 0, 0), (1, 1), "6 finite numbers"),
        (("a",) * 6, (1, 1), "not numbers"),
        (AXIAL, (0, 1), "positive"),
        (AXIAL, (-1, 1), r"\(0028,0030\)"),
        (AXIAL, (np.inf, 1), "finite"),
        (AXIAL, (1,), "2 finite numbers"),
        (AXIAL, None, r"\(0028,0030\)"),
    ],
)
def test_bad_elements_are_named(orientation, spacing, words):
    with (
        pytest.raises(CorruptDicomError, match=words) as caught,
        located("s3://b/k.dcm"),
    ):
        PlaneGeometry.from_elements(orientation, spacing)
    keyword = "PixelSpacing" if orientation is AXIAL else "ImageOrientationPatient"
    assert caught.value.tag == keyword
    assert str(caught.value).startswith("s3://b/k.dcm: ")


@pytest.mark.parametrize("spacing", [(0, 0), (-1, 1), (np.nan, 1), (1,)])
def test_a_spacing_that_can_not_be_one_is_unknown(spacing):
    with (
        pytest.warns(DicomWarning, match=r"^there\.dcm: Pixel Spacing .* no coordinates"),
        located("there.dcm"),
    ):
        assert usable_spacing(spacing) is None


def test_a_spacing_that_is_none_is_unknown_without_a_word():
    assert usable_spacing(None) is None
    assert usable_spacing([0.5, 0.25]) == (0.5, 0.25)
