"""How elements, items and delimiters are spelled in bytes (PS3.5 section 7)."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from xarray_dicom.parsing.elements import Path

ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD
UNDEFINED_LENGTH = 0xFFFFFFFF

#: VRs whose length field has 32 bits (PS3.5 Table 7.1-1).
LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)

#: Sequences nested deeper than this are taken for damage.
DEEPEST_NESTING = 64


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
IMPLICIT_LITTLE = Encoding(implicit_vr=True, little_endian=True)


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


class Leaf(NamedTuple):
    """Where the value of one wanted element of one item lies."""

    path: Path
    offset: int
    length: int
    vr: bytes


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


class Wanted:
    """The paths of elements to note while items are walked, and the sequences on the way."""

    def __init__(self, paths: Collection[Path] = ()) -> None:
        self.leaves = frozenset(paths)
        self.sequences = frozenset(path[:n] for path in paths for n in range(1, len(path)))


NOTHING = Wanted()


@dataclass(slots=True)
class _Level:
    is_item: bool
    end: int | None
    implicit_vr: bool
    path: Path | None
    items: int = 0


def skip_sequence(buffer: bytes, position: int, encoding: Encoding) -> int:
    """First byte after the delimiter of a sequence of undefined length.

    `position` is that of the sequence's value. Structure decides, never a search for the
    delimiter, since values may hold its bytes.
    """
    level = _Level(False, None, encoding.implicit_vr, None)
    return _walk(buffer, position, encoding, level, NOTHING, [])


def walk_item(
    buffer: bytes, position: int, encoding: Encoding, wanted: Wanted = NOTHING
) -> tuple[int, list[Leaf]]:
    """Walk one item element by element.

    Returns
    -------
    end, leaves
        First byte after the item, and the wanted elements found in it.
    """
    tag, length = item_header(buffer, position, encoding)
    if tag != ITEM:
        raise MalformedError(f"{tag_name(tag)} at byte {position} where an item should start")
    start = position + 8
    end = None if length == UNDEFINED_LENGTH else start + length
    level = _Level(True, end, _item_is_implicit(buffer, start, end, encoding.implicit_vr), ())
    leaves: list[Leaf] = []
    return _walk(buffer, start, encoding, level, wanted, leaves), leaves


def _item_is_implicit(buffer: bytes, start: int, end: int | None, parent_is: bool) -> bool:
    if parent_is or end == start or start + 6 > len(buffer):
        return parent_is
    if buffer[start : start + 4] in (b"\xfe\xff\x0d\xe0", b"\xff\xfe\xe0\x0d"):
        return parent_is
    return not is_vr(buffer[start + 4 : start + 6])


def _walk(
    buffer: bytes,
    position: int,
    encoding: Encoding,
    outermost: _Level,
    wanted: Wanted,
    leaves: list[Leaf],
) -> int:
    stack = [outermost]
    while stack:
        level = stack[-1]
        if level.end is not None:
            if position == level.end:
                stack.pop()
                continue
            if position > level.end:
                raise MalformedError(f"byte {position} lies behind the end of its sequence or item")
        if level.is_item:
            position = _walk_element(buffer, position, encoding, stack, wanted, leaves)
        else:
            position = _walk_item_header(buffer, position, encoding, stack)
        if len(stack) > 2 * DEEPEST_NESTING:
            raise MalformedError(f"sequences are nested more than {DEEPEST_NESTING} levels deep")
    return position


def _walk_item_header(buffer: bytes, position: int, encoding: Encoding, stack: list[_Level]) -> int:
    level = stack[-1]
    tag, length = item_header(buffer, position, encoding)
    start = position + 8
    if tag == SEQUENCE_DELIMITER and level.end is None:
        stack.pop()
        return start
    if tag != ITEM:
        raise MalformedError(f"{tag_name(tag)} at byte {position} where an item should start")
    path = level.path if level.items == 0 else None
    level.items += 1
    end = None if length == UNDEFINED_LENGTH else start + length
    if path is None and end is not None:
        return end
    implicit = _item_is_implicit(buffer, start, end, level.implicit_vr)
    stack.append(_Level(True, end, implicit, path))
    return start


def _walk_element(
    buffer: bytes,
    position: int,
    encoding: Encoding,
    stack: list[_Level],
    wanted: Wanted,
    leaves: list[Leaf],
) -> int:
    level = stack[-1]
    element = element_header(buffer, position, encoding, level.implicit_vr)
    if element.tag == ITEM_DELIMITER and level.end is None:
        stack.pop()
        return position + 8
    path = None if level.path is None else (*level.path, element.tag)
    on_the_way = path in wanted.sequences and element.vr in (b"SQ", b"UN", b"")
    if element.length is None or on_the_way:
        end = None if element.length is None else element.end
        implicit = level.implicit_vr
        stack.append(_Level(False, end, implicit, path if on_the_way else None))
        return element.value
    if path in wanted.leaves and element.vr != b"SQ":
        assert path is not None
        leaves.append(Leaf(path, element.value, element.length, element.vr))
    return element.end
