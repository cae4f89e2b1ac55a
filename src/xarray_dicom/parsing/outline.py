"""Outline of an object: its top-level elements up to the pixel data.

An `Outline` is drawn in steps: each call of `Outline.extend` goes on with more of the first
bytes of the object, until the pixel data element or the end is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from xarray_dicom.errors import (
    CorruptDicomError,
    DicomError,
    NotDicomError,
    UnsupportedDicomError,
)
from xarray_dicom.parsing.encoding import (
    EXPLICIT_LITTLE,
    ITEM_DELIMITER,
    LONG_VRS,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    ElementHeader,
    Encoding,
    IncompleteError,
    MalformedError,
    element_header,
    tag_name,
)
from xarray_dicom.parsing.items import trace_items
from xarray_dicom.parsing.obeyed_syntax import obeyed_syntax
from xarray_dicom.parsing.traced_items import Trace
from xarray_dicom.parsing.walk import (
    NO_ELEMENTS,
    SHALLOW_LENGTH,
    TagSelection,
    check_nesting,
    skip_sequence,
)
from xarray_dicom.transfer_syntax import TransferSyntax

PER_FRAME_GROUPS = 0x52009230
NUMBER_OF_FRAMES = 0x00280008
TRANSFER_SYNTAX = 0x00020010

PIXEL_ELEMENTS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}

#: Elements that change how the outline goes on.
_STRUCTURAL = frozenset({*PIXEL_ELEMENTS, ITEM_DELIMITER, PER_FRAME_GROUPS, NUMBER_OF_FRAMES})

#: Lengths from which on an element may be nested too deeply, by VR.
_CHECKED_LENGTHS = {b"SQ": SHALLOW_LENGTH, b"UN": SHALLOW_LENGTH}

#: More top-level elements than any real data set has.
MOST_ELEMENTS = 2**16

#: Most bytes before the pixel data.
LARGEST_HEADER = 2**30

#: Ascending elements without which an object that has no DICM prefix is not taken for DICOM.
_CONVINCING = 4


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Place of the pixel data element.

    Attributes
    ----------
    keyword
        ``PixelData``, ``FloatPixelData`` or ``DoubleFloatPixelData``.
    offset
        First byte of its value in the object (or in `Header.inflated`).
    length
        Bytes of its value; None where that is undefined (encapsulated).
    vr
        Empty where it is implicit.
    """

    keyword: str
    offset: int
    length: int | None
    vr: str = ""


class Extent(NamedTuple):
    """Extent of one top-level element.

    Attributes
    ----------
    tag, vr
        Number; VR, empty where it is implicit.
    start, value, end
        First byte of the element, of its value, and first byte after it.
    delimited
        True if its length is undefined: it ends with a delimiter of 8 bytes.
    """

    tag: int
    vr: bytes
    start: int
    value: int
    end: int
    delimited: bool = False


