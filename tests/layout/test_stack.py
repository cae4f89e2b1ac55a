"""Frames sorted into planes, against what they were made from and highdicom."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.spatial import get_volume_positions
from hypothesis import given
from hypothesis import strategies as st

from xarray_dicom.errors import CorruptDicomError, located
from xarray_dicom.layout.plane_geometry import PlaneGeometry
from xarray_dicom.layout.stack import arrange_planes, split_stacks

CORPUS = Path(__file__).resolve().parents[2] / "../shared/data"

AXIAL = PlaneGeometry.from_elements((1, 0, 0, 0, 1, 0), (0.5, 0.5))
OBLIQUE = PlaneGeometry.from_elements(
    (0.93969262, 0.34202014, 0, -0.24184476, 0.66446302, -0.70710678), (0.8, 0.8)
)


def stack(geometry: PlaneGeometry, depths: np.ndarray, start=(-120.0, 33.0, 12.5)) -> np.ndarray:
    return np.array(start) + np.asarray(depths)[:, None] * np.array(geometry.normal)


@given(
    st.sampled_from([AXIAL, OBLIQUE]),
    st.integers(1, 30),
    st.integers(1, 4),
    st.floats(0.05, 20),
    st.randoms(use_true_random=False),
)
def test_shuffled_volumes_are_recovered(geometry, planes, times, spacing, random):
    plane = np.tile(np.arange(planes), times)
    random.shuffle(plane)
    positions = stack(geometry, plane * spacing)
    found = arrange_planes(positions, geometry)
    np.testing.assert_array_equal(found.plane, plane)
    np.testing.assert_allclose(np.diff(found.z), spacing)
    np.testing.assert_allclose(found.origins, stack(geometry, np.arange(planes) * spacing))
    assert found.warnings == ()
    assert not found.x_drifts
    assert not found.y_drifts
    step = (spacing if planes > 1 else 1) * np.array(geometry.normal)
    np.testing.assert_allclose(
        found.affine, geometry.affine(stack(geometry, [0.0])[0], step), atol=1e-9
    )


@given(st.integers(2, 20), st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_order_and_spacing_are_those_of_highdicom(planes, spacing, random):
    order = list(range(planes))
    random.shuffle(order)
    positions = stack(OBLIQUE, np.array(order) * spacing)
    theirs, indices = get_volume_positions(positions.tolist(), OBLIQUE.orientation)
    found = arrange_planes(positions, OBLIQUE)
    np.testing.assert_allclose(np.diff(found.z), theirs)
    # highdicom stacks along -n
    np.testing.assert_array_equal(found.plane, planes - 1 - np.array(indices))


def test_axial_z_is_the_patient_z_exactly():
    positions = [[1.5, 2.5, z] for z in (30.1, -7.3, 11.4)]
    np.testing.assert_array_equal(arrange_planes(positions, AXIAL).z, [-7.3, 11.4, 30.1])


def test_repeated_positions_with_noise_are_one_plane():
    depths = np.repeat(np.arange(5) * 3.0, 4)
    noise = np.random.default_rng(0).uniform(-1e-3, 1e-3, 20)
    found = arrange_planes(stack(AXIAL, depths + noise), AXIAL)
    np.testing.assert_array_equal(found.plane, np.repeat(np.arange(5), 4))


def test_planes_closer_than_the_pixels_stay_apart():
    found = arrange_planes(stack(AXIAL, np.arange(8) * 0.02), AXIAL)
    assert len(found.z) == 8


def test_a_far_plane_does_not_merge_the_near_ones():
    found = arrange_planes(stack(AXIAL, [*np.arange(10) * 1.0, 5000.0]), AXIAL)
    assert len(found.z) == 11
    assert "planes 9 and 10 are 4991.0 mm apart, elsewhere 1.0 mm" in found.warnings[0]


def test_a_gap_is_told_and_kept():
    depths = np.delete(np.arange(20) * 2.5, 13)
    found = arrange_planes(stack(AXIAL, depths), AXIAL)
    assert "planes 12 and 13 are 5.0 mm apart, elsewhere 2.5 mm" in found.warnings[0]
    np.testing.assert_allclose(found.z, 12.5 + depths)
    assert found.affine is None


def test_irregular_spacing_is_told():
    found = arrange_planes(stack(AXIAL, np.cumsum([0, 1, 1, 2, 1, 3, 1, 1])), AXIAL)
    (warning,) = found.warnings
    assert "between 1.0 and 3.0 mm apart, mostly 1.0 mm" in warning


def test_spacing_within_one_percent_is_regular():
    depths = np.arange(10) * 2.0 + np.tile([0.0, 0.005], 5)
    found = arrange_planes(stack(AXIAL, depths), AXIAL)
    assert found.warnings == ()
    assert found.affine is not None


def test_tilt_is_in_the_affine_and_takes_the_coordinate():
    positions = stack(AXIAL, np.arange(6) * 2.0) + np.arange(6)[:, None] * [0, 0.42, 0]
    found = arrange_planes(positions[::-1], AXIAL)
    assert found.y_drifts
    assert not found.x_drifts
    assert "0.42 mm per plane along y" in found.warnings[0]
    for plane, origin in enumerate(found.origins):
        np.testing.assert_allclose((found.affine @ [plane, 0, 0, 1])[:3], origin)


def test_uneven_drift_has_no_affine():
    positions = stack(AXIAL, np.arange(6) * 2.0)
    positions[3, 0] += 1.0
    found = arrange_planes(positions, AXIAL)
    assert found.x_drifts
    assert found.affine is None
    assert "unevenly along x, by 1.0 mm" in found.warnings[0]


def test_drift_below_one_percent_of_a_pixel_is_not_told():
    positions = stack(AXIAL, np.arange(10) * 2.0) + np.arange(10)[:, None] * [0.0005, 0, 0]
    found = arrange_planes(positions, AXIAL)
    assert found.warnings == ()
    np.testing.assert_allclose(found.affine[:3, 0], [0, 0, 2.0])


def test_frames_of_one_plane_that_begin_elsewhere_are_told():
    found = arrange_planes([[0, 0, 0], [5, 0, 0]], AXIAL)
    assert len(found.z) == 1
    assert found.x_drifts
    assert "do not begin at the same x" in found.warnings[0]


@pytest.mark.parametrize("positions", [[[0, 0]], [], [[0, 0, np.nan]], [[0, 0, 0], [0, np.inf, 0]]])
def test_bad_positions_are_named(positions):
    with (
        pytest.raises(CorruptDicomError, match=r"^here\.dcm: .*\(0020,0032\)"),
        located("here.dcm"),
    ):
        arrange_planes(positions, AXIAL)


def test_stacks_split_by_orientation_and_stack_id():
    axial, sagittal = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)
    orientations = [sagittal, axial, axial, sagittal, axial]
    found = split_stacks(orientations)
    assert [s.tolist() for s in found] == [[0, 3], [1, 2, 4]]
    found = split_stacks(orientations, ["1", "1", "2", "1", "1"])
    assert [s.tolist() for s in found] == [[0, 3], [1, 4], [2]]


def test_orientations_within_tolerance_are_one_stack():
    axial = np.tile([1.0, 0, 0, 0, 1, 0], (50, 1))
    jitter = np.random.default_rng(1).uniform(-4e-5, 4e-5, axial.shape)
    assert len(split_stacks(axial + jitter)) == 1
    axial[::2, 2] += 3e-4
    assert len(split_stacks(axial + jitter)) == 2


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_stacks_partition_the_frames(which):
    angle = np.array(which) * 0.3
    zero = np.zeros_like(angle)
    cosines = np.stack([np.cos(angle), np.sin(angle), zero, -np.sin(angle), np.cos(angle), zero], 1)
    found = split_stacks(cosines)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(which)))
    assert all(len({which[i] for i in s}) == 1 for s in found)
    assert len(found) == len(set(which))
    assert [s[0] for s in found] == sorted(s[0] for s in found)


def test_a_rotation_of_many_frames_splits_at_once():
    angle = np.linspace(0, np.pi, 20_000)
    zero = np.zeros_like(angle)
    cosines = np.stack([np.cos(angle), np.sin(angle), zero, zero, zero, zero - 1], 1)
    assert len(split_stacks(cosines)) > 5_000


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus")
@pytest.mark.parametrize(
    ("folder", "planes", "words"),
    [
        ("icometrix+dicom2nifti/tests/data/failing/gantrytilting/001", 4, "-1.21 mm per plane"),
        ("icometrix+dicom2nifti/tests/data/failing/sliceincrement/001", 4, "10.0 mm apart"),
        ("icometrix+dicom2nifti/tests/data/generic/anatomical/001_implicit", 4, ""),
        ("neurolabusc+dcm_qa_canon/In/10000_DTI_AP-ortho", 40, ""),
    ],
)
def test_real_series(folder, planes, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = [
            pydicom.dcmread(path, stop_before_pixels=True)
            for path in sorted((CORPUS / folder).glob("*.dcm"))
        ]
    first = datasets[0]
    geometry = PlaneGeometry.from_elements(first.ImageOrientationPatient, first.PixelSpacing)
    found = arrange_planes([d.ImagePositionPatient for d in datasets], geometry)
    assert len(found.z) == planes
    assert words in " ".join(found.warnings)
    assert bool(words) == bool(found.warnings)
