"""Attributes of the pixels: Image Pixel module and Number of Frames (PS3.3 C.7.6.3, C.7.6.6)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError
from xarray_dicom.parsing.element_values import RawValue, as_tag, plain_value, raw_value
from xarray_dicom.parsing.encoding import tag_name
from xarray_dicom.parsing.functional_groups import tag
from xarray_dicom.parsing.header import Header
from xarray_dicom.parsing.outline import PixelElement
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.transfer_syntax import TransferSyntax
from xarray_dicom.warn import warn

#: Photometric interpretations of one sample; all others have three.
SINGLE_SAMPLE = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})

#: Attributes that images of integers must have (PS3.3 C.7.6.3), and the assumption without.
ASSUMED = {
    "BitsStored": "all bits allocated are taken as stored",
    "PixelRepresentation": "pixels are taken as unsigned",
}

#: Bits Allocated that float pixels imply.
_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}

#: Elements that a pixel format is made of; True for those that may be missing without a warning.
_FORMAT_ELEMENTS = {
    tag("BitsAllocated"): False,
    tag("BitsStored"): False,
    tag("Rows"): False,
    tag("Columns"): False,
    tag("SamplesPerPixel"): True,
    tag("PixelRepresentation"): False,
    tag("PhotometricInterpretation"): False,
    tag("PlanarConfiguration"): True,
}

#: Recent pixel formats, by everything that they were made of.
_formats: dict[tuple[str, str, str, tuple[RawValue | None, ...]], PixelFormat] = {}
_MOST_FORMATS = 256


def common_format(header: Header, pixel: PixelElement) -> PixelFormat:
    """Return the pixel format of a header, the same object for headers of the same bytes.

    Parameters
    ----------
    header
        Of the object.
    pixel
        Its pixel data element.

    Raises
    ------
    CorruptDicomError
        If a required attribute is missing or contradicts another.
    UnsupportedDicomError
        If this package does not read such pixels.

    Warns
    -----
    DicomWarning
        For each attribute that is missing and assumed.
    """
    dataset = header.dataset
    raw_values = []
    for element, silent in _FORMAT_ELEMENTS.items():
        raw = raw_value(dataset, element)
        absent = raw is None and as_tag(element) not in dataset
        stated = raw is not None and raw[2].strip(b" ") != b""
        if not (stated or (absent and silent)):
            # The warning about an assumption is due for each object.
            return _read_format(dataset, header.transfer_syntax, pixel)
        raw_values.append(raw)
    key = (header.transfer_syntax, pixel.keyword, pixel.vr, tuple(raw_values))
    pixel_format = _formats.get(key)
    if pixel_format is None:
        pixel_format = _read_format(dataset, header.transfer_syntax, pixel)
        if len(_formats) >= _MOST_FORMATS:
            _formats.clear()
        _formats[key] = pixel_format
    return pixel_format


def number_of_frames(dataset: Dataset) -> int:
    """Return Number of Frames (0028,0008); 1 where it is absent or empty.

    Parameters
    ----------
    dataset
        Of the object.

    Raises
    ------
    CorruptDicomError
        If it is no number, or less than 1.
    """
    raw = raw_value(dataset, tag("NumberOfFrames"))
    value: Any = None if raw is None else plain_value(raw)
    if value is None:
        value = dataset.get("NumberOfFrames")
    if value in (None, ""):
        return 1
    try:
        n_frames = int(value)
    except (TypeError, ValueError) as error:
        raise CorruptDicomError(
            f"Number of Frames (0028,0008) is {value!r}, not a number", tag="NumberOfFrames"
        ) from error
    if n_frames < 1:
        raise CorruptDicomError(f"Number of Frames (0028,0008) is {n_frames}", tag="NumberOfFrames")
    return n_frames


def _read_format(dataset: Dataset, transfer_syntax: str, pixel: PixelElement) -> PixelFormat:
    element = pixel.keyword
    allocated = _number(dataset, "BitsAllocated", _FLOAT_BITS.get(element))
    stored = _number(dataset, "BitsStored", allocated)
    photometric, samples = _colour(dataset)
    if element == "PixelData":
        _warn_of_assumed(dataset)
    # Explicit VR Big Endian swaps pairs of 8-bit pixels in OW, of 16-bit words (PS3.5 A.3).
    big_endian = not TransferSyntax.of(transfer_syntax).little_endian
    pixel_format = PixelFormat(
        transfer_syntax=transfer_syntax,
        rows=_number(dataset, "Rows"),
        columns=_number(dataset, "Columns"),
        samples=_number(dataset, "SamplesPerPixel", samples),
        bits_allocated=allocated,
        bits_stored=stored,
        pixel_representation=_number(dataset, "PixelRepresentation", 0),
        photometric=photometric,
        planar=_number(dataset, "PlanarConfiguration", 0),
        element=element,
        word_swapped=big_endian and allocated == 8 and pixel.vr == "OW",
    )
    _check_format(pixel_format)
    return pixel_format


def _check_format(pixel_format: PixelFormat) -> None:
    rows, columns = pixel_format.rows, pixel_format.columns
    allocated, stored = pixel_format.bits_allocated, pixel_format.bits_stored
    if rows < 1 or columns < 1:
        raise CorruptDicomError(f"a frame of {rows} × {columns} pixels has none")
    if pixel_format.samples not in (1, 3):
        raise UnsupportedDicomError(
            f"Samples per Pixel (0028,0002) is {pixel_format.samples}; 1 and 3 are read",
            tag="SamplesPerPixel",
        )
    whole_bytes = allocated == 1 or allocated in (8, 16, 32, 64)
    integers = pixel_format.element == "PixelData"
    if not whole_bytes or (integers and not 1 <= stored <= allocated):
        raise UnsupportedDicomError(
            f"Bits Allocated (0028,0100) {allocated} with Bits Stored (0028,0101) {stored}",
            tag="BitsAllocated",
        )


def _number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value: Any = dataset.get(keyword)
    if value in (None, "") and default is not None:
        return default
    if not isinstance(value, int):
        raise CorruptDicomError(
            f"{keyword} {tag_name(tag(keyword))} is {value!r}, so its pixels can't be read",
            tag=keyword,
        )
    return int(value)


def _colour(dataset: Dataset) -> tuple[str, int]:
    """Return Photometric Interpretation and Samples per Pixel; one implies the other."""
    photometric = dataset.get("PhotometricInterpretation")
    if photometric:
        return str(photometric), 1 if photometric in SINGLE_SAMPLE else 3
    samples = dataset.get("SamplesPerPixel") or 1
    assumed = "MONOCHROME2" if samples == 1 else "RGB"
    warn(
        f"Photometric Interpretation (0028,0004) is missing; {assumed} is assumed",
        tag="PhotometricInterpretation",
    )
    return assumed, int(samples)


def _warn_of_assumed(dataset: Dataset) -> None:
    for keyword, assumed in ASSUMED.items():
        if dataset.get(keyword) in (None, ""):
            warn(f"{keyword} {tag_name(tag(keyword))} is missing; {assumed}", tag=keyword)
