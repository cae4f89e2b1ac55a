"""Values: rescales, tables, real-world values and parametric maps, against highdicom."""

from __future__ import annotations

import io
import warnings
from typing import Any

import highdicom
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from support.generate.attributes import uid, write
from support.generate.multiframe import enhanced_mr
from support.generate.series import ct_series
from support.generate.slide import slide
from support.kinds import content
from xarray_dicom import DicomError, DicomWarning

SHAPE = (24, 32)

HOUNSFIELD = codes.UCUM.HounsfieldUnit
PER_MM = highdicom.sr.CodedConcept("mm2/s", "UCUM", "mm2/s")


def opened(dataset: Dataset | bytes, **options: Any) -> xr.DataArray:
    """The one variable of a data set, written and opened."""
    if isinstance(dataset, Dataset):
        syntax = dataset.file_meta.TransferSyntaxUID
        dataset = content(lambda file: write(dataset, file, syntax))
    (variable,) = xr.open_dataset(dataset, engine="dicom", **options).data_vars.values()
    return variable


def mapping(
    label: str, slope: float, intercept: float, unit: Any, bounds: tuple[float, float]
) -> highdicom.pm.RealWorldValueMapping:
    return highdicom.pm.RealWorldValueMapping(
        lut_label=label,
        lut_explanation=f"{label} explained",
        unit=unit,
        value_range=bounds,
        slope=slope,
        intercept=intercept,
    )


@pytest.fixture(scope="module")
def images() -> list[Dataset]:
    planes = ct_series(None, planes=3, shape=SHAPE, shuffle=False)
    for plane in planes:
        content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
    return planes


def copy_of(image: Dataset) -> Dataset:
    return dcmread(io.BytesIO(content(lambda file: write(image, file, ExplicitVRLittleEndian))))


# --- rescale, tables


def pet_like() -> tuple[bytes, Dataset]:
    """A multi-frame image whose frames have a Rescale Slope of their own, as PET has."""
    dataset = dcmread(io.BytesIO(content(lambda file: enhanced_mr(file, times=1, echoes=(10.0,)))))
    # highdicom does not extend the sign from Bits Stored, so all bits are stored here.
    stored = dataset.pixel_array.astype("<i2")
    dataset.BitsStored, dataset.HighBit = 16, 15
    dataset.PixelData = stored.tobytes()
    del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for number, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        rescale = Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = f"{0.37 + number / 7:.6f}", -number
        rescale.RescaleType = "US"
        item.PixelValueTransformationSequence = [rescale]
    return content(lambda file: write(dataset, file, ExplicitVRLittleEndian)), dataset


def planes_by_height(dataset: Dataset, frames: list[NDArray[Any]]) -> NDArray[Any]:
    """Frames stacked in ascending order of the third coordinate of their position."""
    heights = [
        item.PlanePositionSequence[0].ImagePositionPatient[2]
        for item in dataset.PerFrameFunctionalGroupsSequence
    ]
    return np.stack([frames[i] for i in np.argsort(heights)])


def test_every_frame_has_its_own_rescale() -> None:
    file, dataset = pet_like()
    image = highdicom.imread(io.BytesIO(file))
    frames = [
        image.get_frame(n + 1, dtype=np.float32, apply_presentation_lut=False)
        for n in range(image.number_of_frames)
    ]
    found = opened(file)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, planes_by_height(dataset, frames))
    np.testing.assert_array_equal(
        opened(file, mask_and_scale=False), planes_by_height(dataset, list(dataset.pixel_array))
    )


