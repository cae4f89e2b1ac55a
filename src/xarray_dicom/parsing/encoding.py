"""How elements, items and delimiters are spelled in bytes (PS3.5 section 7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD
UNDEFINED_LENGTH = 0xFFFFFFFF

#: VRs whose length field has 32 bits (PS3.5 Table 7.1-1).
LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)


class IncompleteError(Exception):
    """The bytes at hand end before the structure does."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} bytes are needed")
        self.needed = needed


class MalformedError(Exception):
    """The bytes do not follow the structure of a data set."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """The two choices that a transfer syntax makes about the data set."""

    implicit_vr: bool
    little_endian: bool
    tag: struct.Struct = field(init=False, repr=False, compare=False)
    short: struct.Struct = field(init=False, repr=False, compare=False)
    long: struct.Struct = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        order = "<" if self.little_endian else ">"
        object.__setattr__(self, "tag", struct.Struct(f"{order}HHL"))
        object.__setattr__(self, "short", struct.Struct(f"{order}H"))
        object.__setattr__(self, "long", struct.Struct(f"{order}L"))


EXPLICIT_LITTLE = Encoding(implicit_vr=False, little_endian=True)


class ElementHeader(NamedTuple):
    """Tag, VR and extent of one element; `vr` is empty where it is implicit."""

    tag: int
    vr: bytes
    start: int
    value: int
    length: int | None

    @property
    def end(self) -> int:
        """First byte after the value; the value's start if the length is undefined."""
        return self.value + (self.length or 0)


def is_vr(spelled: bytes) -> bool:
    """Whether two bytes look like a VR: capital letters, as every VR is."""
    return len(spelled) == 2 and 0x40 < spelled[0] < 0x5B and 0x40 < spelled[1] < 0x5B


def tag_name(tag: int) -> str:
    """A tag as it is printed everywhere: ``(7FE0,0010)``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def item_header(buffer: bytes, position: int, encoding: Encoding) -> tuple[int, int]:
    """Tag and length of an item or a delimiter, which never have a VR."""
    if position + 8 > len(buffer):
        raise IncompleteError(position + 8)
    group, number, length = encoding.tag.unpack_from(buffer, position)
    return group << 16 | number, length


def element_header(
    buffer: bytes, position: int, encoding: Encoding, implicit_vr: bool | None = None
) -> ElementHeader:
    """Read the header of the element at `position`.

    An element of an explicit VR data set whose VR is no VR is taken to be implicit, as
    some writers switch inside private sequences.
    """
    if position + 8 > len(buffer):
        raise IncompleteError(position + 8)
    group, number, length = encoding.tag.unpack_from(buffer, position)
    tag = group << 16 | number
    vr = b""
    value = position + 8
    if not (encoding.implicit_vr if implicit_vr is None else implicit_vr):
        spelled = buffer[position + 4 : position + 6]
        if is_vr(spelled):
            vr = spelled
            if vr in LONG_VRS:
                value = position + 12
                if value > len(buffer):
                    raise IncompleteError(value)
                (length,) = encoding.long.unpack_from(buffer, position + 8)
            else:
                (length,) = encoding.short.unpack_from(buffer, position + 6)
                return ElementHeader(tag, vr, position, value, length)
    return ElementHeader(tag, vr, position, value, None if length == UNDEFINED_LENGTH else length)
