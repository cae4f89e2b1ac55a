"""Functional groups of multi-frame objects, and elements that layouts read (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from xarray_dicom.parsing.encoding import TagPath
from xarray_dicom.parsing.traced_items import Trace

#: Element keyword → keyword of the functional group that holds it.
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
    """Return the tag number of a keyword of the DICOM dictionary; KeyError if there is none."""
    number = tag_for_keyword(keyword)
    if number is None:
        raise KeyError(keyword)
    return number


#: Path to the code of the unit of a frame's real-world values.
UNIT_PATH: TagPath = (
    tag("RealWorldValueMappingSequence"),
    tag("MeasurementUnitsCodeSequence"),
    tag("CodeValue"),
)


@dataclass(frozen=True, slots=True)
class FunctionalGroups:
    """The undecoded value of the Per-Frame Functional Groups Sequence (5200,9230).

    Attributes
    ----------
    content
        Bytes that hold it, perhaps among others.
    implicit_vr, little_endian
        Its encoding.
    length_is_undefined
        True if it ends with a delimiter.
    start, end
        First byte of the value in `content`, and first byte after it; None is the end of
        `content`.
    trace
        Its items, if they had to be found already to locate its end.
    """

    content: bytes = field(repr=False)
    implicit_vr: bool
    little_endian: bool
    length_is_undefined: bool
    start: int = 0
    end: int | None = None
    trace: Trace | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the value."""
        return (len(self.content) if self.end is None else self.end) - self.start


def layout_paths(dataset: Dataset) -> dict[TagPath, str]:
    """Return paths of the per-frame elements that layouts may read, with their VRs.

    Parameters
    ----------
    dataset
        Elements before the Per-Frame Functional Groups: dimensions may point to further
        elements, and Pixel Representation decides between US and SS.
    """
    signed = dataset.get("PixelRepresentation") == 1
    paths = dict(_fixed_paths(signed))
    for item in dataset.get("DimensionIndexSequence") or []:
        pointer = item.get("DimensionIndexPointer")
        group = item.get("FunctionalGroupPointer")
        if pointer is None:
            continue
        path: TagPath = (int(pointer),) if group is None else (int(group), int(pointer))
        paths.setdefault(path, _vr(pointer, signed))
    return paths


@cache
def _fixed_paths(signed: bool) -> Mapping[TagPath, str]:
    """Return paths of the elements of `FUNCTIONAL_GROUPS`, which are the same for every object."""
    paths: dict[TagPath, str] = {
        (tag(group), tag(name)): _vr(name, signed) for name, group in FUNCTIONAL_GROUPS.items()
    }
    return MappingProxyType({**paths, UNIT_PATH: "SH"})


def _vr(element: str | int, signed: bool) -> str:
    """Return the VR of an element; of two, that of signed or of unsigned pixels."""
    try:
        first, *others = dictionary_VR(element).split(" or ")
    except KeyError:
        return "UN"
    return "SS" if signed and "SS" in others else first
