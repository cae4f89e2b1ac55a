"""Several files that make one image, or the images of one slide or study."""

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
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

import xarray_dicom
from support.generate.multiframe import enhanced_mr
from support.generate.series import ct_series
from support.generate.slide import slide


def written(path: Path, change: Callable[[Dataset], object] | None = None, **options: Any) -> Path:
    """A generated slide at `path`, with `change` applied to its data set."""
    file = io.BytesIO()
    slide(file, **options)
    file.seek(0)
    dataset = pydicom.dcmread(file)
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if change is not None:
        change(dataset)
    dataset.save_as(path)
    return path


def pixels(path: Path) -> NDArray[Any]:
    """The total pixel matrix as highdicom reads it."""
    image = highdicom.imread(path)
    return image.get_total_pixel_matrix(dtype=np.uint8, apply_icc_profile=False)


def typed(kind: str) -> Callable[[Dataset], object]:
    """Changes Image Type to that of a label, an overview or a thumbnail."""

    def change(dataset: Dataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]

    return change


LEVELS = {"b.dcm": (600, 800), "c.dcm": (300, 400), "a.dcm": (100, 134)}


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    """A folder with three levels, of which none is named by its size, and images beside them."""
    for name, shape in LEVELS.items():
        spacing = 0.0005 * 600 / shape[0]
        codec = "native" if name == "c.dcm" else "jpeg-rgb"
        written(tmp_path / name, shape=shape, tile=128, codec=codec, spacing=spacing)
    for kind in ("LABEL", "OVERVIEW"):
        written(tmp_path / f"{kind}.dcm", typed(kind), shape=(64, 80), tile=128, codec="native")
    return tmp_path


class TestPyramid:
    def test_levels_by_resolution(self, pyramid: Path) -> None:
        tree = xr.open_datatree(pyramid, engine="dicom")
        assert set(tree.children) == {"scale0", "scale1", "scale2", "overview"}
        for name, (file, shape) in zip(("scale0", "scale1", "scale2"), LEVELS.items(), strict=True):
            image = tree[name].image
            assert image.shape == (*shape, 3)
            apart = np.abs(image.values.astype(int) - pixels(pyramid / file)).max()
            assert apart <= 1

    def test_the_root_has_attributes_alone(self, pyramid: Path) -> None:
        tree = xr.open_datatree(pyramid, engine="dicom")
        assert not tree.variables
        assert "frame_of_reference" in tree["scale1"].coords
        assert "SOPInstanceUID" not in tree.attrs
        assert "SeriesInstanceUID" in tree.attrs

    def test_outer_edges_coincide(self, pyramid: Path) -> None:
        tree = xr.open_datatree(pyramid, engine="dicom")
        fine, coarse = tree["scale0"], tree["scale1"]
        for dim in ("y", "x"):
            edges = [
                float(level[dim][0]) - float(level[dim][1] - level[dim][0]) / 2
                for level in (fine, coarse)
            ]
            assert edges[0] == pytest.approx(edges[1], abs=1e-9)
        assert coarse.image.attrs["origin_adjusted"] == 1
        assert "origin_adjusted" not in fine.image.attrs
        affine = np.asarray(coarse.image.attrs["affine"]).reshape(4, 4)
        np.testing.assert_allclose(coarse.image.dicom.affine, affine, atol=1e-12)

    def test_a_level_alone_is_taken_literally(self, pyramid: Path) -> None:
        alone = xr.open_dataset(pyramid / "c.dcm", engine="dicom")
        assert "origin_adjusted" not in alone.image.attrs
        finest = xr.open_dataset(pyramid / "b.dcm", engine="dicom")
        assert float(alone.x[0]) == float(finest.x[0])

    def test_open_dataset_wants_a_group(self, pyramid: Path) -> None:
        with pytest.raises(xarray_dicom.DicomError, match=r"scale0.*y 600 × x 800.*scale2"):
            xr.open_dataset(pyramid, engine="dicom")
        level = xr.open_dataset(pyramid, engine="dicom", group="scale1")
        assert level.sizes["y"] == 300

    def test_the_label_is_shown_when_asked_for(self, pyramid: Path) -> None:
        label = xr.open_dataset(pyramid, engine="dicom", group="label")
        np.testing.assert_array_equal(label.image.values, pixels(pyramid / "LABEL.dcm"))
        tree = xr.open_datatree(pyramid, engine="dicom", slide_label=True)
        assert "label" in tree.children

    def test_one_level_is_a_pyramid_too(self, pyramid: Path) -> None:
        """What takes ``scale0`` of every slide takes it of one with a single level as well."""
        for name in ("c.dcm", "a.dcm", "OVERVIEW.dcm"):
            (pyramid / name).unlink()
        level = xr.open_dataset(pyramid, engine="dicom", group="scale0")
        assert level.sizes["y"] == 600
        assert xr.open_dataset(pyramid, engine="dicom").identical(level)
        assert set(xr.open_datatree(pyramid, engine="dicom").children) == {"scale0"}

    def test_nothing_but_a_label_is_an_error(self, pyramid: Path) -> None:
        label = [pyramid / "LABEL.dcm"]
        for open_it in (xr.open_dataset, xr.open_datatree):
            with pytest.raises(xarray_dicom.DicomError, match=r"LABEL.*slide_label=True"):
                open_it(label, engine="dicom")
        shown = xr.open_dataset(label, engine="dicom", group="label")
        np.testing.assert_array_equal(shown.image.values, pixels(pyramid / "LABEL.dcm"))

    def test_another_slide_in_the_folder_is_a_group_of_its_own(self, pyramid: Path) -> None:
        written(pyramid / "stranger.dcm", shape=(500, 200), tile=128, codec="native")
        tree = xr.open_datatree(pyramid, engine="dicom")
        assert {"pyramid_1", "pyramid_2"} <= set(tree.children)
        assert tree["pyramid_2/scale0"].image.shape == (500, 200, 3)


