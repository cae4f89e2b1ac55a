"""Where the top-level elements of an object lie, up to its pixel data.

An `Outline` is drawn in steps: `Outline.extend` goes on with more of the object's first
bytes each time, until it has seen the pixel data element or the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xarray_dicom.errors import (
    CorruptDicomError,
    DicomError,
    NotDicomError,
    UnsupportedDicomError,
)
from xarray_dicom.parsing.elements import PixelElement, Trace
from xarray_dicom.parsing.encoding import (
    EXPLICIT_LITTLE,
    ITEM_DELIMITER,
    ElementHeader,
    Encoding,
    IncompleteError,
    MalformedError,
    element_header,
    is_vr,
    tag_name,
)
from xarray_dicom.parsing.items import trace_items
from xarray_dicom.parsing.walk import NOTHING, Wanted, check_nesting, skip_sequence
from xarray_dicom.transfer_syntax import TransferSyntax
from xarray_dicom.warn import warn

PER_FRAME_GROUPS = 0x52009230
NUMBER_OF_FRAMES = 0x00280008
TRANSFER_SYNTAX = 0x00020010

PIXEL_ELEMENTS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}

#: More top-level elements than any real data set has.
MOST_ELEMENTS = 2**16

#: Most bytes before the pixel data.
LARGEST_HEADER = 2**30

#: Data sets start with a group below this one.
_LARGE_GROUP = 0x0400

#: Elements that must follow in order before an object without prefix is taken for DICOM.
_CONVINCING = 4


@dataclass(frozen=True, slots=True)
class Extent:
    """One top-level element: its header, and the first byte after it."""

    header: ElementHeader
    end: int


@dataclass(slots=True)
class Outline:
    """The top-level structure of an object.

    Attributes
    ----------
    location, size
        Name of the object for errors, and its size in bytes.
    meta_start, start
        First byte of the file meta information, and of the data set.
    encoding, transfer_syntax
        Those that the bytes obey.
    elements
        Elements of the data set before the pixel data.
    pixel
        The pixel data element, if any.
    needed
        Bytes that the next call of `extend` should be given at least.
    choose
        Given the bytes, what to note of the items of functional groups whose end can only be
        found by tracing them; None notes nothing.
    groups
        Those items, as far as they are there.
    """

    location: str
    size: int
    meta_start: int = 0
    start: int = -1
    encoding: Encoding = EXPLICIT_LITTLE
    transfer_syntax: str = ""
    elements: list[Extent] = field(default_factory=list)
    pixel: PixelElement | None = None
    needed: int = 0
    choose: Callable[[bytes], Wanted] | None = None
    groups: Trace = field(default_factory=Trace)
    _position: int = 0
    _prefixed: bool = False
    _meta: list[Extent] = field(default_factory=list)
    _wanted: Wanted | None = None
    _frames: int = 0

    @property
    def deflated(self) -> bool:
        """Whether the data set is one deflate stream."""
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
        at = self._at(content)
        if needed > self.size or len(content) >= self.size:
            raise self._fault(
                f"{at} at byte {self._position} reaches to byte {needed}, but the object ends at "
                f"byte {self.size}: it is truncated, or a length is wrong"
            )
        if needed > LARGEST_HEADER:
            raise UnsupportedDicomError(
                f"{self.location}: {at} makes the header larger than {LARGEST_HEADER} bytes"
            )
        self.needed = max(needed, self._expected_end())

    def _expected_end(self) -> int:
        """Where functional groups of unknown length should end, judged by those seen."""
        trace = self.groups
        if not trace.count or trace.count >= self._frames:
            return 0
        start = self._position
        return start + (trace.end - start) * self._frames * 17 // (trace.count * 16)

    def _at(self, content: bytes) -> str:
        try:
            return tag_name(element_header(content, self._position, self.encoding).tag)
        except IncompleteError:
            return "an element"

    def _fault(self, message: str) -> DicomError:
        if self._prefixed or len(self._meta) + len(self.elements) >= _CONVINCING:
            return CorruptDicomError(f"{self.location}: {message}")
        return NotDicomError(
            f"{self.location} is not DICOM: there is no DICM prefix, and its first bytes are no "
            "data set"
        )

    def _read_meta(self, content: bytes) -> None:
        if self.size < 8:
            raise NotDicomError(f"{self.location} is not DICOM: it has {self.size} bytes only")
        if len(content) < min(self.size, 132):
            raise IncompleteError(min(self.size, 132))
        self._prefixed = content[128:132] == b"DICM"
        self._position = self.meta_start = 132 if self._prefixed else 0
        self._meta = []
        while self._remains(content) and content[self._position : self._position + 2] == b"\2\0":
            element = element_header(content, self._position, EXPLICIT_LITTLE)
            if element.length is None:
                raise self._fault(f"{tag_name(element.tag)} has an undefined length")
            if element.end > len(content):
                raise IncompleteError(element.end)
            self._meta.append(Extent(element, element.end))
            if element.tag == TRANSFER_SYNTAX:
                value = content[element.value : element.end]
                self.transfer_syntax = value.rstrip(b"\0 ").decode("ascii", "replace").strip()
            self._position = element.end
            self._check_count(self._meta)
        if not self.deflated and self._remains(content):
            self._settle_encoding(content)
        self.start = self._position

    def _settle_encoding(self, content: bytes) -> None:
        """Find what the data set obeys, whatever the meta header says."""
        first = content[self._position : self._position + 6]
        explicit = is_vr(first[4:6])
        stated = TransferSyntax.of(self.transfer_syntax)
        expected = Encoding(stated.implicit_vr, stated.little_endian)
        # The first group is a small number; only in the wrong byte order is it a large one.
        as_little, as_big = int.from_bytes(first[:2], "little"), int.from_bytes(first[:2], "big")
        little = expected.little_endian or not explicit
        if explicit and (as_little < _LARGE_GROUP) != (as_big < _LARGE_GROUP):
            little = as_little < _LARGE_GROUP
        self.encoding = Encoding(not explicit, little)
        actual = TransferSyntax.of_data_set(not explicit, little)
        if stated.uid and self.encoding != expected:
            warn(
                f"{self.location}: the transfer syntax is stated as {stated.uid}, but the data set "
                f"is encoded like {actual.uid}; it is read so"
            )
        if stated.plain:
            self.transfer_syntax = actual.uid

    def _remains(self, content: bytes) -> bool:
        """Whether another element follows; trailing zeros shorter than one are padding."""
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
        while self._remains(content):
            element = element_header(content, self._position, self.encoding)
            if not self._prefixed and len(self._meta) + len(self.elements) < _CONVINCING:
                self._convince(element)
            if element.tag in PIXEL_ELEMENTS:
                keyword = PIXEL_ELEMENTS[element.tag]
                self.pixel = PixelElement(
                    keyword, element.value, element.length, element.vr.decode("latin-1")
                )
                return
            if element.tag == ITEM_DELIMITER:
                return
            end = element.end if element.length is not None else self._skip(content, element)
            if end > len(content):
                raise IncompleteError(end)
            if element.tag != PER_FRAME_GROUPS:
                self._check_nesting(content, element)
            if element.tag == NUMBER_OF_FRAMES:
                digits = content[element.value : end].strip(b"\0 ")
                self._frames = int(digits) if digits.isdigit() and len(digits) < 11 else 0
            self.elements.append(Extent(element, end))
            self._check_count(self.elements)
            self._position = end

    def _convince(self, element: ElementHeader) -> None:
        """Refuse text and noise: without a prefix, a data set starts low and ascends."""
        before = [extent.header.tag for extent in (*self._meta, *self.elements)]
        group = element.tag >> 16
        if (not before and group > 0x0028) or (before and element.tag <= before[-1]):
            raise self._fault("")

    def _check_nesting(self, content: bytes, element: ElementHeader) -> None:
        try:
            check_nesting(content, element, self.encoding)
        except MalformedError as error:
            raise self._fault(
                f"{tag_name(element.tag)} at byte {element.start}: {error}"
            ) from error

    def _skip(self, content: bytes, element: ElementHeader) -> int:
        try:
            if element.tag != PER_FRAME_GROUPS:
                return skip_sequence(content, element.value, self.encoding)
            if self._wanted is None:
                self._wanted = self.choose(content) if self.choose else NOTHING
            begin = self.groups.end or element.value
            more = trace_items(content, begin, None, self.encoding, self._wanted)
        except MalformedError as error:
            raise self._fault(
                f"{tag_name(element.tag)} at byte {element.start}: {error}"
            ) from error
        self.groups = self.groups.followed_by(more)
        if not more.closed:
            raise IncompleteError(max(more.needed, len(content) + 1))
        return more.end
