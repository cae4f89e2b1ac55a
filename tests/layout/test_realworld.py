"""Real World Value Mappings of plain data sets (PS3.3 C.7.6.16.2.11)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.plain_instances import item, items, plain_instance
from xarray_dicom.errors import CorruptDicomError, DicomError, UnsupportedDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.realworld import Choice, real_world_values, shared_mappings
from xarray_dicom.parsing.elements import Column
from xarray_dicom.parsing.functional import UNIT_PATH

STORED = np.dtype(np.uint16)


def mapping(label: str, slope: float, unit: str, **attributes: Any) -> dict[str, Any]:
    return {
        "LUTLabel": label,
        "RealWorldValueSlope": slope,
        "RealWorldValueIntercept": 1.0,
        "RealWorldValueFirstValueMapped": 10,
        "RealWorldValueLastValueMapped": 20,
        "MeasurementUnitsCodeSequence": item(CodeValue=unit, CodingSchemeDesignator="UCUM"),
        **attributes,
    }


TWO = items(mapping("SUV", 2.0, "g/ml", LUTExplanation="uptake"), mapping("BQML", 3.0, "Bq/ml"))
TABLE = items(
    {
        "LUTLabel": "table",
        "RealWorldValueFirstValueMapped": 10,
        "RealWorldValueLastValueMapped": 12,
        "RealWorldValueLUTData": [0.5, 1.5, 2.5],
    }
)


def read(
    *instances: Instance, choice: Choice = 0, stored: int = 15, frame: int = 0
) -> tuple[float, dict[str, Any]]:
    """Return the real-world value of a stored one, and the attributes."""
    found = real_world_values(instances, STORED, choice)
    assert found is not None
    transform, attrs = found
    return float(transform.apply(np.array([stored], np.uint16), frame)[0]), attrs


@pytest.mark.parametrize(
    ("choice", "value", "attrs"),
    [
        (0, 31.0, {"units": "g/ml", "long_name": "uptake"}),
        (1, 46.0, {"units": "Bq/ml"}),
        ("BQML", 46.0, {"units": "Bq/ml"}),
        ("g/ml", 31.0, {"units": "g/ml", "long_name": "uptake"}),
    ],
)
def test_a_mapping_is_chosen_by_position_label_or_unit(
    choice: Choice, value: float, attrs: dict[str, Any]
) -> None:
    at_root = plain_instance(RealWorldValueMappingSequence=TWO)
    shared = plain_instance(
        SharedFunctionalGroupsSequence=item(RealWorldValueMappingSequence=TWO), n_frames=2
    )
    assert read(at_root, choice=choice) == (value, attrs)
    assert read(shared, choice=choice, frame=1) == (value, attrs)
    assert len(shared_mappings(shared.dataset)) == 2


def test_values_outside_of_the_range_are_not_mapped() -> None:
    instance = plain_instance(RealWorldValueMappingSequence=TWO)
    assert np.isnan(read(instance, stored=9)[0])
    assert read(instance, stored=10)[0] == 21.0
    assert read(instance, stored=20)[0] == 41.0
    assert np.isnan(read(instance, stored=21)[0])


@pytest.mark.parametrize("choice", [2, -1, "SUVbw"])
def test_a_mapping_that_is_not_there_is_an_error_that_lists_the_others(choice: Choice) -> None:
    instance = plain_instance("pet.dcm", RealWorldValueMappingSequence=TWO)
    with pytest.raises(
        DicomError, match=r"^pet\.dcm: .*there are 0: 'SUV' in g/ml, 1: 'BQML' in Bq/ml"
    ) as caught:
        read(instance, choice=choice)
    assert caught.value.tag == "RealWorldValueMappingSequence"


def test_nothing_is_mapped_without_a_mapping() -> None:
    mapped = plain_instance("a.dcm", RealWorldValueMappingSequence=TWO)
    assert real_world_values([plain_instance()], STORED, 0) is None
    assert real_world_values([mapped, plain_instance("b.dcm")], STORED, 0) is None


def per_frame(location: str = "frames.dcm", unit: str = "mm2/s", **left_out: None) -> Instance:
    columns: dict[str, Any] = {
        "RealWorldValueSlope": [1.0, 2.0],
        "RealWorldValueIntercept": [0.0, 5.0],
        "RealWorldValueFirstValueMapped": [0, 0],
        "RealWorldValueLastValueMapped": [100, 100],
        "LUTLabel": ["ADC", "ADC"],
    }
    instance = plain_instance(
        location,
        n_frames=2,
        per_frame={name: v for name, v in columns.items() if name not in left_out},
    )
    instance.columns[UNIT_PATH] = Column(np.full((2, 1), unit.encode()), np.ones(2, np.int32))
    return instance


def test_frames_with_mappings_of_their_own() -> None:
    assert [read(per_frame(), frame=frame)[0] for frame in (0, 1)] == [15.0, 35.0]
    assert read(per_frame(), choice="ADC")[1] == {"units": "mm2/s"}
    assert read(per_frame(), choice="mm2/s")[0] == 15.0
    with pytest.raises(DicomError, match=r"mappings of their own, .*'ADC' in mm2/s"):
        read(per_frame(), choice=1)
    with pytest.raises(CorruptDicomError, match=r"^frames\.dcm: .*names no range of values"):
        read(per_frame(RealWorldValueLastValueMapped=None))
    with pytest.raises(UnsupportedDicomError, match="have tables of real-world values"):
        read(per_frame(RealWorldValueSlope=None))


def test_instances_are_joined_by_frame_number() -> None:
    whole = plain_instance("whole.dcm", RealWorldValueMappingSequence=TWO)
    joined = [read(whole, per_frame(), whole, frame=frame)[0] for frame in range(4)]
    assert joined == [31.0, 15.0, 35.0, 31.0]
    table = plain_instance("table.dcm", n_frames=2, RealWorldValueMappingSequence=TABLE)
    assert read(table, table, frame=3, stored=11)[0] == 1.5
    with pytest.raises(UnsupportedDicomError, match=r"some instances .* others tables"):
        read(whole, table)


def test_an_incomplete_mapping_is_an_error_of_its_instance() -> None:
    incomplete = items({"LUTLabel": "x", "RealWorldValueSlope": 1.0})
    with pytest.raises(CorruptDicomError, match=r"^b\.dcm: its Real World Value Mapping Seq"):
        read(
            plain_instance("a.dcm", RealWorldValueMappingSequence=TWO),
            plain_instance("b.dcm", RealWorldValueMappingSequence=incomplete),
        )