def test_one_file_per_channel(tmp_path: Path) -> None:
    """Writers of one file per channel tend to give every path the same identifier."""
    expected = []
    for number, stain in enumerate(("DAPI", "CD3", "CD8")):

        def describe(dataset: Dataset, stain: str = stain, number: int = number) -> None:
            path = dataset.OpticalPathSequence[0]
            path.OpticalPathIdentifier = "1"
            path.OpticalPathDescription = stain
            dataset.PixelData = bytes(
                np.roll(np.frombuffer(dataset.PixelData, np.uint8), 7 * number)
            )

        path = written(
            tmp_path / f"{number}.dcm",
            describe,
            shape=(200, 300),
            tile=128,
            codec="native",
            monochrome=True,
        )
        image = highdicom.imread(path)
        expected.append(image.get_total_pixel_matrix(dtype=np.float32))
    ds = xr.open_dataset(tmp_path, engine="dicom")
    assert ds.image.dims == ("optical_path", "y", "x")
    assert list(ds.optical_path.values) == ["DAPI", "CD3", "CD8"]
    np.testing.assert_array_equal(ds.image.values, np.stack(expected))
    np.testing.assert_array_equal(ds.image.sel(optical_path="CD3").values, expected[1])


def test_one_file_per_focal_plane(tmp_path: Path) -> None:
    for number in range(3):

        def raise_plane(dataset: Dataset, number: int = number) -> None:
            height = 2.0 * (2 - number)
            origin = dataset.TotalPixelMatrixOriginSequence[0]
            origin.ZOffsetInSlideCoordinateSystem = height
            dataset.PixelData = bytes(
                np.roll(np.frombuffer(dataset.PixelData, np.uint8), 11 * number)
            )

        written(tmp_path / f"{number}.dcm", raise_plane, shape=(200, 300), tile=128, codec="native")
    ds = xr.open_dataset(tmp_path, engine="dicom")
    assert ds.image.dims == ("z", "y", "x", "c")
    np.testing.assert_allclose(ds.z, [0, 0.002, 0.004])
    expected = np.stack([pixels(tmp_path / f"{number}.dcm") for number in (2, 1, 0)])
    np.testing.assert_array_equal(ds.image.values, expected)


