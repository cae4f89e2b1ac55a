"""Walk through nested sequences element by element, without recursion (PS3.5 section 7.5)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from xarray_dicom.parsing.encoding import (
    ITEM,
    ITEM_DELIMITER,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    ElementHeader,
    Encoding,
    IncompleteError,
    MalformedError,
    TagPath,
    element_header,
    is_vr,
    item_header,
    tag_name,
)

#: Levels of nested sequences beyond which an object is taken for damaged.
DEEPEST_NESTING = 64

#: A sequence of fewer bytes can't be nested deeper: each level has an item header of 8 bytes.
SHALLOW_LENGTH = 8 * DEEPEST_NESTING

#: Tag of an item in big and in little endian.
_ITEM_BYTES = (b"\xff\xfe\xe0\x00", b"\xfe\xff\x00\xe0")


class NestingError(MalformedError):
    """Sequences are nested more than `DEEPEST_NESTING` levels deep."""


class ValueRange(NamedTuple):
    """Byte range of the value of one element of one item."""

    path: TagPath
    offset: int
    length: int
    vr: bytes


class TagSelection:
    """Elements whose values a walk locates in each item, and the sequences on the way to them.

    Parameters
    ----------
    paths
        Tags from the item down to each element. Sequences are followed through their first
        items alone.
    descend_everywhere
        Walk into all sequences and all their items.
    """

    def __init__(
        self, paths: Collection[TagPath] = (), *, descend_everywhere: bool = False
    ) -> None:
        self.elements = frozenset(paths)
        self.sequences = frozenset(path[:n] for path in paths for n in range(1, len(path)))
        self.descend_everywhere = descend_everywhere


#: Selects no element: the walk finds the ends of items.
NO_ELEMENTS = TagSelection()
_ALL_LEVELS = TagSelection(descend_everywhere=True)


@dataclass(slots=True)
class _Level:
    """A sequence or an item that the walk is inside of."""

    is_item: bool
    end: int | None
    implicit_vr: bool
    path: TagPath | None
    items: int = 0


def skip_sequence(buffer: bytes, position: int, encoding: Encoding) -> int:
    """Return the first byte after the delimiter of a sequence of undefined length.

    The elements are walked: a search for the delimiter could find its bytes in a value.

    Parameters
    ----------
    buffer, position
        Bytes, and the offset of the value of the sequence in them.
    encoding
        Of the data set.

    Raises
    ------
    IncompleteError
        If the buffer ends before the sequence.
    MalformedError
        If the sequence is damaged.
    """
    level = _Level(False, None, encoding.implicit_vr, None)
    return _walk(buffer, position, encoding, level, NO_ELEMENTS, [])


def check_nesting(buffer: bytes, element: ElementHeader, encoding: Encoding) -> None:
    """Raise `NestingError` if a sequence of known length holds too many levels.

    pydicom reads nested sequences by recursion, so that deep ones would end in a
    `RecursionError`.

    Parameters
    ----------
    buffer
        Bytes that hold the element.
    element
        Any element; others than sequences pass.
    encoding
        Of the data set.
    """
    if element.length is None or element.length < SHALLOW_LENGTH:
        return
    if not _is_sequence(buffer, element):
        return
    if buffer.count(_ITEM_BYTES[encoding.little_endian], element.value, element.end) <= (
        DEEPEST_NESTING
    ):
        return
    level = _Level(False, element.end, encoding.implicit_vr, None)
    try:
        _walk(buffer, element.value, encoding, level, _ALL_LEVELS, [])
    except NestingError:
        raise
    except (MalformedError, IncompleteError):
        return  # Other damage is reported when the element is read.


def walk_item(
    buffer: bytes, position: int, encoding: Encoding, selected: TagSelection = NO_ELEMENTS
) -> tuple[int, list[ValueRange]]:
    """Walk one item element by element.

    Parameters
    ----------
    buffer, position
        Bytes, and the offset of the item in them.
    encoding
        Of the data set.
    selected
        Elements to locate.

    Returns
    -------
    end, values
        First byte after the item, and the byte ranges of the selected elements in it.

    Raises
    ------
    IncompleteError
        If the buffer ends before the item.
    MalformedError
        If the item is damaged.
    """
    tag, length = item_header(buffer, position, encoding)
    if tag != ITEM:
        raise MalformedError(f"{tag_name(tag)} at byte {position} where an item should start")
    start = position + 8
    end = None if length == UNDEFINED_LENGTH else start + length
    level = _Level(True, end, _item_is_implicit(buffer, start, end, encoding.implicit_vr), ())
    values: list[ValueRange] = []
    return _walk(buffer, start, encoding, level, selected, values), values


def _is_sequence(buffer: bytes, element: ElementHeader) -> bool:
    """Return True if an element is a sequence; without a VR, if it starts like one."""
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
    selected: TagSelection,
    values: list[ValueRange],
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
            position = _walk_element(buffer, position, encoding, stack, selected, values)
        else:
            position = _walk_item_header(buffer, position, encoding, stack, selected)
        if len(stack) > 2 * DEEPEST_NESTING:
            raise NestingError(f"sequences are nested more than {DEEPEST_NESTING} levels deep")
    return position


def _walk_item_header(
    buffer: bytes, position: int, encoding: Encoding, stack: list[_Level], selected: TagSelection
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
    if path is None and end is not None and not selected.descend_everywhere:
        return end
    implicit = _item_is_implicit(buffer, start, end, level.implicit_vr)
    stack.append(_Level(True, end, implicit, path))
    return start


def _walk_element(
    buffer: bytes,
    position: int,
    encoding: Encoding,
    stack: list[_Level],
    selected: TagSelection,
    values: list[ValueRange],
) -> int:
    level = stack[-1]
    element = element_header(buffer, position, encoding, level.implicit_vr)
    if element.tag == ITEM_DELIMITER and level.end is None:
        stack.pop()
        return position + 8
    path = None if level.path is None else (*level.path, element.tag)
    on_the_way = path in selected.sequences or selected.descend_everywhere
    descend = on_the_way and _is_sequence(buffer, element)
    if element.length is None or descend:
        end = None if element.length is None else element.end
        implicit = level.implicit_vr
        stack.append(_Level(False, end, implicit, path if descend else None))
        return element.value
    if path in selected.elements and element.vr != b"SQ":
        assert path is not None
        values.append(ValueRange(path, element.value, element.length, element.vr))
    return element.end
