"""`pydicom` data sets of the elements in an outline, none of them converted yet."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import cast

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import (
    DataElement,
    RawDataElement,
    convert_raw_data_element,
    empty_value_for_VR,
)
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from xarray_dicom.parsing.element_values import as_tag
from xarray_dicom.parsing.encoding import EXPLICIT_LITTLE, Encoding
from xarray_dicom.parsing.outline import Extent

Elements = dict[BaseTag, RawDataElement | DataElement]

_SPECIFIC_CHARACTER_SET = BaseTag(0x00080005)

#: Python codecs of the usual values of Specific Character Set, none of which is padded.
_USUAL_CODECS = {
    term.encode(): convert_encodings(term) for term in ("ISO_IR 100", "ISO_IR 192", "ISO_IR 6")
}


def file_meta(content: bytes, extents: Iterable[Extent]) -> FileMetaDataset:
    """Return the file meta information.

    Parameters
    ----------
    content
        First bytes of the object.
    extents
        Elements of the file meta information in it.
    """
    meta = FileMetaDataset(raw_elements(content, extents, EXPLICIT_LITTLE))
    meta.set_original_encoding(False, True, default_encoding)
    return meta


def raw_dataset(
    content: bytes,
    extents: Iterable[Extent],
    encoding: Encoding,
    preamble: bytes | None = None,
    meta: FileMetaDataset | None = None,
) -> FileDataset:
    """Return a data set of some elements, which pydicom converts when they are read.

    A sequence of undefined length is given its length, since pydicom would parse it at once.

    Parameters
    ----------
    content
        First bytes of the object.
    extents
        Elements of the data set in it.
    encoding
        Of the data set.
    preamble, meta
        Preamble and file meta information of the data set.
    """
    elements = raw_elements(content, extents, encoding)
    implicit, little = encoding.implicit_vr, encoding.little_endian
    dataset = FileDataset("", elements, preamble, meta, implicit, little)
    dataset.set_original_encoding(implicit, little, _codecs(elements))
    return dataset


def raw_elements(content: bytes, extents: Iterable[Extent], encoding: Encoding) -> Elements:
    """Return elements that pydicom has not converted yet, by their tags.

    Parameters
    ----------
    content
        Bytes that hold the elements.
    extents
        The elements.
    encoding
        Of their data set.
    """
    implicit, little = encoding.implicit_vr, encoding.little_endian
    elements: Elements = {}
    for number, letters, start, value, end, delimited in extents:
        tag = as_tag(number)
        vr = letters.decode("ascii") or None
        if delimited:
            if vr != "SQ":
                # pydicom tells by its dictionary whether this is a sequence.
                elements.update(_parsed(content[start:end], encoding, elements))
                continue
            end -= 8
        stored = content[value:end] if end > value else _empty(vr)
        elements[tag] = RawDataElement(tag, vr, end - value, stored, value, implicit, little)
    return elements


def _empty(vr: str | None) -> bytes | None:
    return cast(bytes | None, empty_value_for_VR(vr, raw=True))


def _parsed(content: bytes, encoding: Encoding, before: Elements) -> Elements:
    """Return the one element in `content`, parsed by pydicom."""
    parsed = data_element_generator(
        BytesIO(content),
        encoding.implicit_vr,
        encoding.little_endian,
        encoding=_codecs(before),
    )
    return {element.tag: element for element in parsed}


def _codecs(elements: Elements) -> str | list[str]:
    """Return the Python codecs of the text in a data set."""
    element = elements.get(_SPECIFIC_CHARACTER_SET)
    if element is None:
        return default_encoding
    if isinstance(element, RawDataElement):
        usual = _USUAL_CODECS.get(element.value or b"")
        if usual is not None:
            return usual
        element = convert_raw_data_element(element)
    codecs: list[str] = convert_encodings(element.value)
    return codecs