def test_the_same_plane_twice_is_an_error(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        written(tmp_path / name, shape=(200, 300), tile=128, codec="native")
    with pytest.raises(xarray_dicom.CorruptDicomError, match="same optical path"):
        xr.open_datatree(tmp_path, engine="dicom")


def test_a_copy_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm", shape=(200, 300), tile=128, codec="native")
    (tmp_path / "copy.dcm").write_bytes(path.read_bytes())
    with pytest.warns(xarray_dicom.DicomWarning, match="same SOP instance"):
        ds = xr.open_dataset(tmp_path, engine="dicom")
    np.testing.assert_array_equal(ds.image.values, pixels(path))


def split(path: Path, folder: Path, sizes: list[int]) -> NDArray[Any]:
    """Split a native slide into a concatenation (PS3.3 C.7.6.16.2.2.4); gives its pixels."""
    whole = pydicom.dcmread(path)
    frame = len(whole.PixelData) // int(whole.NumberOfFrames)
    uid = generate_uid()
    first = 0
    for number, size in enumerate(sizes, 1):
        part = pydicom.dcmread(path)
        part.SOPInstanceUID = generate_uid()
        part.file_meta.MediaStorageSOPInstanceUID = part.SOPInstanceUID
        part.ConcatenationUID = uid
        part.SOPInstanceUIDOfConcatenationSource = whole.SOPInstanceUID
        part.InConcatenationNumber = number
        part.InConcatenationTotalNumber = len(sizes)
        part.ConcatenationFrameOffsetNumber = first
        part.NumberOfFrames = size
        part.PixelData = whole.PixelData[first * frame : (first + size) * frame]
        # Names in another order than the parts.
        part.save_as(folder / f"{9 - number}.dcm")
        first += size
    assert first == whole.NumberOfFrames
    return pixels(path)


class TestConcatenation:
    @pytest.fixture
    def parts(self, tmp_path: Path) -> tuple[Path, NDArray[Any]]:
        path = written(tmp_path / "whole.dcm", shape=(300, 400), tile=128, codec="native")
        folder = tmp_path / "parts"
        folder.mkdir()
        return folder, split(path, folder, [5, 4, 3])

    def test_parts_are_one_image(self, parts: tuple[Path, NDArray[Any]]) -> None:
        folder, expected = parts
        ds = xr.open_dataset(folder, engine="dicom")
        np.testing.assert_array_equal(ds.image.values, expected)
        assert len(ds.dicom.headers) == 3

    def test_a_missing_part_is_named_and_filled(self, parts: tuple[Path, NDArray[Any]]) -> None:
        folder, expected = parts
        (folder / "7.dcm").unlink()
        with pytest.warns(xarray_dicom.DicomWarning, match="part 2 is missing"):
            ds = xr.open_dataset(folder, engine="dicom")
        found = ds.image.values
        # Three rows of four tiles; the second part has frames 6 to 9.
        np.testing.assert_array_equal(found[:128], expected[:128])
        np.testing.assert_array_equal(found[128:256, :128], expected[128:256, :128])
        assert (found[128:256, 128:] == 255).all()
        assert (found[256:, :128] == 255).all()
        np.testing.assert_array_equal(found[256:, 128:], expected[256:, 128:])

    def test_a_part_twice_is_an_error(self, parts: tuple[Path, NDArray[Any]]) -> None:
        folder, _ = parts
        again = pydicom.dcmread(folder / "8.dcm")
        again.SOPInstanceUID = generate_uid()
        again.save_as(folder / "again.dcm")
        with pytest.raises(xarray_dicom.CorruptDicomError, match="stands twice"):
            xr.open_dataset(folder, engine="dicom")


def test_several_series_are_groups(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        ct_series(tmp_path / name, name=name, planes=3, shape=(20, 30))
    tree = xr.open_datatree(tmp_path, engine="dicom")
    assert len(tree.children) == 2
    assert all(child.image.sizes["z"] == 3 for child in tree.children.values())
    with pytest.raises(xarray_dicom.DicomError, match="holds 2 images"):
        xr.open_dataset(tmp_path, engine="dicom")


def test_orientations_of_a_localiser_are_groups(tmp_path: Path) -> None:
    axial = ct_series(None, name="loc", planes=2, shape=(20, 30))
    sagittal = ct_series(
        None, name="loc2", planes=3, shape=(20, 30), orientation=(0, 1, 0, 0, 0, -1)
    )
    for number, image in enumerate([*axial, *sagittal]):
        image.SeriesInstanceUID = axial[0].SeriesInstanceUID
        image.save_as(tmp_path / f"{number}.dcm", implicit_vr=False, little_endian=True)
    tree = xr.open_datatree(tmp_path, engine="dicom")
    assert {name: child.image.sizes["z"] for name, child in tree.children.items()} == {
        "stack_1": 2,
        "stack_2": 3,
    }


def test_enhanced_files_of_one_series(tmp_path: Path) -> None:
    """Time points in files of their own are a dimension, though no dimension index names them."""
    stored = []
    for time in range(3):
        file = io.BytesIO()
        enhanced_mr(file)
        file.seek(0)
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = generate_uid()
        dataset.InstanceNumber = time + 1
        values = np.frombuffer(dataset.PixelData, np.uint16) + 100 * time
        dataset.PixelData = values.tobytes()
        dataset.save_as(tmp_path / f"{time}.dcm")
        stored.append(values)
    one = xr.open_dataset(tmp_path / "0.dcm", engine="dicom", mask_and_scale=False)
    all_three = xr.open_dataset(tmp_path, engine="dicom", mask_and_scale=False)
    extra = set(all_three.image.dims) - set(one.image.dims)
    assert len(extra) == 1
    (dim,) = extra
    assert all_three.sizes[dim] == 3
    for time in range(3):
        plane = all_three.image.isel({dim: time}).transpose(*one.image.dims)
        np.testing.assert_array_equal(plane.values, one.image.values + 100 * time)
