"""Walk nested sequences element by element, without recursion (PS3.5 section 7.5)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from xarray_dicom.parsing.elements import Path
from xarray_dicom.parsing.encoding import (
    ITEM,
    ITEM_DELIMITER,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    ElementHeader,
    Encoding,
    IncompleteError,
    MalformedError,
    element_header,
    is_vr,
    item_header,
    tag_name,
)

#: Sequences nested deeper than this are taken for damage.
DEEPEST_NESTING = 64

#: An item's tag in big and in little endian.
_ITEM_BYTES = (b"\xff\xfe\xe0\x00", b"\xfe\xff\x00\xe0")


class NestingError(MalformedError):
    """Sequences lie deeper in one another than is sane."""


class Leaf(NamedTuple):
    """Where the value of one wanted element of one item lies."""

    path: Path
    offset: int
    length: int
    vr: bytes


class Wanted:
    """The paths of elements to note while items are walked, and the sequences on the way."""

    def __init__(self, paths: Collection[Path] = ()) -> None:
        self.leaves = frozenset(paths)
        self.sequences = frozenset(path[:n] for path in paths for n in range(1, len(path)))
        self.everything = False


NOTHING = Wanted()
_EVERYTHING = Wanted()
_EVERYTHING.everything = True


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


def check_nesting(buffer: bytes, element: ElementHeader, encoding: Encoding) -> None:
    """Raise `NestingError` if a sequence of known length holds too many levels.

    pydicom reads nested sequences by recursion, when they are asked for.
    """
    if element.length is None or not _is_sequence(buffer, element):
        return
    if buffer.count(_ITEM_BYTES[encoding.little_endian], element.value, element.end) <= (
        DEEPEST_NESTING
    ):
        return
    level = _Level(False, element.end, encoding.implicit_vr, None)
    try:
        _walk(buffer, element.value, encoding, level, _EVERYTHING, [])
    except NestingError:
        raise
    except (MalformedError, IncompleteError):
        return  # Damage inside matters only to who asks for the element.


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


def _is_sequence(buffer: bytes, element: ElementHeader) -> bool:
    """Whether an element is a sequence; without a VR, whether it looks like one."""
    if element.vr not in (b"", b"UN"):
        return element.vr == b"SQ"
    return buffer[element.value : element.value + 4] in _ITEM_BYTES


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
            position = _walk_item_header(buffer, position, encoding, stack, wanted)
        if len(stack) > 2 * DEEPEST_NESTING:
            raise NestingError(f"sequences are nested more than {DEEPEST_NESTING} levels deep")
    return position


def _walk_item_header(
    buffer: bytes, position: int, encoding: Encoding, stack: list[_Level], wanted: Wanted
) -> int:
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
    if path is None and end is not None and not wanted.everything:
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
    on_the_way = path in wanted.sequences or wanted.everything
    descend = on_the_way and _is_sequence(buffer, element)
    if element.length is None or descend:
        end = None if element.length is None else element.end
        implicit = level.implicit_vr
        stack.append(_Level(False, end, implicit, path if descend else None))
        return element.value
    if path in wanted.leaves and element.vr != b"SQ":
        assert path is not None
        leaves.append(Leaf(path, element.value, element.length, element.vr))
    return element.end
