"""Values, against highdicom bit for bit."""

from __future__ import annotations

import pickle
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.sr.coding import CodedConcept
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.pixels.modality import (
    fraction_transform,
    modality_transform,
    real_world_mapping,
)
from xarray_dicom.pixels.transform import (
    Fraction,
    LookupTable,
    PerFrame,
    RealWorldTable,
    RealWorldValue,
    Rescale,
    Stored,
    Transform,
)

CORPUS = Path(__file__).resolve().parents[2] / "../shared/data"
UINT16 = np.dtype(np.uint16)
ONE = np.ones((), np.float32)


def ct(bits_stored: int, signed: int, slope: str, intercept: str) -> tuple[hd.Image, np.ndarray]:
    """A CT image of random pixels, as highdicom opens it."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    half = 2 ** (bits_stored - 1)
    low, high = (-half, half) if signed else (0, 2 * half)
    stored = np.random.default_rng(bits_stored + signed).integers(low, high, (128, 128))
    stored = stored.astype(np.int16 if signed else np.uint16)
    dataset.PixelData = stored.tobytes()
    dataset.BitsStored, dataset.HighBit = bits_stored, bits_stored - 1
    dataset.PixelRepresentation = signed
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    return hd.Image.from_dataset(dataset), stored


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("bits_stored", [8, 12, 16])
@pytest.mark.parametrize(
    ("slope", "intercept"),
    [("1", "-1024"), ("0.1", "0.3"), ("2.7e-4", "0"), ("-3.3", "1e6"), ("0", "7"), ("1", "0")],
)
def test_rescale_equals_highdicom(
    bits_stored: int, signed: int, slope: str, intercept: str
) -> None:
    image, stored = ct(bits_stored, signed, slope, intercept)
    expected = image.get_frame(
        1,
        dtype=np.float32,
        apply_real_world_transform=False,
        apply_modality_transform=True,
        apply_voi_transform=False,
        apply_presentation_lut=False,
    )
    transform = modality_transform(image, stored.dtype)
    actual = transform.apply(stored, 0)
    assert actual.dtype == transform.dtype == np.float32
    np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_wide_integers_become_float64(dtype: str) -> None:
    stored = np.array([[2**31 - 1, 2**31 - 2, 3]], dtype)
    actual = Rescale.of(0.1, 0.3, stored.dtype).apply(stored, 0)
    assert actual.dtype == np.float64
    np.testing.assert_array_equal(actual, stored * 0.1 + 0.3)


def test_slope_of_each_frame() -> None:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    slope, intercept = np.array([0.1, 0.2, np.nan]), np.array([np.nan, -1, 5.5])
    transform = modality_transform(dataset, UINT16, slope=slope, intercept=intercept)
    assert isinstance(transform, Rescale)
    assert not transform.is_uniform
    stored = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    for frame, (a, b) in enumerate([(0.1, 0.0), (0.2, -1.0), (1.0, 5.5)]):
        expected = stored.astype(np.float32) * np.float32(a) + np.float32(b)
        np.testing.assert_array_equal(transform.apply(stored, frame), expected)


@pytest.mark.parametrize(
    "path",
    [
        "neurolabusc+dcm_qa_philips_enh/In/enh/1901_WIP_3DpCASL_real.dcm",
        "neurolabusc+dcm_qa_sag/In/XA30/enhanced/5_Product_EPI_Sag_Ascending/0063.dcm",
        "pydicom+pydicom-data/data_store/data/eCT_Supplemental.dcm",
        "wearemothership+dicom-test-files/medical.nema.org/multiframe/DISCIMG/IMAGES/BRTUMMM1",
        "QIICR+dcmqi/data/segmentations/23x38x3/multiframe/mf.dcm",
    ],
)
def test_enhanced_files_equal_highdicom(path: str) -> None:
    if not (CORPUS / path).is_file():
        pytest.skip("the corpus is not at hand")
    image = hd.imread(CORPUS / path)
    macros = [
        groups.get("PixelValueTransformationSequence")
        for groups in image.PerFrameFunctionalGroupsSequence
    ]
    numbers = {
        name: np.array([float(m[0].get(name)) if m else np.nan for m in macros])
        for name in ("RescaleSlope", "RescaleIntercept")
    }
    for index in {0, image.number_of_frames - 1}:
        stored = image.get_stored_frame(index + 1)
        transform = modality_transform(
            image,
            stored.dtype,
            slope=numbers["RescaleSlope"] if any(macros) else None,
            intercept=numbers["RescaleIntercept"] if any(macros) else None,
        )
        expected = image.get_frame(
            index + 1,
            dtype=np.float32,
            apply_real_world_transform=False,
            apply_voi_transform=False,
            apply_presentation_lut=False,
        )
        actual = transform.apply(stored, index).astype(np.float32)
        np.testing.assert_array_equal(actual, expected)


def test_colour_and_palette_are_left_alone() -> None:
    for photometric in ("RGB", "PALETTE COLOR"):
        dataset = Dataset()
        dataset.PhotometricInterpretation = photometric
        dataset.RescaleSlope = 2
        assert modality_transform(dataset, UINT16) == Stored(UINT16)


def test_dose_is_scaled() -> None:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.DoseGridScaling = "1.4e-5"
    stored = np.array([[0, 4_000_000_000]], np.uint32)
    actual = modality_transform(dataset, stored.dtype).apply(stored, 0)
    np.testing.assert_array_equal(actual, stored * 1.4e-5)


def modality_lut(entries: list[int], first: int, bits: int, signed: int, vr: str) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries) % 2**16, first, bits])
    if vr == "US":
        item.add_new("LUTData", "US", entries)
    else:
        content = np.asarray(entries, "<u2" if bits > 8 else "u1").tobytes()
        item.add_new("LUTData", "OW", content + b"\0" * (len(content) % 2))
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelRepresentation = signed
    dataset.ModalityLUTSequence = [item]
    return dataset


@pytest.mark.parametrize(
    ("bits", "first", "signed", "vr", "length"),
    [
        (16, 0, 0, "OW", 4096),
        (16, 100, 0, "US", 1000),
        (12, 5, 0, "OW", 999),
        (8, 3, 0, "OW", 255),
        (8, 0, 0, "US", 256),
        (16, -1000, 1, "OW", 2000),
        (16, -32768, 1, "OW", 1),
    ],
)
def test_modality_table(bits: int, first: int, signed: int, vr: str, length: int) -> None:
    entries = np.random.default_rng(bits).integers(0, 2**bits, length).tolist()
    dataset = modality_lut(entries, first, bits, signed, vr)
    dtype = np.dtype(np.int16 if signed else np.uint16)
    bounds = np.iinfo(dtype)
    stored = np.arange(bounds.min, bounds.max + 1, dtype=np.int64).astype(dtype).reshape(256, 256)
    transform = modality_transform(dataset, dtype)
    actual = transform.apply(stored, 0)
    expected = np.interp(stored.astype(np.int64), np.arange(first, first + length), entries)
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, expected)


def test_modality_table_equals_highdicom_and_pydicom() -> None:
    entries = np.random.default_rng(0).integers(0, 2**16, 500).astype(np.uint16)
    image, stored = ct(16, 0, "1", "0")
    item = hd.ModalityLUT("HU", first_mapped_value=30_000, lut_data=entries)
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        delattr(image, keyword)
    image.ModalityLUTSequence = [item]
    actual = modality_transform(image, UINT16).apply(stored, 0)
    expected = item.apply(stored, np.float32)
    np.testing.assert_array_equal(actual, expected)
    item["LUTData"].VR = "OW"
    np.testing.assert_array_equal(actual, apply_modality_lut(stored, image))


def test_table_of_65536_entries() -> None:
    entries = list(range(2**16))[::-1]
    dataset = modality_lut(entries, 0, 16, 0, "OW")
    stored = np.arange(2**16, dtype=np.uint16)
    actual = modality_transform(dataset, UINT16).apply(stored, 0)
    np.testing.assert_array_equal(actual, entries)


def test_table_that_contradicts_its_descriptor() -> None:
    dataset = modality_lut([1, 2, 3], 0, 16, 0, "OW")
    dataset.ModalityLUTSequence[0].LUTDescriptor = [5, 0, 16]
    with pytest.raises(CorruptDicomError, match="LUT Data"):
        modality_transform(dataset, UINT16)


def mapping(slope: float, intercept: float, first: float, last: float, double: bool) -> Dataset:
    code = CodedConcept("1", "UCUM", "no units")
    bounds = (float(first), float(last)) if double else (int(first), int(last))
    return hd.pm.RealWorldValueMapping(
        lut_label="1",
        lut_explanation="test",
        unit=code,
        value_range=bounds,
        slope=slope,
        intercept=intercept,
    )


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("slope", "intercept"), [(0.1, -0.7), (1.0, 0.0), (-2.5e-3, 3.0)])
def test_real_world_value_equals_highdicom(slope: float, intercept: float, double: bool) -> None:
    image, stored = ct(12, 0, "1", "-1024")
    item = mapping(slope, intercept, 0, 4095, double)
    image.RealWorldValueMappingSequence = [item]
    expected = image.get_frame(
        1, dtype=np.float32, apply_real_world_transform=True, apply_presentation_lut=False
    )
    transform = real_world_mapping(item, stored.dtype)
    np.testing.assert_array_equal(transform.apply(stored, 0), expected)


def test_parametric_map_from_elsewhere() -> None:
    path = CORPUS / "pydicom+pydicom-data/data_store/data/parametric_map_float.dcm"
    if not path.is_file():
        pytest.skip("the corpus is not at hand")
    dataset = pydicom.dcmread(path)
    items = [
        groups.RealWorldValueMappingSequence[0]
        for groups in dataset.PerFrameFunctionalGroupsSequence
        if "RealWorldValueMappingSequence" in groups
    ]
    stored = dataset.pixel_array
    mapped = dataset.SharedFunctionalGroupsSequence[0].get("RealWorldValueMappingSequence") or items
    transform = real_world_mapping(mapped[0], stored.dtype)
    expected = stored * np.float32(mapped[0].RealWorldValueSlope)
    expected = expected + np.float32(mapped[0].RealWorldValueIntercept)
    frame = stored if stored.ndim == 2 else stored[0]
    assert frame.dtype == np.float32
    np.testing.assert_array_equal(
        transform.apply(frame, 0), expected if stored.ndim == 2 else expected[0]
    )


def test_real_world_values_outside_the_range_are_nan() -> None:
    stored = np.arange(10, dtype=np.uint16)
    transform = real_world_mapping(mapping(2.0, 1.0, 3, 6, False), UINT16)
    expected = np.where((stored >= 3) & (stored <= 6), stored * 2.0 + 1.0, np.nan)
    np.testing.assert_array_equal(transform.apply(stored, 0), expected)


def test_real_world_table() -> None:
    item = hd.pm.RealWorldValueMapping(
        "1", "test", CodedConcept("1", "UCUM", "no units"), (3, 6), lut_data=[0.5, 1.25, 9, -2]
    )
    transform = real_world_mapping(item, UINT16)
    stored = np.arange(10, dtype=np.uint16)
    expected = np.full(10, np.nan)
    expected[3:7] = [0.5, 1.25, 9, -2]
    np.testing.assert_array_equal(transform.apply(stored, 0), expected)


def test_frames_share_mappings() -> None:
    mappings = tuple(real_world_mapping(mapping(s, 0.0, 0, 100, True), UINT16) for s in (1.0, 2.0))
    transform = PerFrame(mappings, (0, 1, 0, 0))
    stored = np.array([10], np.uint16)
    assert [transform.apply(stored, frame)[0] for frame in range(4)] == [10, 20, 10, 10]


def test_mapping_that_is_incomplete() -> None:
    item = mapping(1.0, 0.0, 0, 1, False)
    del item.RealWorldValueSlope
    with pytest.raises(CorruptDicomError, match="RealWorldValueSlope"):
        real_world_mapping(item, UINT16)


@pytest.mark.parametrize("maximum", [255, 100, 7])
def test_fraction(maximum: int) -> None:
    dataset = Dataset()
    dataset.MaximumFractionalValue = maximum
    stored = np.arange(maximum + 1, dtype=np.uint8)
    actual = fraction_transform(dataset).apply(stored, 0)
    # highdicom's expression
    np.testing.assert_array_equal(actual, stored.astype(np.float32) / maximum)
    with pytest.raises(CorruptDicomError, match="Maximum Fractional Value"):
        Fraction(maximum - 1).apply(stored, 0)


EVERY: list[Transform] = [
    Stored(np.dtype(np.float32)),
    Rescale.of(0.3, -7.0, UINT16),
    Rescale.of(np.array([0.3, 0.4]), np.array([1.0, 2.0]), UINT16),
    LookupTable(5, np.arange(40, dtype=np.float32) ** 2),
    RealWorldValue(np.float32(0.3) * ONE, ONE, np.asarray(2.0), np.asarray(9.0)),
    RealWorldTable(4, np.linspace(0, 1, 9, dtype=np.float32)),
    Fraction(2**16),
    PerFrame((Fraction(2**16), Rescale.of(2.0, 0.0, UINT16)), (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
@settings(deadline=None)
@given(
    stored=hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2)),
    frame=st.integers(0, 1),
)
def test_output_may_be_strided_and_transforms_pickle(
    transform: Transform, stored: np.ndarray, frame: int
) -> None:
    expected = transform.apply(stored, frame)
    assert isinstance(transform, Transform)
    assert expected.dtype == transform.dtype
    wide = np.zeros((stored.shape[0], 2 * stored.shape[1]), transform.dtype)
    out = wide[:, ::2]
    assert transform.apply(stored, frame, out) is out
    np.testing.assert_array_equal(out, expected)
    assert not wide[:, 1::2].any()
    before = pickle.dumps(transform)
    again = pickle.loads(before)
    np.testing.assert_array_equal(again.apply(stored, frame), expected)
    assert pickle.dumps(transform) == before
