"""The part of a header that layouts read: an allow-list, and its elements as bytes.

Nothing else of a header is ever kept: no name, no number, no date of a patient, no institution,
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
from xarray_dicom.parsing.elements import Path
from xarray_dicom.parsing.encoding import EXPLICIT_LITTLE, LONG_VRS, UNDEFINED_LENGTH
from xarray_dicom.parsing.functional import FUNCTIONAL_GROUPS, UNIT_PATH, tag

#: Tags that are kept; those of sequences with what is kept of their items.
Kept = dict[int, "Kept | None"]


class UnkeptError(Exception):
    """Layouts need something of this header that is not to be kept."""


def _kept(*names: str, **sequences: Kept) -> Kept:
    # Texts can't be read without their character set.
    plain: Kept = {tag(name): None for name in ("SpecificCharacterSet", *names)}
    return plain | {tag(name): inner for name, inner in sequences.items()}


_MEANING = _kept("CodeMeaning")

#: One item of the Real World Value Mapping Sequence (PS3.3 C.7.6.16.2.11).
_MAPPING = _kept(
    *(name for name, group in FUNCTIONAL_GROUPS.items() if group.startswith("RealWorld")),
    "LUTExplanation",
    "RealWorldValueLUTData",
    MeasurementUnitsCodeSequence=_kept("CodeValue", "CodingSchemeDesignator"),
)

#: The functional groups that layouts read, shared by all frames or, in odd files, at the root.
_GROUPS = {
    group: _kept(*(name for name, own in FUNCTIONAL_GROUPS.items() if own == group))
    for group in FUNCTIONAL_GROUPS.values()
} | {"RealWorldValueMappingSequence": _MAPPING}

#: What layouts, `Instance` and attributes read at the root; tables that they go by are taken
#: from where they stand. A test holds all kinds of objects to it.
KEPT = _kept(
    *SHOWN,
    *CLASSIC_KEYWORDS,
    *FUNCTIONAL_GROUPS,
    # How pixels become values (layout/values, pixels/modality).
    "PhotometricInterpretation",
    "PixelRepresentation",
    "DoseGridScaling",
    *(
        f"{prefix}PixelPadding{what}"
        for prefix in ("", "Float", "DoubleFloat")
        for what in ("Value", "RangeLimit")
    ),
    "RecommendedAbsentPixelCIELabValue",
    # Where frames lie (layout/planes, layout/tiled, layout/concatenation).
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
    ModalityLUTSequence=_kept("LUTDescriptor", "LUTData"),
    TotalPixelMatrixOriginSequence=_kept(
        "XOffsetInSlideCoordinateSystem",
        "YOffsetInSlideCoordinateSystem",
        "ZOffsetInSlideCoordinateSystem",
    ),
    OpticalPathSequence=_kept(
        "OpticalPathIdentifier",
        "OpticalPathDescription",
        "IlluminationWaveLength",
        "RecommendedAbsentPixelCIELabValue",
    ),
    SegmentSequence=_kept(
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
    DimensionIndexSequence=_kept("DimensionIndexPointer", "FunctionalGroupPointer"),
    SharedFunctionalGroupsSequence=_kept("RescaleSlope", "RescaleIntercept", **_GROUPS),
    **_GROUPS,
)

#: Groups of elements that a dimension may go by. Patients, studies and visits have others.
_POINTED_GROUPS = frozenset({0x18, 0x20, 0x22, 0x28, 0x40, 0x48, 0x52, 0x54, 0x62, 0x70})

#: What text under the VR of a number, an identifier or a time looks like; it may be anything.
_SPELLINGS = {
    "IS": re.compile(rb"[-+0-9.eE\\ ]*"),
    "DS": re.compile(rb"[-+0-9.eE\\ ]*"),
    "UI": re.compile(rb"[0-9.\\ ]*"),
    "DA": re.compile(rb"[-0-9.\\ ]*"),
    "TM": re.compile(rb"[-0-9.:\\ ]*"),
    "DT": re.compile(rb"[-+0-9.:\\ ]*"),
}

_LONGEST_SHORT = 0xFFFF


def allow_list() -> bytes:
    """A digest of everything that decides what is kept."""

    def spelled(kept: Kept) -> str:
        inner = (f"{t:08x}{spelled(i) if i is not None else ''}" for t, i in sorted(kept.items()))
        return f"({','.join(inner)})"

    rules = f"{spelled(KEPT)} {sorted(_POINTED_GROUPS)}"
    return blake2b(rules.encode(), digest_size=16).digest()


def require_kept_paths(paths: Iterable[Path]) -> None:
    """Raise `UnkeptError` if one leads to an element that may not be kept.

    Parameters
    ----------
    paths
        Tags from an item of the Per-Frame Functional Groups Sequence down to an element.
    """
    known = {(tag(group), tag(name)) for name, group in FUNCTIONAL_GROUPS.items()} | {UNIT_PATH}
    for path in paths:
        if path not in known and keyword_for_tag(path[-1]) not in SPATIAL:
            _require_pointed(path[-1])


def write_kept(dataset: Dataset) -> bytes:
    """The part of `dataset` that is kept, in Explicit VR Little Endian without meta header.

    Raises
    ------
    UnkeptError
        If it is not enough to lay the object out, or can't be written as it is.
    """
    return _written(dataset, KEPT | _pointed(dataset), "iso8859")


def read_kept(content: bytes) -> Dataset:
    """The data set that `write_kept` wrote."""
    return read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)


def _pointed(dataset: Dataset) -> Kept:
    """What dimensions point to besides, wherever layouts look for it."""
    plain: Kept = {}
    groups: Kept = {}
    shared = tag("SharedFunctionalGroupsSequence")
    for item in dataset.get("DimensionIndexSequence") or []:
        pointer, group = item.get("DimensionIndexPointer"), item.get("FunctionalGroupPointer")
        if pointer is None or keyword_for_tag(pointer) in SPATIAL:
            continue
        _require_pointed(int(pointer))
        plain[int(pointer)] = None
        if group is not None:
            inner = groups.get(int(group)) or KEPT.get(int(group)) or {}
            groups[int(group)] = inner | {int(pointer): None}
    return plain | groups | {shared: (KEPT[shared] or {}) | plain | groups}


def _require_pointed(element: int) -> None:
    group = element >> 16
    try:
        named = dictionary_VR(element)
    except KeyError:
        named = "UN"
    allowed = group & 1 or group in _POINTED_GROUPS or element in KEPT
    if not allowed or named in ("PN", "SQ"):
        raise UnkeptError(f"a dimension goes by {element:08x}")


def _written(dataset: Dataset, kept: Kept, encoding: Any) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    own = dataset.get("SpecificCharacterSet", encoding)
    for one in sorted(kept.keys() & dataset.keys()):
        inner = kept[one]
        if inner is None:
            write_data_element(file, _element(dataset, one), own)
            continue
        items = [_written(item, inner, own) for item in dataset[one].value or ()]
        content = b"".join(_ITEM + EXPLICIT_LITTLE.long.pack(len(i)) + i for i in items)
        header = EXPLICIT_LITTLE.tag.pack(one >> 16, one & 0xFFFF, 0)[:4] + b"SQ\0\0"
        file.write(header + EXPLICIT_LITTLE.long.pack(len(content)) + content)
    return file.getvalue()


_ITEM = b"\xfe\xff\x00\xe0"


def _element(dataset: Dataset, one: int) -> DataElement | RawDataElement:
    """An element as it is to be written; one that was not read yet keeps its bytes."""
    element = dataset.get_item(one)
    try:
        vrs = dictionary_VR(one).split(" or ")
    except KeyError:
        vrs = []
    if isinstance(element, RawDataElement):
        vr = element.VR
        if vr in (None, "UN") and len(vrs) == 1 and element.value is not None:
            vr = vrs[0]
        if vr in (None, "UN") or not element.is_little_endian or element.value is None:
            element = dataset[one]
        else:
            spelling = _SPELLINGS.get(vrs[0]) if len(vrs) == 1 else None
            if spelling is not None and not spelling.fullmatch(element.value.rstrip(b"\0")):
                raise UnkeptError(f"the value of {one:08x} is not what it should be")
            short = str(vr).encode() not in LONG_VRS
            if vr == "SQ" or (short and len(element.value) > _LONGEST_SHORT):
                raise UnkeptError(f"{one:08x} can't be written as it is")
            if element.length == UNDEFINED_LENGTH:
                raise UnkeptError(f"{one:08x} has no length")
            return element._replace(VR=vr, is_implicit_VR=False)
    if (vrs and element.VR not in vrs) or element.VR in ("SQ", "PN") or len(element.VR) != 2:
        raise UnkeptError(f"{one:08x} is no {' or '.join(vrs)}")
    if dataset.original_encoding[1] is False and "OW" in (element.VR, *vrs):
        raise UnkeptError(f"the words of {one:08x} are in another order")
    if str(element.VR).encode() not in LONG_VRS and _length(element) > _LONGEST_SHORT:
        raise UnkeptError(f"{one:08x} can't be written as it is")
    return element


def _length(element: DataElement) -> int:
    """Bytes that an element may take when it is written, at most."""
    if element.VM > 1:
        return 17 * element.VM
    return 4 * len(element.value) if isinstance(element.value, str) else 17
