"""Plane geometry and affines, against highdicom's."""

import highdicom as hd
import numpy as np
import pytest
from highdicom.spatial import ImageToReferenceTransformer, PixelToReferenceTransformer
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_dicom.errors import CorruptDicomError, DicomError, DicomWarning
from xarray_dicom.layout.geometry import (
    SLIDE_Z,
    AxisMatch,
    PlaneGeometry,
    affine,
    axis_coordinates,
    frame_of_reference,
    image_coordinates,
    known_spacing,
    match_grids,
    parse_frame_of_reference,
    same_orientation,
    slide_origin,
)

AXIAL = (1, 0, 0, 0, 1, 0)
SLIDE = (0, -1, 0, -1, 0, 0)

angles = st.floats(-np.pi, np.pi)
lengths = st.floats(0.01, 10)
places = st.floats(-500, 500)


def rotation(a: float, b: float, c: float) -> np.ndarray:
    """Rotation by three Euler angles."""

    def about(axis: int, angle: float) -> np.ndarray:
        matrix = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        matrix[[i, i, j, j], [i, j, i, j]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        return matrix

    return about(0, a) @ about(1, b) @ about(2, c)


@st.composite
def planes(draw: st.DrawFn) -> PlaneGeometry:
    turned = rotation(draw(angles), draw(angles), draw(angles))
    return PlaneGeometry.from_elements([*turned[0], *turned[1]], [draw(lengths), draw(lengths)])


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
    with pytest.raises(CorruptDicomError, match=words) as caught:
        PlaneGeometry.from_elements(orientation, spacing, location="s3://b/k.dcm")
    assert str(caught.value).startswith("s3://b/k.dcm: ")


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_text_of_a_frame_of_reference_reads_back(cosines):
    text = frame_of_reference("1.2.840.5", cosines)
    uid, read = parse_frame_of_reference(text)
    assert uid == "1.2.840.5"
    np.testing.assert_allclose(read, cosines, atol=5.001e-5)
    assert "-0," not in text
    assert same_orientation(read, cosines)


def test_same_orientation_compares_numbers_not_text():
    assert same_orientation((0.70705,), (0.70714,))
    assert same_orientation((0.9999,), (1.0,))
    assert not same_orientation((0.9998,), (1.0,))


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3 [1,0,0]", "1.2 [a,0,0,0,1,0]", "1 [nan,0,0,0,1,0]"]
)
def test_text_that_is_no_frame_of_reference_is_refused(text):
    with pytest.raises(DicomError, match="frame of reference"):
        parse_frame_of_reference(text)


offsets = st.integers(-30, 30)


@settings(max_examples=200)
@given(
    planes(),
    st.tuples(offsets, offsets, offsets),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.tuples(*[st.integers(2, 40)] * 3),
    st.floats(-0.009, 0.009),
)
def test_shifted_and_reversed_grids_match(geometry, offset, flips, shape, jitter):
    target = geometry.affine((1, 2, 3), 2.5 * np.array(geometry.normal))
    move = np.eye(4)
    move[:3, :3] = np.diag([-1 if flip else 1 for flip in flips])
    move[:3, 3] = np.array(offset) + jitter
    found = match_grids(target, target @ move, (4, 5, 6), shape)
    assert found == tuple(AxisMatch(o, f) for o, f in zip(offset, flips, strict=True))


@pytest.mark.parametrize("axis", range(3))
def test_half_a_pixel_does_not_match(axis):
    target = affine((0, 0, 0), (0, 0, 2), (0, 0.5, 0), (0.25, 0, 0))
    other = target.copy()
    other[:3, 3] += 0.5 * target[:3, axis]
    step = np.linalg.norm(target[:3, axis])
    with pytest.raises(DicomError, match=f"along {'zyx'[axis]} by {0.5 * step:.4g} mm"):
        match_grids(target, other, (3, 4, 5), (3, 4, 5))


def test_other_spacing_is_named():
    target = affine((0, 0, 0), (0, 0, 2), (0, 0.5, 0), (0.5, 0, 0))
    other = affine((0, 0, 0), (0, 0, 2), (0, 0.5, 0), (0.501, 0, 0))
    with pytest.raises(DicomError, match=r"spacing along x is 0\.501 and 0\.5 mm"):
        match_grids(target, other, (3, 512, 512), (3, 512, 512))
    # over few pixels the same difference is too small to matter
    assert match_grids(target, other, (3, 4, 4), (3, 4, 4)) == (AxisMatch(0, False),) * 3


def test_permuted_axes_are_named():
    target = affine((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    other = affine((0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0))
    with pytest.raises(DicomError, match="y axes point in different directions"):
        match_grids(target, other, (3, 4, 5), (3, 4, 5))


def test_one_plane_has_no_step_of_its_own():
    volume = affine((0, 0, 0), (0, 0, 2.5), (0, 1, 0), (1, 0, 0))
    plane = affine((0, 0, 5.0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    assert match_grids(volume, plane, (4, 5, 6), (1, 5, 6))[0] == AxisMatch(2, False)
    assert match_grids(plane, volume, (1, 5, 6), (4, 5, 6))[0] == AxisMatch(-2, False)


def test_singular_target_is_an_error():
    with pytest.raises(DicomError, match="singular"):
        match_grids(np.zeros((4, 4)), np.eye(4), (2, 2, 2), (2, 2, 2))


@pytest.mark.parametrize("spacing", [(0, 0), (-1, 1), (np.nan, 1), (1,)])
def test_a_spacing_that_can_not_be_one_is_unknown(spacing):
    with pytest.warns(DicomWarning, match=r"^there\.dcm: Pixel Spacing .* no coordinates"):
        assert known_spacing(spacing, location="there.dcm") is None


def test_a_spacing_that_is_none_is_unknown_without_a_word():
    assert known_spacing(None, location="there.dcm") is None
    assert known_spacing([0.5, 0.25], location="there.dcm") == (0.5, 0.25)
