"""TILED_FULL slides of every coding, with one path, three paths and three focal planes."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from support.generate.slide import FOCAL_STEP, SPACING, slide

CODECS = ("jpeg-rgb", "jpeg-ybr422", "j2k", "native")
LOSSLESS = ("native",)

ARRANGEMENTS = {"one": (1, 1), "paths": (3, 1), "focal-planes": (1, 3)}


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("codec", CODECS)
def test_pixels_equal_highdicoms(codec: str, arrangement: str, tmp_path: Path) -> None:
    paths, focal_planes = ARRANGEMENTS[arrangement]
    path = tmp_path / "slide.dcm"
    slide(path, shape=(300, 400), tile=128, codec=codec, paths=paths, focal_planes=focal_planes)
    ds = xr.open_dataset(path, engine="dicom")
    assert ds.image.sizes.get("optical_path", 1) == paths
    assert ds.image.sizes.get("z", 1) == focal_planes
    image = highdicom.imread(path)
    found = ds.image.values.reshape(paths * focal_planes, 300, 400, -1)
    for plane in range(paths * focal_planes):
        expected = matrix(image, plane)
        apart = np.abs(found[plane].astype(float) - expected).max()
        # highdicom's JPEG decoder interpolates subsampled chroma in another way than others.
        limit = 0 if codec in LOSSLESS else 4 if "422" in codec else 1
        assert apart <= limit


def matrix(image: highdicom.Image, plane: int) -> NDArray[np.generic]:
    """One plane of tiles put together from highdicom's frames, in the order of the standard."""
    rows, columns = image.TotalPixelMatrixRows, image.TotalPixelMatrixColumns
    down, across = -(-rows // image.Rows), -(-columns // image.Columns)
    dtype = np.uint8 if image.SamplesPerPixel == 3 else np.float32
    tiles = [
        image.get_frame(plane * down * across + number + 1, dtype=dtype, apply_icc_profile=False)
        for number in range(down * across)
    ]
    lines = [np.concatenate(tiles[i : i + across], axis=1) for i in range(0, len(tiles), across)]
    whole = np.concatenate(lines, axis=0)[:rows, :columns]
    return whole.reshape(rows, columns, -1)


def test_a_slide_without_transforms_equals_its_total_pixel_matrix(tmp_path: Path) -> None:
    slide(tmp_path / "slide.dcm", shape=(300, 400), tile=128, codec="native")
    ds = xr.open_dataset(tmp_path / "slide.dcm", engine="dicom")
    image = highdicom.imread(tmp_path / "slide.dcm")
    expected = image.get_total_pixel_matrix(dtype=np.uint8, apply_icc_profile=False)
    np.testing.assert_array_equal(ds.image.values, expected)


def test_coordinates_are_highdicoms(tmp_path: Path) -> None:
    path = tmp_path / "slide.dcm"
    slide(path, shape=(300, 400), tile=128, codec="native", focal_planes=3)
    ds = xr.open_dataset(path, engine="dicom")
    np.testing.assert_allclose(np.diff(ds.z), FOCAL_STEP)
    assert ds.z[0] == 0
    np.testing.assert_allclose(np.abs(np.diff(ds.y)), SPACING)
    to_slide = highdicom.spatial.PixelToReferenceTransformer.for_image(
        highdicom.imread(path), for_total_pixel_matrix=True
    )
    position = to_slide(np.array([[17, 23]]))[0]
    affine = np.asarray(ds.image.attrs["affine"]).reshape(4, 4)
    ours = affine @ [0, 23, 17, 1]
    np.testing.assert_allclose(ours[:2], position[:2], atol=1e-9)
    # On a slide with the usual orientation x = -Y and y = -X.
    np.testing.assert_allclose([ds.x[17], ds.y[23]], [-position[1], -position[0]], atol=1e-9)


def test_optical_paths_are_described(tmp_path: Path) -> None:
    slide(tmp_path / "slide.dcm", shape=(300, 400), tile=128, codec="native", paths=3)
    ds = xr.open_dataset(tmp_path / "slide.dcm", engine="dicom")
    paths = highdicom.imread(tmp_path / "slide.dcm").OpticalPathSequence
    assert list(ds.optical_path.values) == [item.OpticalPathIdentifier for item in paths]
    np.testing.assert_allclose(ds.wavelength, [item.IlluminationWaveLength for item in paths])
    assert ds.wavelength.attrs["units"] == "nm"
