"""Affines and spacings, held to highdicom's and to the positions in the headers."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray

from support.generate.multiframe import enhanced_mr
from support.generate.series import ct_series
from support.generate.slide import slide
from support.kinds import content, kind
from xarray_dicom.errors import DicomError

#: Neither axial nor along any axis: an oblique stack, with a row and a column direction.
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)

SPACING = (3.0, 1.25, 0.75)


def series(folder: Path, **options: Any) -> tuple[xr.Dataset, list[pydicom.Dataset]]:
    given = {"planes": 7, "shape": (10, 12), "spacing": SPACING, **options}
    planes = ct_series(folder, **given)
    return xr.open_dataset(str(folder), engine="dicom"), planes


def place(header: pydicom.Dataset, row: float, column: float) -> NDArray[np.float64]:
    """Position of a pixel centre (PS3.3 C.7.6.2.1.1)."""
    along_row, along_column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
    between_rows, between_columns = map(float, header.PixelSpacing)
    origin = np.asarray(header.ImagePositionPatient, float)
    return origin + column * between_columns * along_row + row * between_rows * along_column


def assert_places(array: xr.DataArray, planes: list[pydicom.Dataset], index: Any) -> None:
    """Hold the affine of `array` to the header of each of its planes.

    `index` has for z, y and x which pixels of the series `array` has, each 1-D.
    """
    affine = array.dicom.affine
    z, y, x = (np.atleast_1d(np.arange(n)[key]) for n, key in zip((7, 10, 12), index, strict=True))
    for i, j, k in np.ndindex(len(z), len(y), len(x)):
        expected = place(planes[z[i]], y[j], x[k])
        np.testing.assert_allclose((affine @ (i, j, k, 1))[:3], expected, atol=1e-6)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE])
def test_a_series_is_where_highdicom_puts_it(orientation: Any, tmp_path: Path) -> None:
    dataset, planes = series(tmp_path, orientation=orientation)
    volume = highdicom.get_volume_from_series(planes)
    # highdicom stacks along -n or n as it likes: bring its first plane to where ours is.
    if np.dot(volume.direction[:, 0], dataset.dicom.affine[:3, 0]) < 0:
        volume = volume.flip_spatial(0)
    np.testing.assert_allclose(dataset.dicom.affine, volume.affine, atol=1e-6)
    np.testing.assert_allclose(
        [dataset.dicom.spacing[dim] for dim in "zyx"], volume.spacing, atol=1e-9
    )
    assert_places(dataset.image, planes, np.s_[:, :, :])
    np.testing.assert_allclose(dataset.image.attrs["affine"], dataset.dicom.affine.ravel())


SELECTIONS: dict[str, tuple[Any, Any, Any]] = {
    "whole": np.s_[:, :, :],
    "cropped": np.s_[2:5, 3:, :7],
    "stepped": np.s_[::2, 1::3, ::4],
    "reversed": np.s_[::-1, ::-1, ::-1],
    "reversed in steps": np.s_[::-3, 8:2:-2, ::-5],
    "one plane": np.s_[3:4, :, :],
    "one row": np.s_[1:, 4:5, 2:],
    "one pixel": np.s_[6:, 9:, 11:],
    "even list": np.s_[[1, 3, 5], :, [11, 7, 3]],
}


@pytest.mark.parametrize("order", ["zyx", "xyz"])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_it_follows_selections(selection: str, order: str, tmp_path: Path) -> None:
    dataset, planes = series(tmp_path, orientation=OBLIQUE)
    index = SELECTIONS[selection]
    part = dataset.isel(dict(zip("zyx", index, strict=True))).transpose(*order)
    assert_places(part.image, planes, index)
    steps = [
        abs(int(np.diff(np.arange(n)[key])[0])) if len(np.arange(n)[key]) > 1 else 1
        for n, key in zip((7, 10, 12), index, strict=True)
    ]
    expected = dict(zip("zyx", np.multiply(steps, SPACING), strict=True))
    assert part.dicom.spacing == pytest.approx(expected, abs=1e-9)
    assert part.chunk().dicom.spacing == part.dicom.spacing


def test_it_follows_scalars(tmp_path: Path) -> None:
    dataset, planes = series(tmp_path, orientation=OBLIQUE)
    plane = dataset.sel(z=float(dataset.z[4]))
    assert_places(plane.image, planes, np.s_[[4], :, :])
    assert set(plane.dicom.spacing) == {"y", "x"}
    column = dataset.image.isel(z=2, x=5)
    assert_places(column, planes, np.s_[[2], :, [5]])
    # The axes that are gone keep the steps they had.
    np.testing.assert_allclose(column.dicom.affine[:3, :3], dataset.dicom.affine[:3, :3])


def test_it_holds_after_arithmetic(tmp_path: Path) -> None:
    dataset, planes = series(tmp_path)
    with xr.set_options(keep_attrs=True):
        assert_places((dataset.image * 2)[1:], planes, np.s_[1:, :, :])


def test_a_single_image_has_the_normal_for_z(tmp_path: Path) -> None:
    planes = ct_series(tmp_path, planes=1, shape=(10, 12), spacing=SPACING, orientation=OBLIQUE)
    (path,) = tmp_path.iterdir()
    affine = xr.open_dataset(path, engine="dicom").dicom.affine
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    np.testing.assert_allclose(affine[:3, 0], normal, atol=1e-9)
    np.testing.assert_allclose(affine[:3, 3], planes[0].ImagePositionPatient, atol=1e-9)


@pytest.mark.parametrize("name", ["segmentation", "labelmap", "enhanced-ct", "parametric-map"])
def test_multi_frame_objects_are_where_highdicom_puts_them(name: str) -> None:
    blob = kind(name).objects["object.dcm"]
    geometry = highdicom.imread(io.BytesIO(blob)).get_volume_geometry()
    affine = xr.open_dataset(blob, engine="dicom").dicom.affine
    flipped = geometry.flip_spatial(0)
    expected = flipped if np.dot(geometry.affine[:3, 0], affine[:3, 0]) < 0 else geometry
    np.testing.assert_allclose(affine, expected.affine, atol=1e-6)


@pytest.mark.parametrize("name", ["slide-eot", "slide-segmentation"])
def test_slides_are_where_highdicom_puts_them(name: str) -> None:
    blob = kind(name).objects["object.dcm"]
    image = highdicom.imread(io.BytesIO(blob))
    geometry = image.get_volume_geometry()
    dataset = xr.open_dataset(blob, engine="dicom")
    for part, (y, x) in {
        "whole": np.s_[:, :],
        "cropped": np.s_[17:90, 30:],
        "reversed": np.s_[::-2, ::-1],
    }.items():
        affine = dataset.isel(y=y, x=x).dicom.affine
        rows, columns = np.arange(150)[y], np.arange(200)[x]
        for i, j in [(0, 0), (5, 11), (len(rows) - 1, len(columns) - 1)]:
            expected = geometry.affine @ (0, rows[i], columns[j], 1)
            np.testing.assert_allclose(affine @ (0, i, j, 1), expected, atol=1e-9, err_msg=part)
    # One plane: the normal, row x column, points into the glass.
    np.testing.assert_allclose(affine[:3, 0], (0, 0, -1), atol=1e-9)
    assert dataset.dicom.spacing == pytest.approx({"y": 0.0005, "x": 0.0005}, rel=1e-9)


def test_focal_planes_rise_from_the_glass() -> None:
    dataset = xr.open_dataset(kind("slide-focal").objects["object.dcm"], engine="dicom")
    assert dataset.dicom.spacing["z"] == pytest.approx(0.002)
    upper = dataset.isel(z=1)
    np.testing.assert_allclose(
        upper.dicom.affine[:3, 3] - dataset.dicom.affine[:3, 3], (0, 0, 0.002), atol=1e-9
    )
    with pytest.raises(DicomError, match="z has no coordinate that tells"):
        dataset.isel(z=1, drop=True).dicom.affine  # noqa: B018


@pytest.mark.filterwarnings("ignore:.*drift:xarray_dicom.DicomWarning")
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE])
@pytest.mark.parametrize("tilt", [0.02, 1.5, -4.0])
def test_sheared_planes(tilt: float, orientation: Any, tmp_path: Path) -> None:
    dataset, planes = series(tmp_path, tilt=tilt, orientation=orientation)
    assert "y" not in dataset.coords
    for index in (np.s_[:, :, :], np.s_[2:6, :, 3:9:2], np.s_[::-2, :, ::-1], np.s_[5:, :, 1:]):
        part = dataset.isel(z=index[0], x=index[2])
        assert_places(part.image, planes, index)
    assert_places(dataset.image.isel(z=4), planes, np.s_[[4], :, :])
    assert dataset.dicom.spacing == pytest.approx(dict(zip("zyx", SPACING, strict=True)))
    for cut in ({"y": slice(1, None)}, {"y": slice(None, None, 2)}, {"y": 3}):
        with pytest.raises(DicomError, match="y has no coordinate that tells which part"):
            dataset.isel(cut).dicom.affine  # noqa: B018
    with pytest.raises(DicomError, match="y has no coordinate that tells which part"):
        dataset.isel(y=slice(None, None, 2)).dicom.spacing  # noqa: B018


@pytest.mark.filterwarnings("ignore::xarray_dicom.DicomWarning")
def test_a_gap_has_no_affine(tmp_path: Path) -> None:
    dataset, _ = series(tmp_path, gap=3)
    with pytest.raises(DicomError, match="'image' has no affine: its planes lie on no regular"):
        dataset.dicom.affine  # noqa: B018
    with pytest.raises(DicomError, match="z is not evenly spaced: 3 to 6 mm"):
        dataset.dicom.spacing  # noqa: B018
    assert dataset.isel(z=slice(3)).dicom.spacing["z"] == pytest.approx(3)


UNEVEN: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "an uneven list": lambda ds: ds.isel(x=[0, 1, 5]),
    "one pixel twice": lambda ds: ds.isel(x=[4, 4]),
    "there and back": lambda ds: ds.isel(x=[1, 2, 1]),
}


@pytest.mark.parametrize("selection", UNEVEN)
def test_uneven_selections_have_none(selection: str, tmp_path: Path) -> None:
    dataset, _ = series(tmp_path)
    part = UNEVEN[selection](dataset)
    for name in ("affine", "spacing"):
        with pytest.raises(DicomError, match="x is not evenly spaced"):
            getattr(part.dicom, name)


def test_what_lost_its_coordinates_has_none(tmp_path: Path) -> None:
    dataset, planes = series(tmp_path)
    assert_places(dataset.drop_vars("x").image, planes, np.s_[:, :, :])
    for part, dim in (
        (dataset.drop_vars("x").isel(x=slice(3)), "x"),
        (dataset.isel(z=3, drop=True), "z"),
        (dataset.isel(x=3, drop=True), "x"),
        (dataset.image.max("z", keep_attrs=True), "z"),
    ):
        with pytest.raises(DicomError, match=f"{dim} has no coordinate"):
            part.dicom.affine  # noqa: B018
    with pytest.raises(DicomError, match="is empty"):
        dataset.isel(y=slice(0)).dicom.affine  # noqa: B018


def test_spacing_without_position_has_no_affine(tmp_path: Path) -> None:
    def placeless(file: io.BytesIO) -> None:
        dataset = pydicom.dcmread(io.BytesIO(content(lambda other: slide(other, shape=(90, 70)))))
        del dataset.TotalPixelMatrixOriginSequence
        dataset.save_as(file)

    dataset = xr.open_dataset(content(placeless), engine="dicom")
    assert dataset.image.attrs["coordinate_system"] == "image"
    assert dataset.dicom.spacing == pytest.approx({"y": 0.0005, "x": 0.0005})
    with pytest.raises(DicomError, match="only its spacing is known, not its position"):
        dataset.dicom.affine  # noqa: B018
    cine = xr.open_dataset(kind("cine").objects["object.dcm"], engine="dicom")
    with pytest.raises(DicomError, match="nothing is known of its position"):
        cine.dicom.affine  # noqa: B018
    with pytest.raises(DicomError, match="spacing along y is not known"):
        cine.dicom.spacing  # noqa: B018


def test_extra_dimensions_do_not_count() -> None:
    dataset = xr.open_dataset(content(enhanced_mr), engine="dicom")
    expected = np.array([[0, 0, 1.25, -20], [0, 1.5, 0, -18], [4, 0, 0, -8], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(dataset.dicom.affine, expected, atol=1e-9)
    part = dataset.isel(temporal_position=1, echo_time=[0])
    np.testing.assert_allclose(part.dicom.affine, expected, atol=1e-9)
