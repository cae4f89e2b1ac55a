"""The Image Pixel module of a data set (PS3.3 C.7.6.3): how its pixels are encoded."""

from __future__ import annotations

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError
from xarray_dicom.parsing.conversions import Spelling, as_tag, spelling_of
from xarray_dicom.parsing.elements import Header, PixelElement
from xarray_dicom.parsing.encoding import tag_name
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.transfer_syntax import TransferSyntax
from xarray_dicom.warn import warn

#: Photometric interpretations of one sample; all others have three.
SINGLE_SAMPLE = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})

#: Attributes that every image of integers needs (PS3.3 C.7.6.3), and what is done without.
ASSUMED = {
    "BitsStored": "all bits allocated are taken as stored",
    "PixelRepresentation": "pixels are taken as unsigned",
}


#: What a pixel format is made of, and whether pixels are read without it, as is then noticed.
_FORMAT_ELEMENTS = {
    tag_for_keyword(keyword) or 0: silent
    for keyword, silent in {
        "BitsAllocated": False,
        "BitsStored": False,
        "Rows": False,
        "Columns": False,
        "SamplesPerPixel": True,
        "PixelRepresentation": False,
        "PhotometricInterpretation": False,
        "PlanarConfiguration": True,
    }.items()
}

#: Pixel formats made last, by everything that they were made of.
_formats: dict[tuple[str, str, str, tuple[Spelling | None, ...]], PixelFormat] = {}
_MOST_FORMATS = 256


def read_format(
    dataset: Dataset, transfer_syntax: str, pixel: PixelElement, location: str
) -> PixelFormat:
    """The Image Pixel module (PS3.3 C.7.6.3) as one value.

    Raises
    ------
    CorruptDicomError
        If a required attribute is missing or contradicts another.
    """
    element = pixel.keyword
    is_float = element != "PixelData"

    def number(keyword: str, default: int | None = None) -> int:
        value = dataset.get(keyword)
        if value in (None, "") and default is not None:
            return default
        if not isinstance(value, int):
            raise CorruptDicomError(
                f"{location}: {keyword} {_tag_of(keyword)} is {value!r}, so its pixels can't be "
                "read"
            )
        return int(value)

    allocated = number(
        "BitsAllocated", {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(element)
    )
    stored = number("BitsStored", allocated)
    photometric, samples = _colour(dataset, location)
    if not is_float:
        _warn_of_assumed(dataset, location)
    # Explicit VR Big Endian swaps pairs of 8-bit pixels in OW, of 16-bit words (PS3.5 A.3).
    big_endian = not TransferSyntax.of(transfer_syntax).little_endian
    pixel_format = PixelFormat(
        transfer_syntax=transfer_syntax,
        rows=number("Rows"),
        columns=number("Columns"),
        samples=number("SamplesPerPixel", samples),
        bits_allocated=allocated,
        bits_stored=stored,
        pixel_representation=number("PixelRepresentation", 0),
        photometric=photometric,
        planar=number("PlanarConfiguration", 0),
        element=element,
        word_swapped=big_endian and allocated == 8 and pixel.vr == "OW",
    )
    if pixel_format.rows < 1 or pixel_format.columns < 1:
        raise CorruptDicomError(
            f"{location}: a frame of {pixel_format.rows} × {pixel_format.columns} pixels has none"
        )
    if pixel_format.samples not in (1, 3):
        raise UnsupportedDicomError(
            f"{location}: Samples per Pixel (0028,0002) is {pixel_format.samples}; 1 and 3 are read"
        )
    whole_bytes = allocated == 1 or allocated in (8, 16, 32, 64)
    if not whole_bytes or not (is_float or 1 <= stored <= allocated):
        raise UnsupportedDicomError(
            f"{location}: Bits Allocated (0028,0100) {allocated} with Bits Stored (0028,0101) "
            f"{stored}"
        )
    return pixel_format


def common_format(header: Header, pixel: PixelElement, location: str) -> PixelFormat:
    """As `read_format`, once for all headers of the same bytes."""
    dataset = header.dataset
    spellings = []
    for element, silent in _FORMAT_ELEMENTS.items():
        spelling = spelling_of(dataset, element)
        absent = spelling is None and as_tag(element) not in dataset
        stated = spelling is not None and spelling[2].strip(b" ") != b""
        if not (stated or (absent and silent)):
            # What is assumed of it is noticed for each object.
            return read_format(dataset, header.transfer_syntax, pixel, location)
        spellings.append(spelling)
    key = (header.transfer_syntax, pixel.keyword, pixel.vr, tuple(spellings))
    found = _formats.get(key)
    if found is None:
        found = read_format(dataset, header.transfer_syntax, pixel, location)
        if len(_formats) >= _MOST_FORMATS:
            _formats.clear()
        _formats[key] = found
    return found


def _colour(dataset: Dataset, location: str) -> tuple[str, int]:
    """Photometric Interpretation and Samples per Pixel; where one is missing, by the other."""
    photometric = dataset.get("PhotometricInterpretation")
    if photometric:
        return str(photometric), 1 if photometric in SINGLE_SAMPLE else 3
    samples = dataset.get("SamplesPerPixel") or 1
    assumed = "MONOCHROME2" if samples == 1 else "RGB"
    warn(f"{location}: Photometric Interpretation (0028,0004) is missing; {assumed} is assumed")
    return assumed, int(samples)


def _warn_of_assumed(dataset: Dataset, location: str) -> None:
    """Say which of the attributes that integers need are missing, and what stands for them."""
    for keyword, assumed in ASSUMED.items():
        if dataset.get(keyword) in (None, ""):
            warn(f"{location}: {keyword} {_tag_of(keyword)} is missing; {assumed}")


def _tag_of(keyword: str) -> str:
    return tag_name(tag_for_keyword(keyword) or 0)
