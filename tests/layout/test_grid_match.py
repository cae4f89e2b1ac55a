"""Grids that are shifted, reversed, or something else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.geometries import planes
from xarray_dicom.errors import DicomError
from xarray_dicom.layout.grid_match import AxisMatch, match_grids
from xarray_dicom.layout.plane_geometry import affine

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