def test_files_of_a_series_have_their_own_rescale(images: list[Dataset], tmp_path: Any) -> None:
    expected = []
    for number, image in enumerate(images):
        changed = copy_of(image)
        changed.RescaleSlope = f"{1.25 + number / 3:.6f}"
        path = tmp_path / f"{number}.dcm"
        write(changed, path, ExplicitVRLittleEndian)
        frame = highdicom.imread(path).get_frame(
            1, dtype=np.float32, apply_presentation_lut=False, apply_voi_transform=False
        )
        expected.append((float(changed.ImagePositionPatient[2]), frame))
    found = xr.open_dataset(tmp_path, engine="dicom").image
    stacked = np.stack([frame for _, frame in sorted(expected, key=lambda one: one[0])])
    np.testing.assert_array_equal(found, stacked)


@pytest.mark.parametrize("first", [0, 200])
def test_modality_table(images: list[Dataset], first: int) -> None:
    dataset = copy_of(images[0])
    stored = dataset.pixel_array.astype(np.int64) - int(dataset.pixel_array.min())
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset.PixelRepresentation = 0
    dataset.BitsStored, dataset.HighBit = 16, 15
    del dataset.RescaleSlope, dataset.RescaleIntercept
    for keyword in ("RescaleType", "PixelPaddingValue"):
        if keyword in dataset:
            del dataset[keyword]
    table = (np.arange(1000, dtype=np.uint16) * 37) % 60000
    dataset.ModalityLUTSequence = [highdicom.ModalityLUT("US", first, table)]
    image = highdicom.imread(
        io.BytesIO(content(lambda file: write(dataset, file, ExplicitVRLittleEndian)))
    )
    expected = image.get_frame(1, dtype=np.float32, apply_presentation_lut=False)
    np.testing.assert_array_equal(opened(dataset), expected)


# --- real-world values of images


@pytest.fixture(scope="module")
def mapped(images: list[Dataset]) -> Dataset:
    dataset = copy_of(images[0])
    pixels = np.random.default_rng(3).integers(-900, 900, SHAPE).astype("<i2")
    dataset.PixelData = pixels.tobytes()
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
    dataset.RealWorldValueMappingSequence = [
        mapping("density", 0.5, -3.0, HOUNSFIELD, (-400.0, 400.0)),
        mapping("ADC", 1e-3, 2.0, PER_MM, (-2000.0, 4000.0)),
    ]
    return dataset


@pytest.mark.parametrize(
    ("choice", "position"), [(0, 0), (1, 1), ("density", 0), ("ADC", 1), ("mm2/s", 1)]
)
def test_real_world_values_by_position_label_and_unit(
    mapped: Dataset, choice: int | str, position: int
) -> None:
    found = opened(mapped, real_world=choice)
    item = mapped.RealWorldValueMappingSequence[position]
    stored = mapped.pixel_array
    first, last = (
        item[f"DoubleFloatRealWorldValue{n}ValueMapped"].value for n in ("First", "Last")
    )
    inside = (stored >= first) & (stored <= last)
    slope, intercept = (
        np.float32(item[f"RealWorldValue{n}"].value) for n in ("Slope", "Intercept")
    )
    expected = np.where(inside, stored * slope + intercept, np.float32("nan"))
    assert inside.any()
    assert not inside.all() or position
    np.testing.assert_array_equal(found, expected)
    assert found.attrs["units"] == item.MeasurementUnitsCodeSequence[0].CodeValue
    assert found.attrs["long_name"] == f"{item.LUTLabel} explained"


def test_real_world_values_equal_those_of_highdicom(mapped: Dataset) -> None:
    dataset = copy_of(mapped)
    del dataset.RealWorldValueMappingSequence[0]
    image = highdicom.imread(
        io.BytesIO(content(lambda file: write(dataset, file, ExplicitVRLittleEndian)))
    )
    expected = image.get_frame(
        1, dtype=np.float32, apply_real_world_transform=True, apply_presentation_lut=False
    )
    np.testing.assert_array_equal(opened(dataset, real_world="ADC"), expected)