@dataclass(slots=True)
class Outline:
    """The top-level structure of an object.

    Attributes
    ----------
    size
        Bytes of the object.
    meta_start, start
        First byte of the file meta information, and of the data set.
    encoding, transfer_syntax
        Those that the bytes obey.
    meta
        Elements of the file meta information.
    elements
        Elements of the data set before the pixel data.
    pixel
        The pixel data element, if any.
    needed
        Bytes that the next call of `extend` should be given at least.
    select
        Given the bytes, selects the elements of functional groups to locate while their end
        is searched, which takes a trace of all items; None selects none.
    groups
        Those items, as far as the bytes reach.
    """

    size: int
    meta_start: int = 0
    start: int = -1
    encoding: Encoding = EXPLICIT_LITTLE
    transfer_syntax: str = ""
    meta: list[Extent] = field(default_factory=list)
    elements: list[Extent] = field(default_factory=list)
    pixel: PixelElement | None = None
    needed: int = 0
    select: Callable[[bytes], TagSelection] | None = None
    groups: Trace = field(default_factory=Trace)
    _position: int = 0
    _prefixed: bool = False
    _selected: TagSelection | None = None
    _frames: int = 0

    @property
    def deflated(self) -> bool:
        """True if the data set is one deflate stream."""
        return TransferSyntax.of(self.transfer_syntax).deflated

    def extend(self, content: bytes) -> bool:
        """Go on with `content`, the object's first bytes; True when the outline is complete."""
        try:
            if self.start < 0:
                self._read_meta(content)
            if not self.deflated:
                self._read_elements(content)
        except IncompleteError as missing:
            self._require(missing.needed, content)
            return False
        return True

    def begin_inflated(self, content: bytes) -> None:
        """Draw the outline of an inflated data set."""
        self.start = self._position = 0
        self.size = len(content)
        self.encoding = EXPLICIT_LITTLE
        try:
            self._read_elements(content)
        except IncompleteError as missing:
            self._require(missing.needed, content)

    def _require(self, needed: int, content: bytes) -> None:
        at = self._element_name(content)
        if needed > self.size or len(content) >= self.size:
            raise self._fault(
                f"{at} at byte {self._position} reaches to byte {needed}, but the object ends at "
                f"byte {self.size}: it is truncated, or a length is wrong"
            )
        if needed > LARGEST_HEADER:
            raise UnsupportedDicomError(f"{at} makes the header larger than {LARGEST_HEADER} bytes")
        self.needed = max(needed, self._expected_end())

    def _expected_end(self) -> int:
        """Estimate the end of functional groups of unknown length from the items so far."""
        trace = self.groups
        if not trace.count or trace.count >= self._frames:
            return 0
        start = self._position
        return start + (trace.end - start) * self._frames * 17 // (trace.count * 16)

    def _element_name(self, content: bytes) -> str:
        try:
            return tag_name(element_header(content, self._position, self.encoding).tag)
        except IncompleteError:
            return "an element"

    def _fault(self, message: str, tag: int | None = None) -> DicomError:
        if self._prefixed or len(self.meta) + len(self.elements) >= _CONVINCING:
            return CorruptDicomError(message, tag=tag)
        return NotDicomError(
            "is not DICOM: there is no DICM prefix, and its first bytes are no data set"
        )

    def _read_meta(self, content: bytes) -> None:
        if self.size < 8:
            raise NotDicomError(f"is not DICOM: it has {self.size} bytes only")
        if len(content) < min(self.size, 132):
            raise IncompleteError(min(self.size, 132))
        self._prefixed = content[128:132] == b"DICM"
        self._position = self.meta_start = 132 if self._prefixed else 0
        self.meta = []
        while self._remains(content) and content[self._position : self._position + 2] == b"\2\0":
            tag, vr, start, value, length = element_header(content, self._position, EXPLICIT_LITTLE)
            if length is None:
                raise self._fault(f"{tag_name(tag)} has an undefined length", tag)
            end = value + length
            if end > len(content):
                raise IncompleteError(end)
            self.meta.append(Extent(tag, vr, start, value, end))
            if tag == TRANSFER_SYNTAX:
                uid = content[value:end].rstrip(b"\0 ")
                self.transfer_syntax = uid.decode("ascii", "replace").strip()
            self._position = end
            self._check_count(self.meta)
        if not self.deflated and self._remains(content):
            first = content[self._position : self._position + 6]
            self.encoding, self.transfer_syntax = obeyed_syntax(first, self.transfer_syntax)
        self.start = self._position

    def _remains(self, content: bytes) -> bool:
        """Return True if another element follows; fewer than 8 zeros at the end are padding."""
        if self._position >= self.size:
            return False
        if self._position + 8 > self.size and not content[self._position : self.size].strip(b"\0"):
            return False
        if self._position + 8 > len(content):
            raise IncompleteError(self._position + 8)
        return True

    def _check_count(self, elements: list[Extent]) -> None:
        if len(elements) > MOST_ELEMENTS:
            raise self._fault(f"the data set has more than {MOST_ELEMENTS} elements")

    def _read_elements(self, content: bytes) -> None:
        self._read_plain_elements(content)
        while self._remains(content):
            element = element_header(content, self._position, self.encoding)
            if not self._prefixed and len(self.meta) + len(self.elements) < _CONVINCING:
                self._convince(element)
            if element.tag in PIXEL_ELEMENTS:
                keyword = PIXEL_ELEMENTS[element.tag]
                self.pixel = PixelElement(
                    keyword, element.value, element.length, element.vr.decode("latin-1")
                )
                return
            if element.tag == ITEM_DELIMITER:
                return
            delimited = element.length is None
            end = self._skip(content, element) if delimited else element.end
            if end > len(content):
                raise IncompleteError(end)
            if element.tag != PER_FRAME_GROUPS:
                self._check_nesting(content, element)
            if element.tag == NUMBER_OF_FRAMES:
                digits = content[element.value : end].strip(b"\0 ")
                self._frames = int(digits) if digits.isdigit() and len(digits) < 11 else 0
            self.elements.append(
                Extent(element.tag, element.vr, element.start, element.value, end, delimited)
            )
            self._check_count(self.elements)
            self._position = end
            self._read_plain_elements(content)

    def _read_plain_elements(self, content: bytes) -> None:
        """Read on through elements that no further check applies to, most of a header."""
        if self.encoding.implicit_vr or not self._prefixed:
            return
        most = MOST_ELEMENTS - len(self.elements)
        plain = plain_elements(content, self._position, len(content), self.encoding, most)
        if plain:
            self.elements += plain
            self._position = plain[-1].end

    def _convince(self, element: ElementHeader) -> None:
        """Refuse text and noise: without a prefix, a data set starts low and ascends."""
        before = [extent.tag for extent in (*self.meta, *self.elements)]
        group = element.tag >> 16
        if (not before and group > 0x0028) or (before and element.tag <= before[-1]):
            raise self._fault("")

    def _check_nesting(self, content: bytes, element: ElementHeader) -> None:
        try:
            check_nesting(content, element, self.encoding)
        except MalformedError as error:
            raise self._element_fault(element, error) from error

    def _element_fault(self, element: ElementHeader, error: MalformedError) -> DicomError:
        return self._fault(f"{tag_name(element.tag)} at byte {element.start}: {error}", element.tag)

    def _skip(self, content: bytes, element: ElementHeader) -> int:
        try:
            if element.tag != PER_FRAME_GROUPS:
                return skip_sequence(content, element.value, self.encoding)
            if self._selected is None:
                self._selected = self.select(content) if self.select else NO_ELEMENTS
            begin = self.groups.end or element.value
            more = trace_items(content, begin, None, self.encoding, self._selected)
        except MalformedError as error:
            raise self._element_fault(element, error) from error
        self.groups = self.groups.followed_by(more)
        if not more.closed:
            raise IncompleteError(max(more.needed, len(content) + 1))
        return more.end


