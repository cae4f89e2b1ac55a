"""Images on the grids of others: padded, cropped and reversed, held to NumPy."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from support.counting import CountingFileSystem
from support.generate.attributes import uid, write
from support.generate.segmentation import multi_organ_segmentation, slide_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide
from support.kinds import content
from xarray_dicom.errors import DicomError

SPACING = (4.0, 2.0, 3.0)
ORIENTATION = np.array([[0.8, 0.6, 0.0], [-0.36, 0.48, 0.8]])
SHAPE = (5, 6, 7)
ORIGIN = np.array([-20.0, 30.0, -7.0])


def steps() -> NDArray[np.float64]:
    """From a pixel to the next along z, y and x, one row each, LPS in mm."""
    row, column = ORIENTATION
    return np.stack([np.cross(row, column), column, row]) * np.array(SPACING)[:, None]


def opened(
    name: str,
    shape: tuple[int, int, int],
    start: Any = (0, 0, 0),
    flips: Any = (False, False, False),
    *,
    spacing: Any = SPACING,
    **options: Any,
) -> tuple[xr.Dataset, NDArray[np.float32]]:
    """A CT that begins at index `start` of a common grid, its axes running as `flips` says."""
    signs = np.where(flips, -1, 1)
    origin = ORIGIN + (np.array(start) + np.where(flips, np.array(shape) - 1, 0)) @ steps()
    orientation = ORIENTATION * signs[[2, 1]][:, None]
    # Planes are stored along row x column, whichever way that runs.
    normal_sign = signs[1] * signs[2]
    if normal_sign != signs[0]:
        origin = origin + signs[0] * (shape[0] - 1) * steps()[0]
    planes = ct_series(
        None, name=name, planes=shape[0], shape=shape[1:], spacing=spacing,
        origin=origin, orientation=orientation.ravel(),
    )  # fmt: skip
    rng = np.random.default_rng(abs(hash((shape, tuple(start), tuple(flips)))) % 2**32)
    for plane in planes:
        plane.PixelData = rng.integers(0, 4096, shape[1:]).astype("<u2").tobytes()
        plane.FrameOfReferenceUID = uid("grids")
        blob = content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
        CountingFileSystem.put(f"grids/{name}/{plane.InstanceNumber}.dcm", blob)
    dataset = xr.open_dataset(f"counted://grids/{name}/", engine="dicom", **options)
    CountingFileSystem.forget()
    pixels = np.stack([plane.pixel_array for plane in planes]).astype(np.float32) - 1024
    return dataset, pixels


def clean() -> None:
    filesystem = CountingFileSystem()
    if filesystem.exists("/grids"):
        filesystem.rm("/grids", recursive=True)


def expected_on(
    pixels: NDArray[np.float32], offset: Any, flips: Any, target: tuple[int, ...], fill: float
) -> NDArray[np.float32]:
    """`pixels`, whose lowest corner is at `offset` of the target, by NumPy alone."""
    wide = 12
    turned = pixels[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    canvas = np.full(np.add(target, 2 * wide), fill, pixels.dtype)
    canvas[
        tuple(slice(o + wide, o + wide + n) for o, n in zip(offset, pixels.shape, strict=True))
    ] = turned
    return canvas[tuple(slice(wide, wide + n) for n in target)]


sizes = st.tuples(*[st.integers(2, 6)] * 3)
offsets = st.tuples(*[st.integers(-5, 7)] * 3)


@pytest.mark.parametrize("chunks", [None, {"z": 2, "y": 3, "x": 4}], ids=["plain", "dask"])
@settings(max_examples=15, deadline=None, phases=[Phase.reuse, Phase.generate])
@given(
    shape=sizes,
    start=offsets,
    rotation=st.sampled_from([(0, 0), (0, 1), (1, 0), (1, 1)]),
    here=st.data(),
)
def test_any_offset_and_direction(
    chunks: Any, shape: tuple[int, int, int], start: Any, rotation: Any, here: Any
) -> None:
    clean()
    flip_y, flip_x = map(bool, rotation)
    # Turning one in-plane axis turns the normal, and planes are stored along it.
    flips = (flip_y != flip_x, flip_y, flip_x)
    target, _ = opened("target", SHAPE)
    image, pixels = opened("image", shape, start, flips)
    if chunks:
        image = image.chunk(chunks)
    CountingFileSystem.forget()
    placed = image.dicom.on_grid_of(target)
    assert CountingFileSystem.ranges == []
    expected = expected_on(pixels, start, flips, SHAPE, np.nan)
    assert placed.image.dtype == np.float32
    part = tuple(
        here.draw(st.sampled_from([slice(None), slice(1, 4), slice(None, None, -2), 2, [3, 0, 0]]))
        for _ in SHAPE
    )
    grid = dict(zip("zyx", part, strict=True))
    wanted = xr.DataArray(expected, dims=("z", "y", "x")).isel(grid)
    np.testing.assert_array_equal(placed.image.isel(grid).values, wanted.values)
    np.testing.assert_array_equal(placed.image.values, expected)
    np.testing.assert_allclose(placed.dicom.affine, target.dicom.affine, atol=1e-9)
    xr.align(placed, target, join="exact")
    assert float((placed.image - target.image).count()) == np.isfinite(expected).sum()


def test_a_part_of_one_on_a_part_of_the_other() -> None:
    clean()
    target, _ = opened("target", SHAPE)
    image, pixels = opened("image", SHAPE, (1, 1, 1))
    some = image.isel(z=slice(None, None, -1), x=slice(1, 6))
    grid = target.isel(y=slice(4, None, -1), x=slice(2, 7))
    placed = some.dicom.on_grid_of(grid)
    whole = expected_on(pixels[:, :, 1:6], (1, 1, 2), (0, 0, 0), SHAPE, np.nan)
    np.testing.assert_array_equal(placed.image, whole[:, 4::-1, 2:7])
    xr.align(placed, grid, join="exact")
    for order in ("xyz", "yzx"):
        turned = image.image.transpose(*order).dicom.on_grid_of(target)
        assert turned.dims == tuple(order)
        np.testing.assert_array_equal(
            turned.transpose(*"zyx"), expected_on(pixels, (1, 1, 1), (0, 0, 0), SHAPE, np.nan)
        )


def test_planes_and_single_places() -> None:
    clean()
    target, _ = opened("target", SHAPE)
    image, pixels = opened("image", SHAPE, (1, 0, 0))
    plane = image.isel(z=1).dicom.on_grid_of(target.isel(z=2))
    np.testing.assert_array_equal(plane.image, pixels[1])
    assert float(plane.z) == float(target.z[2])
    kept = image.isel(z=[1]).dicom.on_grid_of(target)
    assert np.isnan(kept.image[[0, 1, 3, 4]]).all()
    np.testing.assert_array_equal(kept.image[2], pixels[1])
    with pytest.raises(DicomError, match=r"different planes along z: -?1 pixels apart"):
        image.isel(z=1).dicom.on_grid_of(target.isel(z=1))
    with pytest.raises(DicomError, match="'image' has no dimension z, and 'image' has one"):
        image.isel(z=1).dicom.on_grid_of(target)
    with pytest.raises(DicomError, match="has no dimension y"):
        image.dicom.on_grid_of(target.isel(y=1))


DIFFERENCES: dict[str, tuple[dict[str, Any], str]] = {
    "shifted": ({"start": (0, 0.02, 0)}, r"differ along y by 0\.04 mm \(0\.02 pixels\)"),
    "shifted along z": ({"start": (-0.5, 0, 0)}, r"differ along z by 2 mm \(0\.5 pixels\)"),
    "finer": ({"spacing": (4.0, 2.0, 1.5)}, "spacing along x is 1.5 and 3 mm"),
    "drifting": ({"spacing": (4.0, 2.0, 3.006)}, "differ along x by 0.036 mm"),
    "thicker": ({"spacing": (4.1, 2.0, 3.0)}, "spacing along z is 4.1 and 4 mm"),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_differences_are_named(difference: str) -> None:
    clean()
    options, message = DIFFERENCES[difference]
    target, _ = opened("target", SHAPE)
    image, _ = opened("image", SHAPE, **options)
    with pytest.raises(DicomError, match=f"grids .*{message}.*resample first"):
        image.dicom.on_grid_of(target)


def test_rotated_grids_are_told_apart() -> None:
    clean()
    target, _ = opened("target", SHAPE)
    planes = ct_series(None, planes=5, shape=SHAPE[1:], spacing=SPACING, origin=ORIGIN)
    for plane in planes:
        plane.FrameOfReferenceUID = uid("grids")
        blob = content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
        CountingFileSystem.put(f"grids/turned/{plane.InstanceNumber}.dcm", blob)
    turned = xr.open_dataset("counted://grids/turned/", engine="dicom")
    with pytest.raises(DicomError, match="axes point in different directions"):
        turned.dicom.on_grid_of(target)


def test_less_than_a_hundredth_is_no_difference() -> None:
    clean()
    target, _ = opened("target", SHAPE)
    image, pixels = opened("image", SHAPE, (1.004, 0.0, -0.004))
    placed = image.dicom.on_grid_of(target)
    np.testing.assert_array_equal(
        placed.image, expected_on(pixels, (1, 0, 0), (0, 0, 0), SHAPE, np.nan)
    )
    xr.align(placed, target, join="exact")


def test_another_frame_of_reference() -> None:
    clean()
    target, _ = opened("target", SHAPE)
    image = xr.open_dataset(
        content(lambda file: slide(file, shape=(64, 64), tile=64)), engine="dicom"
    )
    with pytest.raises(DicomError, match=r"different frames of reference, [\d.]+ and [\d.]+"):
        image.dicom.on_grid_of(target)


@functools.cache
def organs() -> tuple[list[pydicom.Dataset], bytes]:
    """A CT series, and a segmentation of the middle of it."""
    planes = ct_series(None, planes=10, shape=(30, 40), spacing=(12.0, 8.0, 9.0), shuffle=False)
    for plane in planes:
        content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
    return planes, content(lambda file: multi_organ_segmentation(file, planes[3:8]))


@functools.cache
def ct() -> xr.Dataset:
    for plane in organs()[0]:
        blob = content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
        CountingFileSystem.put(f"grid-ct/{plane.InstanceNumber}.dcm", blob)
    return xr.open_dataset("counted://grid-ct/", engine="dicom")


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "dask"])
def test_organs_on_a_ct(chunks: Any) -> None:
    ct()
    CountingFileSystem.put("grids/organs.dcm", organs()[1])
    seg = xr.open_dataset("counted://grids/organs.dcm", engine="dicom", chunks=chunks)
    CountingFileSystem.forget()
    on_ct = seg.dicom.on_grid_of(ct())
    assert CountingFileSystem.ranges == []
    assert on_ct.segmentation.dtype == np.uint8
    assert on_ct.segmentation.shape == (8, 10, 30, 40)
    assert on_ct.attrs == seg.attrs
    assert (on_ct.segmentation.chunks is None) is (chunks is None)
    # Segments keep their index and descriptions, the CT lends its coordinates.
    liver = on_ct.segmentation.sel(segment_label="Liver")
    np.testing.assert_array_equal(liver[3:8], seg.segmentation.sel(segment=1))
    assert not liver[:3].any()
    assert not liver[8:].any()
    np.testing.assert_array_equal(on_ct.tracking_uid, seg.tracking_uid)
    xr.align(liver, ct().image, join="exact")
    where = ct().image.where(liver == 1)
    assert float(where.mean()) == pytest.approx(105, abs=12)
    assert int(where.count()) == int(seg.segmentation.sel(segment=1).sum())
    array = seg.segmentation.dicom.on_grid_of(ct().image)
    xr.testing.assert_identical(array, on_ct.segmentation)
    np.testing.assert_array_equal(
        seg.dicom.labelmap(overlap="first").dicom.on_grid_of(ct())[3:8],
        seg.dicom.labelmap(overlap="first"),
    )
    again = pickle.loads(pickle.dumps(on_ct))
    xr.testing.assert_identical(again.compute(), on_ct.compute())


def test_only_what_is_asked_for_is_read() -> None:
    ct()
    CountingFileSystem.put("grids/organs.dcm", organs()[1])
    seg = xr.open_dataset("counted://grids/organs.dcm", engine="dicom")
    on_ct = seg.dicom.on_grid_of(ct()).segmentation
    CountingFileSystem.forget()
    assert not on_ct.isel(z=slice(0, 3)).values.any()
    assert CountingFileSystem.ranges == []
    assert on_ct.sel(segment_label="Liver").isel(z=5).values.any()
    ((_, start, end),) = CountingFileSystem.ranges
    assert end - start <= 30 * 40 / 8 + 1


def test_headers_are_asked_of_the_opened_dataset() -> None:
    seg = xr.open_dataset(organs()[1], engine="dicom")
    for one in (seg, seg.chunk()):
        with pytest.raises(DicomError, match="ask the opened dataset"):
            one.dicom.on_grid_of(ct()).dicom.header  # noqa: B018


def test_tissue_on_a_slide() -> None:
    written: list[Any] = []
    blob = content(lambda file: written.append(slide(file, shape=(150, 200), tile=64)))
    seg = xr.open_dataset(
        content(lambda file: slide_segmentation(file, written[0], tile=(37, 53))), engine="dicom"
    )
    image = xr.open_dataset(blob, engine="dicom")
    part = image.isel(y=slice(30, 100), x=slice(None, 20, -1))
    on_part = seg.dicom.on_grid_of(part)
    np.testing.assert_array_equal(on_part.segmentation, seg.segmentation.values[:, 30:100, :20:-1])
    xr.align(on_part, part, join="exact")
    # And colour the other way, white where the slide has no pixel.
    wide = seg.segmentation.dicom.on_grid_of(image)
    back = part.image.dicom.on_grid_of(wide)
    expected = np.full((150, 200, 3), 255, np.uint8)
    expected[30:100, 21:] = image.image.values[30:100, 21:]
    np.testing.assert_array_equal(back, expected)
    np.testing.assert_array_equal(part.image.chunk().dicom.on_grid_of(wide), expected)
    assert back.c.values.tolist() == ["r", "g", "b"]


def test_stored_values_are_padded_with_what_stands_for_none() -> None:
    clean()
    target, _ = opened("target", SHAPE)
    image, pixels = opened("image", SHAPE, (3, 0, 0), mask_and_scale=False)
    placed = image.dicom.on_grid_of(target)
    assert placed.image.dtype == np.uint16
    np.testing.assert_array_equal(
        placed.image, expected_on(pixels + 1024, (3, 0, 0), (0, 0, 0), SHAPE, 0)
    )


@pytest.mark.filterwarnings("ignore:.*drift:xarray_dicom.DicomWarning")
def test_sheared_planes_lie_on_sheared_planes(tmp_path: Any) -> None:
    planes = ct_series(tmp_path, planes=6, shape=(8, 9), spacing=SPACING, tilt=1.5)
    sheared = xr.open_dataset(str(tmp_path), engine="dicom")
    some = xr.open_dataset(
        [path for path in tmp_path.iterdir() if pydicom.dcmread(path).InstanceNumber
         in {plane.InstanceNumber for plane in planes[2:5]}],
        engine="dicom",
    )  # fmt: skip
    placed = some.dicom.on_grid_of(sheared)
    np.testing.assert_array_equal(placed.image[2:5], sheared.image[2:5])
    assert np.isnan(placed.image[[0, 1, 5]]).all()
