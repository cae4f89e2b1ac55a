"""Values of the pixels of plain data sets: rescale, padding, fill, units and colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from highdicom.color import CIELabColor
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, PositronEmissionTomographyImageStorage, RTDoseStorage

from support.plain_instances import item, items, plain_instance
from xarray_dicom.errors import CorruptDicomError, DicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.image import Linear
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.parametric import is_parametric_map, parametric_values
from xarray_dicom.layout.pixel_values import PixelValues, image_values, lab_to_srgb
from xarray_dicom.layout.units import unit_of
from xarray_dicom.pixels.transform import PerFrame, Rescale, Stored


def values(*instances: Instance, complete: bool = True, **options: Any) -> PixelValues:
    return image_values(instances, LayoutOptions(**options), complete)


def applied(made: PixelValues, stored: list[int], frame: int = 0) -> list[float]:
    """Return the final values of a frame."""
    result = made.transform.apply(np.asarray(stored, np.uint16), frame).astype(np.float64)
    if made.linear is not None:
        result = result * made.linear.slope + made.linear.intercept
    return result.tolist()


def test_a_rescale_that_all_frames_share_is_left_to_cf_decoding() -> None:
    made = values(
        plain_instance("a.dcm", RescaleSlope=2, RescaleIntercept=-1000),
        plain_instance("b.dcm", n_frames=3, RescaleSlope="2.0", RescaleIntercept=-1000),
    )
    assert isinstance(made.transform, Stored)
    assert made.linear == Linear(2.0, -1000.0)
    assert made.fill == 0
    assert applied(made, [0, 7]) == [-1000.0, -986.0]


def test_without_a_rescale_the_linear_is_the_identity() -> None:
    assert values(plain_instance()).linear == Linear(1.0, 0.0)
    stored = values(plain_instance(RescaleSlope=2, RescaleIntercept=3), scale=False)
    assert stored.linear is None
    assert isinstance(stored.transform, Stored)


def test_an_array_with_absent_frames_is_rescaled_while_reading() -> None:
    made = values(plain_instance(RescaleSlope=2, RescaleIntercept=3), complete=False)
    assert isinstance(made.transform, Rescale)
    assert made.linear is None
    assert np.isnan(made.fill)
    assert applied(made, [5]) == [13.0]


def test_rescales_that_differ_count_through_all_instances() -> None:
    made = values(
        plain_instance("a.dcm", RescaleSlope=2, RescaleIntercept=3),
        plain_instance(
            "b.dcm",
            n_frames=2,
            per_frame={"RescaleSlope": [1.0, 10.0], "RescaleIntercept": [0.0, -1.0]},
        ),
        plain_instance("c.dcm"),
    )
    assert made.linear is None
    assert [applied(made, [5], frame) for frame in range(4)] == [[13.0], [5.0], [49.0], [5.0]]


def test_tables_of_some_instances_are_theirs_alone() -> None:
    table = item(LUTDescriptor=[3, 10, 16], LUTData=[100, 200, 300])
    made = values(
        plain_instance("a.dcm", RescaleSlope=2, RescaleIntercept=0),
        plain_instance("b.dcm", n_frames=2, ModalityLUTSequence=table),
    )
    assert isinstance(made.transform, PerFrame)
    assert applied(made, [11], 0) == [22.0]
    assert applied(made, [9, 11, 99], 2) == [100.0, 200.0, 300.0]


def test_a_damaged_table_is_an_error_of_its_instance() -> None:
    table = item(LUTDescriptor=[3, 10, 16], LUTData=[100, 200])
    with pytest.raises(CorruptDicomError, match=r"^b\.dcm: its LUT Data"):
        values(plain_instance("a.dcm"), plain_instance("b.dcm", ModalityLUTSequence=table))


@pytest.mark.parametrize(
    ("dtype", "attributes", "padding", "limit"),
    [
        ("uint16", {"PixelPaddingValue": 63536}, 63536, None),
        # Unsigned spelling of a signed value (PS3.3 C.7.5.1.1.2).
        ("int16", {"PixelPaddingValue": 63536}, -2000, None),
        ("int16", {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1990}, -2000, -1990),
        ("float32", {"FloatPixelPaddingValue": -1.5}, -1.5, None),
    ],
)
def test_padding_is_in_stored_values(
    dtype: str, attributes: dict[str, Any], padding: float, limit: float | None
) -> None:
    made = values(plain_instance(dtype=dtype, **attributes))
    assert made.attrs["pixel_padding_value"] == padding
    assert made.attrs.get("pixel_padding_range_limit") == limit
    if dtype.startswith("float"):
        assert np.isnan(made.fill)
    else:
        assert made.fill == padding


def test_a_padding_of_several_values_is_passed_over_with_a_warning() -> None:
    with pytest.warns(DicomWarning, match="PixelPaddingValue is .* passed over") as caught:
        made = values(plain_instance(PixelPaddingValue=[1, 2]))
    assert caught[0].message.tag == "PixelPaddingValue"
    assert "pixel_padding_value" not in made.attrs


def test_palettes_and_colours_are_stored_values() -> None:
    palette = values(plain_instance(photometric="PALETTE COLOR", RescaleSlope=2))
    assert isinstance(palette.transform, Stored)
    assert palette.linear is None
    colour = values(plain_instance(photometric="RGB", dtype="uint8"))
    assert colour.fill == (255.0, 255.0, 255.0)
    assert colour.attrs == {"photometric_interpretation": "RGB"}


def lab(colour: CIELabColor) -> list[int]:
    return list(colour.value)


def test_absent_pixels_have_the_recommended_colour() -> None:
    grey = CIELabColor(60.0, 0.0, 0.0)
    path = items({"RecommendedAbsentPixelCIELabValue": lab(grey)})
    made = values(plain_instance(photometric="RGB", dtype="uint8", OpticalPathSequence=path))
    assert made.fill == pytest.approx(grey.to_rgb(), abs=1)


@pytest.mark.parametrize(
    ("colour", "rgb"),
    [
        # sRGB in CIELab relative to D50, as CSS Color Module Level 4 has it.
        ((54.29, 80.80, 69.89), (255, 0, 0)),
        ((87.82, -79.27, 80.99), (0, 255, 0)),
        ((29.57, 68.29, -112.03), (0, 0, 255)),
        ((97.61, -15.75, 93.39), (255, 255, 0)),
        ((53.59, 0.0, 0.0), (128, 128, 128)),
        ((100.0, 0.0, 0.0), (255, 255, 255)),
        ((0.0, 0.0, 0.0), (0, 0, 0)),
    ],
)
def test_cielab_is_relative_to_d50(
    colour: tuple[float, float, float], rgb: tuple[int, int, int]
) -> None:
    np.testing.assert_allclose(lab_to_srgb(lab(CIELabColor(*colour))) * 255, rgb, atol=1)


@given(st.integers(0, 255))
def test_greys_are_those_of_highdicom(level: int) -> None:
    encoded = lab(CIELabColor.from_rgb(level, level, level))
    np.testing.assert_allclose(lab_to_srgb(encoded) * 255, [level] * 3, atol=0.6)


def test_a_choice_of_real_world_values_needs_a_mapping() -> None:
    with pytest.raises(DicomError, match=r"^a\.dcm: no Real World Value Mapping"):
        values(plain_instance(), real_world="SUV")


@pytest.mark.parametrize(
    ("attributes", "rescale_type", "unit"),
    [
        ({}, "HU", "[hnsf'U]"),
        ({}, "US", None),
        ({}, None, None),
        ({"Units": "BQML", "SOPClassUID": PositronEmissionTomographyImageStorage}, None, "Bq/ml"),
        ({"DoseUnits": "GY", "SOPClassUID": RTDoseStorage}, None, "Gy"),
        (
            {
                "SOPClassUID": CTImageStorage,
                "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
                "RescaleSlope": 1,
            },
            None,
            "[hnsf'U]",
        ),
        (
            {
                "SOPClassUID": CTImageStorage,
                "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
                "RescaleSlope": 1,
            },
            None,
            None,
        ),
        ({"SOPClassUID": CTImageStorage, "ImageType": "ORIGINAL"}, None, None),
    ],
)
def test_units_are_ucum(
    attributes: dict[str, Any], rescale_type: str | None, unit: str | None
) -> None:
    assert unit_of(plain_instance(**attributes).dataset, rescale_type) == unit
    if rescale_type is None:
        assert values(plain_instance(**attributes)).attrs.get("units") == unit


PARAMETRIC = "1.2.840.10008.5.1.4.1.1.30"
MAPPING = item(
    LUTLabel="ADC",
    LUTExplanation="apparent diffusion coefficient",
    RealWorldValueSlope=0.5,
    RealWorldValueIntercept=1.0,
    DoubleFloatRealWorldValueFirstValueMapped=0.0,
    DoubleFloatRealWorldValueLastValueMapped=100.0,
    MeasurementUnitsCodeSequence=item(CodeValue="um2/s", CodingSchemeDesignator="UCUM"),
)


def test_parametric_maps_have_the_values_of_their_first_mapping() -> None:
    instance = plain_instance(SOPClassUID=PARAMETRIC, RealWorldValueMappingSequence=MAPPING)
    assert is_parametric_map(instance)
    made = parametric_values([instance], LayoutOptions(), True)
    assert applied(made, [4]) == [3.0]
    assert made.attrs["units"] == "um2/s"
    assert made.attrs["long_name"] == "apparent diffusion coefficient"
    assert np.isnan(made.fill)
    stored = parametric_values([instance], LayoutOptions(scale=False), True)
    assert isinstance(stored.transform, Stored)


def test_parametric_maps_without_a_mapping_have_stored_values_and_a_warning() -> None:
    instance = plain_instance("map.dcm", dtype="float32", SOPClassUID=PARAMETRIC)
    with pytest.warns(DicomWarning, match=r"^map\.dcm: a parametric map without"):
        made = parametric_values([instance], LayoutOptions(), True)
    assert isinstance(made.transform, Stored)
    assert np.isnan(made.fill)
