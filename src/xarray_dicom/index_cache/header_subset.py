"""Part of a header that layouts read: an allow-list, and its elements as bytes.

Nothing else of a header is ever stored: no name, no number, no date of a patient, no institution,
no free text but that of segments and mappings, no identifier that a dataset doesn't show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from io import BytesIO
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_data_element

from xarray_dicom.layout.attributes import SHOWN
from xarray_dicom.layout.dimension_names import CLASSIC_KEYWORDS, SPATIAL
from xarray_dicom.parsing.encoding import EXPLICIT_LITTLE, LONG_VRS, UNDEFINED_LENGTH, TagPath
from xarray_dicom.parsing.functional_groups import FUNCTIONAL_GROUPS, UNIT_PATH, tag

#: Tags that may be stored: None for an element, for a sequence the allow-list of its items.
AllowList = dict[int, "AllowList | None"]


class NotAllowedError(Exception):
    """Layouts need an element of this header that may not be stored."""


def _allow(*names: str, **sequences: AllowList) -> AllowList:
    # Texts can't be read without their character set.
    plain: AllowList = {tag(name): None for name in ("SpecificCharacterSet", *names)}
    return plain | {tag(name): inner for name, inner in sequences.items()}


_MEANING = _allow("CodeMeaning")

#: One item of the Real World Value Mapping Sequence (PS3.3 C.7.6.16.2.11).
_MAPPING = _allow(
    *(name for name, group in FUNCTIONAL_GROUPS.items() if group.startswith("RealWorld")),
    "LUTExplanation",
    "RealWorldValueLUTData",
    MeasurementUnitsCodeSequence=_allow("CodeValue", "CodingSchemeDesignator"),
)

#: The functional groups that layouts read, shared by all frames or, in odd files, at the root.
_GROUPS = {
    group: _allow(*(name for name, own in FUNCTIONAL_GROUPS.items() if own == group))
    for group in FUNCTIONAL_GROUPS.values()
} | {"RealWorldValueMappingSequence": _MAPPING}

#: Elements that layouts, `Instance` and attributes read at the root; keywords that other modules
#: list are taken from there. A test opens every kind of object by these elements alone.
ALLOWED = _allow(
    *SHOWN,
    *CLASSIC_KEYWORDS,
    *FUNCTIONAL_GROUPS,
    # From pixels to values (layout/values, pixels/modality).
    "PhotometricInterpretation",
    "PixelRepresentation",
    "DoseGridScaling",
    *(
        f"{prefix}PixelPadding{what}"
        for prefix in ("", "Float", "DoubleFloat")
        for what in ("Value", "RangeLimit")
    ),
    "RecommendedAbsentPixelCIELabValue",
    # Positions of frames (layout/planes, layout/tiled, layout/concatenation).
    "GridFrameOffsetVector",
    "ImageOrientationSlide",
    "TotalPixelMatrixRows",
    "TotalPixelMatrixColumns",
    "TotalPixelMatrixFocalPlanes",
    "NumberOfOpticalPaths",
    "ConcatenationUID",
    "ConcatenationFrameOffsetNumber",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    ModalityLUTSequence=_allow("LUTDescriptor", "LUTData"),
    TotalPixelMatrixOriginSequence=_allow(
        "XOffsetInSlideCoordinateSystem",
        "YOffsetInSlideCoordinateSystem",
        "ZOffsetInSlideCoordinateSystem",
    ),
    OpticalPathSequence=_allow(
        "OpticalPathIdentifier",
        "OpticalPathDescription",
        "IlluminationWaveLength",
        "RecommendedAbsentPixelCIELabValue",
    ),
    SegmentSequence=_allow(
        "SegmentNumber",
        "SegmentLabel",
        "SegmentDescription",
        "SegmentAlgorithmType",
        "SegmentAlgorithmName",
        "TrackingID",
        "TrackingUID",
        SegmentedPropertyCategoryCodeSequence=_MEANING,
        SegmentedPropertyTypeCodeSequence=_MEANING,
    ),
    DimensionIndexSequence=_allow("DimensionIndexPointer", "FunctionalGroupPointer"),
    SharedFunctionalGroupsSequence=_allow("RescaleSlope", "RescaleIntercept", **_GROUPS),
    **_GROUPS,
)

#: Groups of elements that a dimension may point to. Patients, studies and visits have others.
_DIMENSION_GROUPS = frozenset({0x18, 0x20, 0x22, 0x28, 0x40, 0x48, 0x52, 0x54, 0x62, 0x70})

#: Spellings of numbers, identifiers and times: a careless file may have a name in their place.
_SPELLINGS = {
    "IS": re.compile(rb"[-+0-9.eE\\ ]*"),
    "DS": re.compile(rb"[-+0-9.eE\\ ]*"),
    "UI": re.compile(rb"[0-9.\\ ]*"),
    "DA": re.compile(rb"[-0-9.\\ ]*"),
    "TM": re.compile(rb"[-0-9.:\\ ]*"),
    "DT": re.compile(rb"[-+0-9.:\\ ]*"),
}

_ITEM_TAG = b"\xfe\xff\x00\xe0"

#: Bytes of the longest value of a VR whose length has 16 bits (PS3.5 7.1.2).
_MAX_SHORT_LENGTH = 0xFFFF


def allow_list_digest() -> bytes:
    """Return a digest of all that decides which elements are stored."""

    def spell(allowed: AllowList) -> str:
        inner = (f"{t:08x}{spell(i) if i is not None else ''}" for t, i in sorted(allowed.items()))
        return f"({','.join(inner)})"

    rules = f"{spell(ALLOWED)} {sorted(_DIMENSION_GROUPS)}"
    return blake2b(rules.encode(), digest_size=16).digest()


def require_allowed_paths(paths: Iterable[TagPath]) -> None:
    """Raise `NotAllowedError` if a path leads to an element that may not be stored.

    Parameters
    ----------
    paths
        Tags from an item of the Per-Frame Functional Groups Sequence down to an element.
    """
    allowed = {(tag(group), tag(name)) for name, group in FUNCTIONAL_GROUPS.items()} | {UNIT_PATH}
    for path in paths:
        if path not in allowed and keyword_for_tag(path[-1]) not in SPATIAL:
            _require_allowed_pointer(path[-1])


def write_subset(dataset: Dataset) -> bytes:
    """Write the allowed elements in Explicit VR Little Endian, without file meta information.

    Parameters
    ----------
    dataset
        File meta and data set of an object.

    Returns
    -------
    bytes
        A data set that `read_subset` reads.

    Raises
    ------
    NotAllowedError
        If laying the object out takes an element that is not allowed, or a value can't be
        written as it is.
    """
    return _write(dataset, ALLOWED | _dimension_elements(dataset), "iso8859")


def read_subset(content: bytes) -> Dataset:
    """Read the data set that `write_subset` wrote."""
    return read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)


def _dimension_elements(dataset: Dataset) -> AllowList:
    """Return an allow-list of the elements that dimensions point to, wherever layouts look."""
    plain: AllowList = {}
    groups: AllowList = {}
    shared = tag("SharedFunctionalGroupsSequence")
    for item in dataset.get("DimensionIndexSequence") or []:
        pointer, group = item.get("DimensionIndexPointer"), item.get("FunctionalGroupPointer")
        if pointer is None or keyword_for_tag(pointer) in SPATIAL:
            continue
        _require_allowed_pointer(int(pointer))
        plain[int(pointer)] = None
        if group is not None:
            inner = groups.get(int(group)) or ALLOWED.get(int(group)) or {}
            groups[int(group)] = inner | {int(pointer): None}
    return plain | groups | {shared: (ALLOWED[shared] or {}) | plain | groups}


def _require_allowed_pointer(element: int) -> None:
    group = element >> 16
    try:
        vr = dictionary_VR(element)
    except KeyError:
        vr = "UN"
    allowed = group & 1 or group in _DIMENSION_GROUPS or element in ALLOWED
    if not allowed or vr in ("PN", "SQ"):
        raise NotAllowedError(f"a dimension points to {element:08x}")


def _write(dataset: Dataset, allowed: AllowList, character_set: Any) -> bytes:
    """Write the allowed elements of a data set or item.

    Parameters
    ----------
    dataset
        Data set or item.
    allowed
        Elements to write.
    character_set
        Specific Character Set of the data set around it.
    """
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    character_set = dataset.get("SpecificCharacterSet", character_set)
    for element in sorted(allowed.keys() & dataset.keys()):
        inner = allowed[element]
        if inner is None:
            write_data_element(file, _writable(dataset, element), character_set)
            continue
        items = [_write(item, inner, character_set) for item in dataset[element].value or ()]
        content = b"".join(_ITEM_TAG + EXPLICIT_LITTLE.long.pack(len(i)) + i for i in items)
        header = EXPLICIT_LITTLE.tag.pack(element >> 16, element & 0xFFFF, 0)[:4] + b"SQ\0\0"
        file.write(header + EXPLICIT_LITTLE.long.pack(len(content)) + content)
    return file.getvalue()


def _writable(dataset: Dataset, number: int) -> DataElement | RawDataElement:
    """Return an element as it is written: raw bytes stay as they are.

    Raises
    ------
    NotAllowedError
        If its value is not of the VR that the dictionary gives it, or does not fit.
    """
    element = dataset.get_item(number)
    try:
        vrs = dictionary_VR(number).split(" or ")
    except KeyError:
        vrs = []
    if isinstance(element, RawDataElement):
        vr = element.VR
        if vr in (None, "UN") and len(vrs) == 1 and element.value is not None:
            vr = vrs[0]
        if vr not in (None, "UN") and element.is_little_endian and element.value is not None:
            return _checked_raw(element, str(vr), vrs)
        element = dataset[number]
    if (vrs and element.VR not in vrs) or element.VR in ("SQ", "PN") or len(element.VR) != 2:
        raise NotAllowedError(f"{number:08x} is no {' or '.join(vrs)}")
    if dataset.original_encoding[1] is False and "OW" in (element.VR, *vrs):
        raise NotAllowedError(f"the words of {number:08x} are in another order")
    if str(element.VR).encode() not in LONG_VRS and _max_length(element) > _MAX_SHORT_LENGTH:
        raise NotAllowedError(f"{number:08x} can't be written as it is")
    return element


def _checked_raw(element: RawDataElement, vr: str, vrs: list[str]) -> RawDataElement:
    """Return a little-endian element that pydicom has not converted, with its explicit VR.

    Parameters
    ----------
    element
        The element.
    vr
        VR that it has, or that the dictionary gives it where it has none.
    vrs
        VRs that the dictionary allows; empty for private elements.
    """
    number = int(element.tag)
    value = element.value or b""
    spelling = _SPELLINGS.get(vrs[0]) if len(vrs) == 1 else None
    if spelling is not None and not spelling.fullmatch(value.rstrip(b"\0")):
        raise NotAllowedError(f"the value of {number:08x} is not of its VR")
    is_short = vr.encode() not in LONG_VRS
    if vr == "SQ" or (is_short and len(value) > _MAX_SHORT_LENGTH):
        raise NotAllowedError(f"{number:08x} can't be written as it is")
    if element.length == UNDEFINED_LENGTH:
        raise NotAllowedError(f"{number:08x} has no length")
    return element._replace(VR=vr, is_implicit_VR=False)


def _max_length(element: DataElement) -> int:
    """Return an upper bound of the bytes that an element's value takes when it is written."""
    if element.VM > 1:
        return 17 * element.VM
    return 4 * len(element.value) if isinstance(element.value, str) else 17
