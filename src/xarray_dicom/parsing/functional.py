"""The functional groups of multi-frame objects, and what layouts ask of each frame.

See PS3.3 C.7.6.16.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from xarray_dicom.parsing.elements import Path

#: Element keyword → the functional group that holds it in multi-frame objects.
FUNCTIONAL_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "DimensionIndexValues": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "InStackPositionNumber": "FrameContentSequence",
    "ReferencedSegmentNumber": "SegmentIdentificationSequence",
    "OpticalPathIdentifier": "OpticalPathIdentificationSequence",
    "RowPositionInTotalImagePixelMatrix": "PlanePositionSlideSequence",
    "ColumnPositionInTotalImagePixelMatrix": "PlanePositionSlideSequence",
    "ZOffsetInSlideCoordinateSystem": "PlanePositionSlideSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "RealWorldValueSlope": "RealWorldValueMappingSequence",
    "RealWorldValueIntercept": "RealWorldValueMappingSequence",
    "LUTLabel": "RealWorldValueMappingSequence",
    "RealWorldValueFirstValueMapped": "RealWorldValueMappingSequence",
    "RealWorldValueLastValueMapped": "RealWorldValueMappingSequence",
    "DoubleFloatRealWorldValueFirstValueMapped": "RealWorldValueMappingSequence",
    "DoubleFloatRealWorldValueLastValueMapped": "RealWorldValueMappingSequence",
}


@cache
def tag(keyword: str) -> int:
    """Tag number of a keyword of the DICOM dictionary."""
    found = tag_for_keyword(keyword)
    if found is None:
        raise KeyError(keyword)
    return found


#: Where a frame has the code of the unit of its real-world values.
UNIT_PATH: Path = (
    tag("RealWorldValueMappingSequence"),
    tag("MeasurementUnitsCodeSequence"),
    tag("CodeValue"),
)


def wanted_paths(dataset: Dataset) -> dict[Path, str]:
    """Per-frame elements that layouts may ask for, with the VR that implicit VR leaves out."""
    signed = dataset.get("PixelRepresentation") == 1
    paths = dict(_known_paths(signed))
    for item in dataset.get("DimensionIndexSequence") or []:
        pointer = item.get("DimensionIndexPointer")
        group = item.get("FunctionalGroupPointer")
        if pointer is None:
            continue
        path: Path = (int(pointer),) if group is None else (int(group), int(pointer))
        paths.setdefault(path, _vr(pointer, signed))
    return paths


@cache
def _known_paths(signed: bool) -> Mapping[Path, str]:
    """The elements of `FUNCTIONAL_GROUPS`, the same for every object."""
    paths: dict[Path, str] = {
        (tag(group), tag(name)): _vr(name, signed) for name, group in FUNCTIONAL_GROUPS.items()
    }
    return MappingProxyType({**paths, UNIT_PATH: "SH"})


def _vr(element: str | int, signed: bool) -> str:
    """The VR of an element, chosen by the sign of the pixels where there are two."""
    try:
        first, *others = dictionary_VR(element).split(" or ")
    except KeyError:
        return "UN"
    return "SS" if signed and "SS" in others else first