def test_modality_values_unless_asked(mapped: Dataset) -> None:
    rescaled = mapped.pixel_array * np.float32(mapped.RescaleSlope) + np.float32(
        mapped.RescaleIntercept
    )
    np.testing.assert_array_equal(opened(mapped), rescaled)
    stored = opened(mapped, mask_and_scale=False, real_world="ADC")
    np.testing.assert_array_equal(stored, mapped.pixel_array)


@pytest.mark.parametrize("choice", [2, -1, "T1", "ms", ""])
def test_a_mapping_that_is_not_there(mapped: Dataset, choice: int | str) -> None:
    with pytest.raises(DicomError, match=r"there are 0: 'density' in .*, 1: 'ADC' in mm2/s"):
        opened(mapped, real_world=choice)


def test_an_image_without_mappings(images: list[Dataset]) -> None:
    with pytest.raises(DicomError, match=r"no Real World Value Mapping \(0040,9096\)"):
        opened(images[0], real_world="ADC")


# --- parametric maps


def parametric_map(sources: list[Dataset], pixels: NDArray[Any], mappings: list[Any]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = highdicom.pm.ParametricMap(
            source_images=sources,
            pixel_array=pixels,
            series_instance_uid=uid("map", "series"),
            series_number=4,
            sop_instance_uid=uid("map", str(pixels.dtype), pixels.shape),
            instance_number=1,
            manufacturer="xarray-dicom",
            manufacturer_model_name="generator",
            software_versions="1",
            device_serial_number="1",
            contains_recognizable_visual_features=False,
            real_world_value_mappings=mappings,
            voi_lut_transformations=[
                highdicom.VOILUTTransformation(window_center=0, window_width=1)
            ],
        )
    return content(written.save_as)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.uint8])
@pytest.mark.parametrize("planes", [1, 3])
def test_parametric_map(images: list[Dataset], dtype: Any, planes: int) -> None:
    rng = np.random.default_rng(8)
    if np.dtype(dtype).kind == "f":
        pixels = rng.normal(size=(planes, *SHAPE)).astype(dtype)
        bounds: Any = (-2.0, 2.0)
    else:
        pixels = rng.integers(0, 200, (planes, *SHAPE)).astype(dtype)
        bounds = (0, 150)
    slope, intercept = 0.25, -1.0
    one = mapping("map", slope, intercept, PER_MM, bounds)
    file = parametric_map(images[:planes], pixels, [one])
    wide = np.float64 if dtype == np.float64 else np.float32
    expected = np.where(
        (pixels >= bounds[0]) & (pixels <= bounds[1]),
        pixels * wide(slope) + wide(intercept),
        np.nan,
    )
    found = opened(file)
    assert found.name == "parametric_map"
    assert found.dims == ("z", "y", "x")
    assert found.dtype == wide
    assert found.attrs["units"] == "mm2/s"
    heights = [float(image.ImagePositionPatient[2]) for image in images[:planes]]
    np.testing.assert_array_equal(found, expected[np.argsort(heights)])
    stored = opened(file, mask_and_scale=False)
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, pixels[np.argsort(heights)])


def test_parametric_map_of_several_channels(images: list[Dataset]) -> None:
    """Each channel is a dimension of its own, with a mapping of its own."""
    pixels = np.random.default_rng(9).normal(size=(3, *SHAPE, 2)).astype(np.float32)
    mappings = [
        [mapping("T1", 2.0, 1.0, HOUNSFIELD, (-10.0, 10.0))],
        [mapping("ADC", 0.5, 0.0, PER_MM, (-10.0, 10.0))],
    ]
    found = opened(parametric_map(images, pixels, mappings))
    order = np.argsort([float(image.ImagePositionPatient[2]) for image in images])
    assert found.sizes == {"lut_label": 2, "z": 3, "y": SHAPE[0], "x": SHAPE[1]}
    for channel, (label, slope, intercept) in enumerate([("T1", 2.0, 1.0), ("ADC", 0.5, 0.0)]):
        expected = pixels[order, ..., channel] * np.float32(slope) + np.float32(intercept)
        np.testing.assert_array_equal(found.sel(lut_label=label), expected)


