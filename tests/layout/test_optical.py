"""Optical paths of plain data sets (PS3.3 C.8.12.5)."""

from __future__ import annotations

import numpy as np
import pytest

from support.plain_instances import items, plain_instance
from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.layout.optical import (
    OpticalPath,
    distinct_identifiers,
    optical_paths,
    path_coordinates,
)


def test_paths_are_the_items_in_file_order() -> None:
    instance = plain_instance(
        OpticalPathSequence=items(
            {"OpticalPathIdentifier": "DAPI", "IlluminationWaveLength": 358.0},
            {"OpticalPathIdentifier": "Cy5", "OpticalPathDescription": "far red"},
            {},
        )
    )
    assert optical_paths(instance) == (
        OpticalPath("DAPI", "", 358.0),
        OpticalPath("Cy5", "far red"),
        OpticalPath("3"),
    )


def test_paths_without_items_are_numbered() -> None:
    instance = plain_instance(n_frames=6, NumberOfOpticalPaths=2)
    assert optical_paths(instance) == (OpticalPath("1"), OpticalPath("2"))
    assert optical_paths(plain_instance()) == (OpticalPath("1"),)


def test_more_paths_than_frames_are_an_error() -> None:
    with pytest.raises(CorruptDicomError, match=r"\(0048,0302\) is 7, but .* is 6") as caught:
        optical_paths(plain_instance("many.dcm", n_frames=6, NumberOfOpticalPaths=7))
    assert caught.value.location == "many.dcm"
    assert caught.value.tag == "NumberOfOpticalPaths"


def test_equal_identifiers_give_way_to_description_and_wavelength() -> None:
    described = OpticalPath("1", "brightfield")
    lit = OpticalPath("1", "", 488.0)
    other = OpticalPath("2", "brightfield")
    named = distinct_identifiers([described, lit, other, described])
    assert named == {
        described: OpticalPath("brightfield", "brightfield"),
        lit: OpticalPath("1 488 nm", "", 488.0),
        other: other,
    }


PATHS = [OpticalPath("a", "first", 488.0), OpticalPath("b", "second")]


def test_coordinates_of_a_dimension() -> None:
    found = path_coordinates(PATHS, dimension=True)
    assert {name: c.dims for name, c in found.items()} == dict.fromkeys(
        ["optical_path", "optical_path_description", "wavelength"], ("optical_path",)
    )
    assert found["optical_path"].values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found["wavelength"].values, [488.0, np.nan])
    assert found["wavelength"].attrs == {"units": "nm"}


def test_coordinates_of_a_single_path_are_scalars() -> None:
    found = path_coordinates(PATHS[:1], dimension=False)
    assert {name: (c.dims, c.values.shape) for name, c in found.items()} == {
        "optical_path_description": ((), ()),
        "wavelength": ((), ()),
    }
    assert found["optical_path_description"].values.dtype == object
    assert path_coordinates([OpticalPath("1")], dimension=False) == {}
