"""Extra dimensions recovered from the attributes of shuffled frames."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.datadict import DicomDictionary

from xarray_dicom.layout.dimension_names import (
    CLASSIC_KEYWORDS,
    NAMES,
    SPATIAL,
    dimension_name,
)
from xarray_dicom.layout.dimensions import Arrangement, arrange


def grid(*sizes: int) -> list[NDArray[np.intp]]:
    """Index along each axis of every cell of a grid."""
    return [axis.ravel() for axis in np.indices(sizes)]


def coordinate(arrangement: Arrangement, name: str):
    return arrangement.coords[name]


def value_of_each_frame(arrangement: Arrangement, name: str, plane) -> np.ndarray:
    """What the arrangement says that each frame has: the way back to the columns."""
    cells = dict(zip([d for d, _ in arrangement.dims], arrangement.cells, strict=True))
    cells["z"] = np.unique(plane, return_inverse=True)[1]
    found = coordinate(arrangement, name)
    return found.values[tuple(cells[dim] for dim in found.dims)]


@given(
    st.lists(st.integers(2, 4), min_size=1, max_size=3),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_shuffled_grids_are_recovered(sizes, planes, random):
    *axes, z = grid(*sizes, planes)
    order = np.array(random.sample(range(len(z)), len(z)))
    values = [np.sort(np.array(random.sample(range(100), n))) * 0.5 for n in sizes]
    columns = {f"d{i}": v[a][order] for i, (v, a) in enumerate(zip(values, axes, strict=True))}
    found = arrange(z[order], columns)
    assert found.dims == tuple((f"d{i}", n) for i, n in enumerate(sizes))
    assert found.has_planes
    assert found.warnings == ()
    for i, axis in enumerate(axes):
        np.testing.assert_array_equal(found.cells[i], axis[order])
        np.testing.assert_array_equal(coordinate(found, f"d{i}").values, values[i])


@given(st.data())
def test_nothing_is_lost_whatever_the_columns(data):
    n = data.draw(st.integers(1, 30))
    codes = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    plane = np.array(data.draw(codes))
    columns = {name: np.array(data.draw(codes)) * 1.5 for name in "abc"}
    columns["s"] = np.array([f"t{i}" for i in data.draw(codes)])
    found = arrange(plane, columns)
    places = np.stack([*found.cells, plane] if found.has_planes else found.cells)
    assert len(np.unique(places, axis=1).T) == n, "two frames in one place"
    for name, values in columns.items():
        if len(set(values)) > 1:
            np.testing.assert_array_equal(value_of_each_frame(found, name, plane), values)
    for (_, size), cells in zip(found.dims, found.cells, strict=True):
        assert set(cells) == set(range(size))


def test_a_plain_volume_has_no_extra_dimension():
    found = arrange(np.arange(30), {"acquisition_number": np.arange(30) // 15})
    assert found.dims == ()
    assert coordinate(found, "acquisition_number").dims == ("z",)
    assert found.warnings == ()


def test_functional_mri_with_correlated_time():
    t, z = grid(20, 30)
    found = arrange(
        z, {"temporal_position": t + 1, "trigger_time": t * 2500.0, "kvp": np.full(600, 120.0)}
    )
    assert found.dims == (("temporal_position", 20),)
    assert coordinate(found, "trigger_time").dims == ("temporal_position",)
    assert list(found.coords) == ["temporal_position", "trigger_time"]


def test_times_that_jitter_from_plane_to_plane_are_coordinates():
    t, z = grid(10, 8)
    trigger = t * 40 + np.random.default_rng(0).random(80)
    found = arrange(z, {"trigger_time": trigger, "temporal_position": t})
    assert found.dims == (("temporal_position", 10),)
    assert coordinate(found, "trigger_time").dims == ("temporal_position", "z")
    np.testing.assert_array_equal(coordinate(found, "trigger_time").values, trigger.reshape(10, 8))


@pytest.mark.parametrize("planes", [2, 3, 8])
def test_times_that_jitter_alone_are_ranked_in_each_plane(planes):
    t, z = grid(10, planes)
    trigger = t * 40 + np.random.default_rng(0).random(len(t))
    order = np.random.default_rng(1).permutation(len(t))
    found = arrange(z[order], {"trigger_time": trigger[order]})
    assert found.dims == (("volume", 10),)
    np.testing.assert_array_equal(found.cells[0], t[order])
    assert coordinate(found, "trigger_time").dims == ("volume", "z")


def test_diffusion_is_a_volume_with_coordinates():
    v, z = grid(7, 4)
    directions = np.array(["", *(f"[{i},0,0]" for i in range(6))])
    found = arrange(z, {"diffusion_b_value": np.where(v == 0, 0, 1000), "direction": directions[v]})
    assert found.dims == (("volume", 7),)
    np.testing.assert_array_equal(coordinate(found, "diffusion_b_value").values, [0] + [1000] * 6)
    np.testing.assert_array_equal(coordinate(found, "direction").values, directions)


def test_a_running_number_beside_a_grid_is_a_coordinate():
    t, e, z = grid(5, 4, 6)
    found = arrange(
        z,
        {
            "acquisition_number": t * 4 + e,
            "temporal_position": t,
            "echo_time": e * 1.5,
            "echo_number": e + 1,
        },
    )
    assert found.dims == (("temporal_position", 5), ("echo_time", 4))
    assert coordinate(found, "echo_number").dims == ("echo_time",)
    assert coordinate(found, "acquisition_number").dims == ("temporal_position", "echo_time")


def test_magnitude_and_phase_of_each_echo():
    kind, echo, z = grid(2, 3, 4)
    names = np.array(["MAGNITUDE", "PHASE"])
    found = arrange(z, {"complex_image_component": names[kind], "echo_time": echo * 2.0})
    assert found.dims == (("complex_image_component", 2), ("echo_time", 3))
    np.testing.assert_array_equal(coordinate(found, "complex_image_component").values, names)


def test_missing_frames_are_counted_and_filled():
    t, z = grid(5, 6)
    keep = np.arange(30) != 17
    found = arrange(z[keep], {"temporal_position": t[keep], "instance": np.arange(30)[keep]})
    assert found.dims == (("temporal_position", 5),)
    assert found.warnings == ("1 of 30 planes have no frame and read as fill",)
    instance = coordinate(found, "instance").values
    assert np.isnan(instance[2, 5])
    assert np.isnan(instance).sum() == 1


def test_an_aborted_grid_is_a_volume():
    t, e, z = grid(5, 2, 6)
    keep = (t < 4) | (e < 1)
    found = arrange(z[keep], {"temporal_position": t[keep], "echo_time": e[keep]})
    assert found.dims == (("volume", 9),)
    assert found.warnings == ()


def test_frames_that_nothing_tells_apart_stay_frames():
    t, z = grid(2, 3)
    found = arrange(z, {"echo_time": np.where(z == 1, 3.0, 4.0), "kvp": np.ones(6)})
    assert found.dims == (("frame", 6),)
    assert not found.has_planes
    assert "frames 1 and 4 lie in one plane and no attribute" in found.warnings[0]
    assert coordinate(found, "echo_time").dims == ("frame",)
    assert t.size == 6


def test_frames_without_any_attribute_stay_frames():
    found = arrange(np.zeros(4, int), {})
    assert found.dims == (("frame", 4),)
    np.testing.assert_array_equal(found.cells[0], np.arange(4))


def test_jitter_with_a_missing_frame_stays_frames():
    t, z = grid(10, 8)
    trigger = (t * 40 + np.random.default_rng(0).random(80))[:-1]
    found = arrange(z[:-1], {"trigger_time": trigger})
    assert found.dims == (("frame", 79),)
    assert "trigger_time that do not recur" in found.warnings[0]


def test_one_plane_at_several_times():
    found = arrange(np.zeros(5, int), {"temporal_position": [5, 4, 3, 2, 1]})
    assert found.dims == (("temporal_position", 5),)
    np.testing.assert_array_equal(found.cells[0], [4, 3, 2, 1, 0])


def test_absent_values_are_one_value():
    found = arrange([0, 0, 0, 0], {"t": [1, 1, 2, 2], "flip_angle": [np.nan, 10, np.nan, 10]})
    assert found.dims == (("t", 2), ("flip_angle", 2))


def test_hundred_thousand_frames_take_no_time():
    t, z = grid(316, 316)
    columns = {f"c{i}": (t * (i + 3)) % (7 + i) for i in range(12)}
    columns["trigger_time"] = np.random.default_rng(0).random(len(t))
    start = time.perf_counter()
    arrange(z, columns)
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("TemporalPositionIndex", "temporal_position"),
        ("TemporalPositionIdentifier", "temporal_position"),
        ("EffectiveEchoTime", "echo_time"),
        ("EchoTime", "echo_time"),
        ("DiffusionBValue", "diffusion_b_value"),
        ("TriggerTime", "trigger_time"),
        ("NominalCardiacTriggerDelayTime", "trigger_time"),
        ("InversionTimes", "inversion_time"),
        ("KVP", "kvp"),
        ("MRAcquisitionType", "mr_acquisition_type"),
        ("ComplexImageComponent", "complex_image_component"),
        (0x2005140F, "private_2005_140f"),
        (0x00209999, "tag_0020_9999"),
    ],
)
def test_names(attribute, name):
    assert dimension_name(attribute) == name


def test_every_keyword_is_in_the_standard():
    keywords = {entry[4] for entry in DicomDictionary.values()}
    assert keywords >= SPATIAL
    assert keywords >= set(CLASSIC_KEYWORDS)
    assert keywords >= set(NAMES)
    assert not SPATIAL & set(CLASSIC_KEYWORDS)