def test_integer_channels_in_implicit_vr(images: list[Dataset]) -> None:
    """Without a VR in the file, the sign of the pixels decides how a range is read."""
    pixels = np.random.default_rng(9).integers(0, 60000, (3, *SHAPE, 2)).astype(np.uint16)
    mappings = [
        [mapping("T1", 2.0, 1.0, PER_MM, (0, 50000))],
        [mapping("ADC", 0.5, 0.0, PER_MM, (40000, 65535))],
    ]
    dataset = dcmread(io.BytesIO(parametric_map(images, pixels, mappings)))
    file = content(lambda file: write(dataset, file, ImplicitVRLittleEndian))
    order = np.argsort([float(image.ImagePositionPatient[2]) for image in images])
    found = opened(file)
    assert found.attrs["units"] == "mm2/s"
    first, second = (pixels[order, ..., channel] for channel in (0, 1))
    expected = np.where(first <= 50000, first * np.float32(2) + np.float32(1), np.nan)
    np.testing.assert_array_equal(found.sel(lut_label="T1"), expected)
    expected = np.where(second >= 40000, second * np.float32(0.5), np.nan)
    np.testing.assert_array_equal(found.sel(lut_label="ADC"), expected)


def test_tiled_parametric_map() -> None:
    below = dcmread(io.BytesIO(content(lambda file: slide(file, shape=(150, 200), tile=64))))
    pixels = np.random.default_rng(10).normal(size=(150, 200)).astype(np.float32)
    one = mapping("map", 2.0, 1.0, PER_MM, (-100.0, 100.0))
    found = opened(tiled_map(below, pixels, one))
    assert found.dims == ("y", "x")
    np.testing.assert_array_equal(found, pixels * np.float32(2) + np.float32(1))
    assert found.attrs["coordinate_system"] == "slide"


def tiled_map(below: Dataset, pixels: NDArray[np.float32], one: Dataset) -> bytes:
    """A parametric map over a slide, TILED_FULL; highdicom writes none that is tiled."""
    dataset = copy_of_slide(below)
    tile = (40, 56)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.30"
    dataset.Rows, dataset.Columns = tile
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = 32
    for keyword in (
        "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration", "PixelData",
        "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "OpticalPathSequence",
    ):  # fmt: skip
        if keyword in dataset:
            del dataset[keyword]
    down, across = -(-pixels.shape[0] // tile[0]), -(-pixels.shape[1] // tile[1])
    padded = np.zeros((down * tile[0], across * tile[1]), np.float32)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    tiles = padded.reshape(down, tile[0], across, tile[1]).swapaxes(1, 2)
    dataset.NumberOfFrames = down * across
    dataset.FloatPixelData = tiles.astype("<f4").tobytes()
    dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = [one]
    return content(lambda file: write(dataset, file, ExplicitVRLittleEndian))


def copy_of_slide(below: Dataset) -> Dataset:
    copied = Dataset()
    copied.update({element.tag: element for element in below})
    return copied


def test_parametric_map_without_a_mapping(images: list[Dataset]) -> None:
    pixels = np.random.default_rng(8).normal(size=(1, *SHAPE)).astype(np.float32)
    one = mapping("map", 2.0, 1.0, PER_MM, (-100.0, 100.0))
    dataset = dcmread(io.BytesIO(parametric_map(images[:1], pixels, [one])))
    del dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    with pytest.warns(DicomWarning, match="without Real World Value Mapping"):
        found = opened(dataset)
    np.testing.assert_array_equal(found, pixels)


def test_a_mosaic_is_left_as_it_is(images: list[Dataset]) -> None:
    dataset = copy_of(images[0])
    expected = opened(dataset)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    with pytest.warns(DicomWarning, match="a Siemens mosaic"):
        found = opened(dataset)
    np.testing.assert_array_equal(found, expected)
