"""Display forms held to highdicom's frames, and padding held to stored values."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from support.counting import CountingFileSystem
from support.generate.attributes import write
from support.generate.multiframe import enhanced_mr, legacy_enhanced_ct
from support.generate.series import ct_series
from support.generate.slide import slide
from support.kinds import content, kind
from xarray_dicom.errors import (
    CorruptDicomError,
    DicomError,
    DicomWarning,
    UnsupportedDicomError,
)
from xarray_dicom.storage import RecordingSource, open_source

SHAPE = (24, 32)


def shown_by_highdicom(blob: bytes, number: int = 1, **options: Any) -> NDArray[np.float64]:
    """One frame for display, 0 to 255, with three samples."""
    image = highdicom.imread(io.BytesIO(blob))
    monochrome = str(image.PhotometricInterpretation).startswith("MONOCHROME")
    frame = image.get_frame(
        number,
        dtype=np.float64,
        apply_real_world_transform=False,
        apply_voi_transform=monochrome,
        voi_output_range=(0.0, 255.0),
        apply_presentation_lut=True,
        apply_palette_color_lut=None,
        apply_icc_profile=None,
        **options,
    )
    return frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, -1)


def image(**attributes: Any) -> bytes:
    """A CT plane with other attributes."""
    (plane,) = ct_series(None, planes=1, shape=SHAPE, spacing=(5.0, 12.0, 12.0))
    for name, value in attributes.items():
        setattr(plane, name, value)
    return content(lambda file: write(plane, file, ExplicitVRLittleEndian))


def opened(blob: bytes, **options: Any) -> xr.Dataset:
    return xr.open_dataset(blob, engine="dicom", **options)


def assert_like_highdicom(blob: bytes, **options: Any) -> xr.DataArray:
    shown = opened(blob, **options).dicom.to_rgb()
    assert shown.dtype == np.uint8
    assert shown.dims[-3:] == ("y", "x", "c")
    assert shown.c.values.tolist() == ["r", "g", "b"]
    difference = shown.values.astype(float) - shown_by_highdicom(blob)
    assert np.abs(difference).max() <= 1
    return shown


WINDOWS: dict[str, dict[str, Any]] = {
    "one": {"WindowCenter": 60, "WindowWidth": 400},
    "the first of two": {"WindowCenter": [60, 500], "WindowWidth": [400, 2000]},
    "linear exact": {"WindowCenter": 0, "WindowWidth": 500, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": 40, "WindowWidth": 300, "VOILUTFunction": "SIGMOID"},
    "sloped": {"RescaleSlope": 0.5, "RescaleIntercept": -300.25},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "inverted, and said twice": {
        "PhotometricInterpretation": "MONOCHROME1",
        "PresentationLUTShape": "INVERSE",
    },
    "inverted by its shape alone": {"PresentationLUTShape": "INVERSE"},
    "upright by its shape": {
        "PhotometricInterpretation": "MONOCHROME1",
        "PresentationLUTShape": "IDENTITY",
    },
}


@pytest.mark.parametrize("window", WINDOWS)
def test_windows(window: str) -> None:
    blob = image(**WINDOWS[window])
    shown = assert_like_highdicom(blob)
    assert len(np.unique(shown)) > 5
    # Stored values become modality values first.
    xr.testing.assert_identical(opened(blob, mask_and_scale=False).dicom.to_rgb(), shown)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_table_comes_before_a_window(bits: int, inverted: bool) -> None:
    table = Dataset()
    entries = (np.linspace(0, 1, 1000) ** 2 * (2**bits - 1)).astype(f"<u{bits // 8}")
    table.LUTDescriptor = [1000, 64536, bits]  # -1000 as unsigned
    table["LUTDescriptor"].VR = "US"
    table.LUTData = entries.tobytes()
    table["LUTData"].VR = "OW"
    signed = {"PixelRepresentation": 1, "RescaleIntercept": 0, "BitsStored": 16, "HighBit": 15}
    pixels = np.linspace(-1500, 500, np.prod(SHAPE)).astype("<i2").tobytes()
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    blob = image(
        VOILUTSequence=[table], PhotometricInterpretation=photometric, PixelData=pixels, **signed
    )
    shown = opened(blob).dicom.to_rgb()
    values = np.linspace(-1500, 500, np.prod(SHAPE)).astype(int).reshape(SHAPE)
    levels = entries[np.clip(values + 1000, 0, 999)] * (255 / (2**bits - 1))
    expected = 255 - levels if inverted else levels
    assert np.abs(shown.values.astype(float) - expected[..., None]).max() <= 1


@pytest.mark.parametrize("width", [1, 0.5])
def test_a_step(width: float) -> None:
    shown = opened(image(WindowCenter=100, WindowWidth=width)).dicom.to_rgb().isel(c=0)
    values = opened(image()).image
    np.testing.assert_array_equal(shown, np.where(values > 99.5, 255, 0))


def without_window(**attributes: Any) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(image(**attributes)))
    del dataset.WindowCenter, dataset.WindowWidth
    return content(lambda file: dataset.save_as(file))


def test_without_a_window_the_format_shows() -> None:
    blob = without_window()
    shown = opened(blob).dicom.to_rgb().isel(c=0)
    stored = opened(blob, mask_and_scale=False)
    np.testing.assert_allclose(shown, stored.image / 4095 * 255, atol=0.5 + 1e-6)
    np.testing.assert_array_equal(stored.dicom.to_rgb().isel(c=0), shown)
    for nothing in ({"WindowCenter": "", "WindowWidth": ""}, {"WindowWidth": 0}):
        np.testing.assert_array_equal(opened(image(**nothing)).dicom.to_rgb().isel(c=0), shown)


def test_an_unknown_function_is_said() -> None:
    dataset = opened(image(VOILUTFunction="CUBIC"))
    with pytest.warns(DicomWarning, match=r"\(0028,1056\) is 'CUBIC', and taken for LINEAR"):
        shown = dataset.dicom.to_rgb()
    np.testing.assert_array_equal(shown, opened(image()).dicom.to_rgb())


def test_a_real_palette() -> None:
    path = get_testdata_file("examples_palette.dcm")
    assert path is not None
    blob = Path(path).read_bytes()
    shown = opened(blob).dicom.to_rgb()
    np.testing.assert_allclose(shown, shown_by_highdicom(blob) / 65535 * 255, atol=0.5 + 1e-6)
    assert len(np.unique(shown.values.reshape(-1, 3), axis=0)) > 20


def palette(bits: int, first: int) -> bytes:
    rng = np.random.default_rng(2)
    dataset = pydicom.dcmread(io.BytesIO(without_window()))
    for name in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        delattr(dataset, name)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = rng.integers(0, 256, SHAPE, np.uint8).tobytes()
    for colour in ("Red", "Green", "Blue"):
        entries = rng.integers(0, 2**bits, 100).astype(f"<u{bits // 8}")
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [100, first, bits])
        dataset[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(dataset, f"{colour}PaletteColorLookupTableData", entries.tobytes())
    return content(lambda file: dataset.save_as(file))


@pytest.mark.parametrize("first", [0, 60])
def test_eight_bit_palettes(first: int) -> None:
    assert_like_highdicom(palette(8, first))


def test_deep_palettes_are_scaled_to_eight_bits() -> None:
    blob = palette(16, 60)
    shown = opened(blob).dicom.to_rgb()
    np.testing.assert_allclose(shown, shown_by_highdicom(blob) / 65535 * 255, atol=0.5 + 1e-6)


def exchanged(profile: bytes) -> bytes:
    """A profile whose red and green primaries have changed places."""
    return profile.replace(b"rXYZ", b"r___").replace(b"gXYZ", b"rXYZ").replace(b"r___", b"gXYZ")


def coloured_slide(**options: Any) -> bytes:
    written = pydicom.dcmread(
        io.BytesIO(content(lambda file: slide(file, shape=(150, 200), tile=64, **options)))
    )
    path = written.OpticalPathSequence[0]
    path.ICCProfile = exchanged(path.ICCProfile)
    return content(lambda file: written.save_as(file))


def slide_shown_by_highdicom(blob: bytes) -> NDArray[np.uint8]:
    shown = highdicom.imread(io.BytesIO(blob)).get_total_pixel_matrix(
        dtype=np.uint8, apply_icc_profile=True
    )
    return np.asarray(shown)


def test_profiles_of_slides() -> None:
    blob = coloured_slide(codec="native")
    expected = slide_shown_by_highdicom(blob)
    dataset = opened(blob)
    shown = dataset.dicom.to_rgb()
    np.testing.assert_array_equal(shown, expected)
    assert np.abs(expected.astype(int) - dataset.image.values).max() > 10
    for chunks in ({}, {"y": 64, "x": 70}, {"c": 1}):
        np.testing.assert_array_equal(dataset.chunk(chunks).dicom.to_rgb(), expected)


def test_a_broken_profile_is_said() -> None:
    written = pydicom.dcmread(io.BytesIO(coloured_slide()))
    written.OpticalPathSequence[0].ICCProfile = b"no profile at all"
    blob = content(lambda file: written.save_as(file))
    with pytest.raises(CorruptDicomError, match=r"ICC Profile \(0028,2000\) can't be used"):
        opened(blob).dicom.to_rgb()


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colour_is_scaled_to_eight_bits(bits: int) -> None:
    dataset = pydicom.dcmread(io.BytesIO(without_window()))
    dataset.PhotometricInterpretation = "RGB"
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    pixels = np.random.default_rng(4).integers(0, 2**bits, (*SHAPE, 3)).astype("<u2")
    dataset.PixelData = pixels.tobytes()
    shown = opened(content(lambda file: dataset.save_as(file))).dicom.to_rgb()
    np.testing.assert_allclose(shown, pixels / (2**bits - 1) * 255, atol=0.5 + 1e-6)


SUBJECTS: dict[str, Callable[[], bytes]] = {
    "slide": lambda: coloured_slide(),
    "volume": lambda: kind("enhanced-ct").objects["object.dcm"],
    "palette": lambda: palette(8, 60),
    "plane": lambda: kind("single").objects["object.dcm"],
    "cine": lambda: kind("cine").objects["object.dcm"],
}

SELECTIONS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "region": lambda a: a.isel(y=slice(3, 17), x=slice(None, 20)),
    "steps back": lambda a: a.isel(y=slice(None, None, -3)),
    "a row": lambda a: a.isel(y=7),
    "a pixel": lambda a: a.isel(y=7, x=9),
    "lists": lambda a: a.isel(y=[5, 5, 1], x=[30, 2]),
    "points": lambda a: a.isel(
        y=xr.DataArray([1, 20, 3], dims="p"), x=xr.DataArray([4, 4, 9], dims="p")
    ),
    "transposed": lambda a: a.transpose("x", ...),
    "nothing": lambda a: a.isel(x=slice(0)),
}


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "dask"])
@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.filterwarnings("ignore:The specified chunks:UserWarning")
def test_selecting_before_and_after_is_the_same(subject: str, chunks: Any) -> None:
    url = CountingFileSystem.put(f"display/{subject}.dcm", SUBJECTS[subject]())
    dataset = xr.open_dataset(url, engine="dicom", chunks=chunks)
    whole = dataset.image.dicom.to_rgb().compute()
    for name, select in SELECTIONS.items():
        expected = select(whole)
        after = select(dataset.image.dicom.to_rgb())
        np.testing.assert_array_equal(after.values, expected.values, err_msg=name)
        part = select(dataset.image)
        if "p" in part.dims:
            continue
        before = part.dicom.to_rgb()
        np.testing.assert_array_equal(
            before.values, expected.transpose(*before.dims).values, err_msg=name
        )
        assert set(before.coords) == set(expected.coords)
    red = dataset.image.dicom.to_rgb().sel(c="r")
    np.testing.assert_array_equal(red, whole.isel(c=0))
    xr.align(red, dataset.image, join="exact")
    if "affine" in dataset.image.attrs:
        np.testing.assert_array_equal(whole.dicom.affine, dataset.dicom.affine)


def test_only_the_tiles_shown_are_read() -> None:
    source = RecordingSource(open_source(coloured_slide(codec="native")))
    dataset = xr.open_dataset(source, engine="dicom")
    shown = dataset.dicom.to_rgb()
    header = source.bytes_read
    source.clear()
    part = shown.isel(y=slice(70, 100), x=slice(10, 50))
    assert source.requests == []
    part.load()
    assert source.bytes_read == 64 * 64 * 3 < header
    source.clear()
    part.values  # noqa: B018
    repr(shown)
    assert source.requests == []
    assert shown.attrs["photometric_interpretation"] == "RGB"
    assert shown.name == "image"


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "dask"])
def test_a_display_form_pickles(chunks: Any) -> None:
    for subject in ("slide", "volume", "palette"):
        url = CountingFileSystem.put(f"display/{subject}.dcm", SUBJECTS[subject]())
        shown = xr.open_dataset(url, engine="dicom", chunks=chunks).dicom.to_rgb()
        xr.testing.assert_identical(pickle.loads(pickle.dumps(shown)).compute(), shown.compute())


def test_a_series_is_shown_through_one_window() -> None:
    dataset = xr.open_dataset(kind("series").put(), engine="dicom")
    shown = dataset.dicom.to_rgb()
    planes = [pydicom.dcmread(io.BytesIO(blob)) for blob in kind("series").objects.values()]
    planes.sort(key=lambda plane: plane.ImagePositionPatient[2])
    for found, plane in zip(shown, planes, strict=True):
        expected = shown_by_highdicom(content(lambda file, p=plane: p.save_as(file)))
        assert np.abs(found.values - expected).max() <= 1
    stored = xr.open_dataset(kind("series").put(), engine="dicom", mask_and_scale=False)
    np.testing.assert_array_equal(stored.dicom.to_rgb(), shown)


def test_slopes_that_differ(tmp_path: Path) -> None:
    ct_series(tmp_path, planes=3, shape=SHAPE, slopes=(1.0, 0.5), spacing=(5.0, 12.0, 12.0))
    dataset = xr.open_dataset(str(tmp_path), engine="dicom")
    values = dataset.image.values
    expected = np.clip((values - (60 - 0.5) + 399 / 2) / 399 * 255, 0, 255)
    assert np.abs(dataset.dicom.to_rgb().values[..., 0] - expected).max() <= 1
    stored = xr.open_dataset(str(tmp_path), engine="dicom", mask_and_scale=False)
    with pytest.raises(UnsupportedDicomError, match="open it without mask_and_scale=False"):
        stored.dicom.to_rgb()


def test_what_has_no_display_form() -> None:
    with pytest.raises(UnsupportedDicomError, match="'segmentation' has no display form"):
        opened(kind("segmentation").objects["object.dcm"]).dicom.to_rgb()
    slide_image = opened(kind("slide-eot").objects["object.dcm"]).image
    for part in (slide_image.isel(c=0), slide_image.isel(c=[2, 1, 0])):
        with pytest.raises(DicomError, match="needs all of c: select a sample afterwards"):
            part.dicom.to_rgb()
    with pytest.raises(DicomError, match="ask the opened dataset"):
        (slide_image + 0).dicom.to_rgb()


# Padding


PADDED = [(-2000, None), (-2000, -1998), (-1998, -2000)]


def padded(value: int, limit: int | None, *, scaled: bool = True) -> tuple[bytes, Any]:
    rng = np.random.default_rng(8)
    pixels = rng.integers(-2003, -1990, SHAPE).astype("<i2")
    attributes: dict[str, Any] = {
        "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15,
        "RescaleSlope": 0.3 if scaled else 1, "RescaleIntercept": 7.7 if scaled else 0,
        "PixelData": pixels.tobytes(), "PixelPaddingValue": value,
    }  # fmt: skip
    if limit is not None:
        attributes["PixelPaddingRangeLimit"] = limit
    low, high = sorted((value, value if limit is None else limit))
    return image(**attributes), (pixels >= low) & (pixels <= high)


@pytest.mark.parametrize("chunks", [None, {"y": 10}], ids=["plain", "dask"])
@pytest.mark.parametrize("options", [{}, {"mask_and_scale": False}], ids=["scaled", "stored"])
@pytest.mark.parametrize(("value", "limit"), PADDED)
def test_padding_is_masked_exactly(value: int, limit: Any, options: Any, chunks: Any) -> None:
    blob, expected = padded(value, limit)
    assert 0 < expected.sum() < expected.size
    source = RecordingSource(open_source(blob))
    dataset = xr.open_dataset(source, engine="dicom", **options)
    if chunks:
        dataset = dataset.chunk(chunks)
    source.clear()
    masked = dataset.dicom.mask_padding()
    assert source.requests == []
    assert masked.image.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(masked.image), expected)
    np.testing.assert_array_equal(masked.image.values[~expected], dataset.image.values[~expected])
    assert masked.attrs == dataset.attrs
    assert set(masked.coords) == set(dataset.coords)
    part = {"y": slice(None, None, -2), "x": [7, 1]}
    np.testing.assert_array_equal(
        np.isnan(dataset.image.isel(part).dicom.mask_padding()), expected[::-2][:, [7, 1]]
    )
    # What knows its object can be shown, and masked again.
    assert masked.dicom.header.PixelPaddingValue == value
    np.testing.assert_array_equal(
        masked.dicom.to_rgb().values[expected], np.zeros((expected.sum(), 3))
    )
    xr.testing.assert_identical(masked.dicom.mask_padding(), masked)


@pytest.mark.parametrize("chunks", [None, {"z": 2}], ids=["plain", "dask"])
def test_padding_under_slopes_that_differ(chunks: Any, tmp_path: Path) -> None:
    """Equal values stand for padding in one plane and not in another: stored ones tell."""
    rng = np.random.default_rng(9)
    planes = ct_series(
        None, planes=5, shape=SHAPE, slopes=(1.0, 2.0), spacing=(5.0, 12.0, 12.0), shuffle=False
    )
    stored = rng.integers(0, 9, (5, *SHAPE)).astype("<u2")
    for plane, pixels in zip(planes, stored, strict=True):
        plane.PixelData, plane.PixelPaddingValue = pixels.tobytes(), 4
        write(plane, tmp_path / f"{plane.InstanceNumber}.dcm", ExplicitVRLittleEndian)
    dataset = xr.open_dataset(str(tmp_path), engine="dicom")
    if chunks:
        dataset = dataset.chunk(chunks)
    masked = dataset.dicom.mask_padding().image
    np.testing.assert_array_equal(np.isnan(masked), stored == 4)
    np.testing.assert_array_equal(masked.values[stored != 4], dataset.image.values[stored != 4])
    assert masked.chunks == dataset.image.chunks
    part = dataset.image.isel(z=slice(None, None, -2), y=5).transpose("x", "z")
    np.testing.assert_array_equal(np.isnan(part.dicom.mask_padding()), (stored[::-2, 5] == 4).T)
    assert masked.dicom.headers == dataset.dicom.headers


@pytest.mark.filterwarnings("ignore:.*have no frame:xarray_dicom.DicomWarning")
@pytest.mark.parametrize("part", [{}, {"temporal_position": [2, 0], "echo_time": 1, "z": 3}])
def test_padding_among_more_dimensions(part: Any) -> None:
    written = io.BytesIO()
    enhanced_mr(written, missing=[4])
    dataset = pydicom.dcmread(io.BytesIO(written.getvalue()))
    dataset.PixelPaddingValue = 5
    dataset["PixelPaddingValue"].VR = "SS"
    blob = content(lambda file: dataset.save_as(file))
    found = opened(blob).isel(part)
    # A frame is missing, so values are rescaled while reading.
    stored = opened(blob, mask_and_scale=False).isel(part).image.values
    masked = found.dicom.mask_padding().image
    np.testing.assert_array_equal(np.isnan(masked), stored == 5)
    assert masked.dims == found.image.dims


def test_colour_is_padding_in_all_samples() -> None:
    dataset = pydicom.dcmread(io.BytesIO(kind("cine").objects["object.dcm"]))
    dataset.decompress()
    dataset.PixelPaddingValue = 255
    dataset["PixelPaddingValue"].VR = "US"
    pixels = np.random.default_rng(3).integers(254, 256, (4, 48, 64, 3)).astype(np.uint8)
    dataset.PixelData, dataset.PhotometricInterpretation = pixels.tobytes(), "RGB"
    masked = opened(content(lambda file: dataset.save_as(file))).dicom.mask_padding().image
    expected = np.broadcast_to((pixels == 255).all(-1, keepdims=True), pixels.shape)
    np.testing.assert_array_equal(np.isnan(masked), expected)


def test_without_padding_nothing_changes() -> None:
    dataset = opened(image())
    xr.testing.assert_identical(dataset.dicom.mask_padding(), dataset)


def test_padding_is_not_told_after_arithmetic() -> None:
    blob, _ = padded(-2000, None)
    with xr.set_options(keep_attrs=True):
        lost = opened(blob).image * 2
    with pytest.raises(DicomError, match="arithmetic and the like drop it"):
        lost.dicom.mask_padding()


def test_an_enhanced_ct_has_its_windows_in_its_frames() -> None:
    planes = ct_series(None, planes=4, shape=SHAPE, shuffle=False)
    blob = content(lambda file: legacy_enhanced_ct(file, planes))
    shown = opened(blob).dicom.to_rgb()
    header = opened(blob).dicom.header
    groups = header.PerFrameFunctionalGroupsSequence
    heights = [float(g.PlanePositionSequence[0].ImagePositionPatient[2]) for g in groups]
    for number, plane in enumerate(np.argsort(heights)):
        expected = shown_by_highdicom(blob, int(plane) + 1)
        assert np.abs(shown.values[number] - expected).max() <= 1
