"""Encoding of elements, items and delimiters as bytes (PS3.5 section 7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

#: Tags from an item of a sequence down to an element.
TagPath = tuple[int, ...]

ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD
UNDEFINED_LENGTH = 0xFFFFFFFF

#: VRs whose length field has 32 bits (PS3.5 Table 7.1-1).
LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)

#: VRs whose length field has 16 bits: their values hold no other elements.
SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN"}
    | {b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)


class IncompleteError(Exception):
    """The bytes at hand end before the structure does.

    Parameters
    ----------
    needed
        Length that the buffer must have to show more.
    """

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} bytes are needed")
        self.needed = needed


class MalformedError(Exception):
    """The bytes do not follow the structure of a data set."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """The two choices that a transfer syntax makes about the data set.

    Attributes
    ----------
    implicit_vr, little_endian
        The choices.
    explicit_header
        Group, element, VR and 16-bit length.
    tag
        Group, element and 32-bit length.
    short, long
        Lengths of 16 and of 32 bits.
    """

    implicit_vr: bool
    little_endian: bool
    explicit_header: struct.Struct = field(init=False, repr=False, compare=False)
    tag: struct.Struct = field(init=False, repr=False, compare=False)
    short: struct.Struct = field(init=False, repr=False, compare=False)
    long: struct.Struct = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        order = "<" if self.little_endian else ">"
        object.__setattr__(self, "explicit_header", struct.Struct(f"{order}HH2sH"))
        object.__setattr__(self, "tag", struct.Struct(f"{order}HHL"))
        object.__setattr__(self, "short", struct.Struct(f"{order}H"))
        object.__setattr__(self, "long", struct.Struct(f"{order}L"))


EXPLICIT_LITTLE = Encoding(implicit_vr=False, little_endian=True)


class ElementHeader(NamedTuple):
    """Tag, VR and extent of one element.

    Attributes
    ----------
    tag
        Its number.
    vr
        Empty where it is implicit.
    start, value
        First byte of the element, and of its value.
    length
        Bytes of the value; None if the length is undefined.
    """

    tag: int
    vr: bytes
    start: int
    value: int
    length: int | None

    @property
    def end(self) -> int:
        """First byte after the value; the value's start if the length is undefined."""
        return self.value + (self.length or 0)


def is_vr(text: bytes) -> bool:
    """Return True if `text` is two capital letters, as every VR is."""
    return len(text) == 2 and 0x40 < text[0] < 0x5B and 0x40 < text[1] < 0x5B


def tag_name(tag: int) -> str:
    """Return a tag as DICOM prints it: ``(7FE0,0010)``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def item_header(buffer: bytes, position: int, encoding: Encoding) -> tuple[int, int]:
    """Return tag and length of an item or a delimiter, which never have a VR.

    Parameters
    ----------
    buffer, position
        Bytes, and the offset of the item in them.
    encoding
        Of the data set.

    Raises
    ------
    IncompleteError
        If the buffer ends within the header.
    """
    if position + 8 > len(buffer):
        raise IncompleteError(position + 8)
    group, number, length = encoding.tag.unpack_from(buffer, position)
    return group << 16 | number, length


def element_header(
    buffer: bytes, position: int, encoding: Encoding, implicit_vr: bool | None = None
) -> ElementHeader:
    """Read the header of the element at `position`.

    An element of an explicit VR data set that has no VR is taken to be implicit, since some
    writers switch to implicit VR inside private sequences.

    Parameters
    ----------
    buffer, position
        Bytes, and the offset of the element in them.
    encoding
        Of the data set.
    implicit_vr
        Overrides that of `encoding`, for an item that differs from its data set.

    Raises
    ------
    IncompleteError
        If the buffer ends within the header.
    """
    if position + 8 > len(buffer):
        raise IncompleteError(position + 8)
    group, number, length = encoding.tag.unpack_from(buffer, position)
    tag = group << 16 | number
    vr = b""
    value = position + 8
    if not (encoding.implicit_vr if implicit_vr is None else implicit_vr):
        letters = buffer[position + 4 : position + 6]
        if is_vr(letters):
            vr = letters
            if vr in LONG_VRS:
                value = position + 12
                if value > len(buffer):
                    raise IncompleteError(value)
                (length,) = encoding.long.unpack_from(buffer, position + 8)
            else:
                (length,) = encoding.short.unpack_from(buffer, position + 6)
                return ElementHeader(tag, vr, position, value, length)
    return ElementHeader(tag, vr, position, value, None if length == UNDEFINED_LENGTH else length)