def plain_elements(
    content: bytes, start: int, end: int, encoding: Encoding, most: int
) -> list[Extent]:
    """Read through elements of explicit VR and length, a third of the time of all others.

    Parameters
    ----------
    content
        Bytes that hold the elements.
    start, end
        First byte of the first element, and first byte after the last that may be read.
    encoding
        Of the data set; its VRs are explicit.
    most
        Most elements to read.

    Returns
    -------
    list of Extent
        All elements before the first that is pixel data, functional groups, Number of Frames,
        perhaps nested too deeply, incomplete or of implicit VR or length.
    """
    unpack = encoding.explicit_header.unpack_from
    unpack_long = encoding.long.unpack_from
    elements: list[Extent] = []
    append = elements.append
    position = start
    for _ in range(most):
        value = position + 8
        if value > end:
            break
        group, number, vr, length = unpack(content, position)
        if vr not in SHORT_VRS:
            value += 4
            if vr not in LONG_VRS or value > end:
                break
            (length,) = unpack_long(content, position + 8)
            if length >= _CHECKED_LENGTHS.get(vr, UNDEFINED_LENGTH):
                break
        after = value + length
        tag = group << 16 | number
        if after > end or tag in _STRUCTURAL:
            break
        append(Extent(tag, vr, position, value, after))
        position = after
    return elements
