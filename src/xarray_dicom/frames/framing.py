"""Bytes that surround encoded frames: item headers, offset tables, neighbouring bits."""

from __future__ import annotations

from enum import Enum

from xarray_dicom.errors import CorruptDicomError

#: Bytes of an item, of a sequence delimiter, and of the header of either (PS3.5 7.5).
ITEM_TAG = b"\xfe\xff\x00\xe0"
DELIMITER_TAG = b"\xfe\xff\xdd\xe0"
ITEM_HEADER = 8


class Framing(Enum):
    """Bytes that lie around and between the bits of encoded frames."""

    #: Nothing: each range of bytes is one codestream.
    CODESTREAM = "codestream"
    #: An item header before each fragment of a frame (PS3.5 A.4).
    ITEMS = "items"
    #: The same behind the Basic Offset Table, which is an item as well.
    TABLE_AND_ITEMS = "table and items"
    #: Bits of native frames that follow each other, so that one may start in mid-byte.
    BITS = "bits"


def unwrap(framing: Framing, content: bytes | memoryview) -> bytes | memoryview:
    """Return the codestream in the bytes of a frame's range.

    Parameters
    ----------
    framing
        What surrounds it.
    content
        All bytes of the range.

    Raises
    ------
    CorruptDicomError
        If its fragments are cut short or missing.
    """
    if framing is Framing.ITEMS:
        return join_fragments(content)
    if framing is Framing.TABLE_AND_ITEMS:
        view = memoryview(content)
        table = int.from_bytes(view[4:ITEM_HEADER], "little")
        return join_fragments(view[ITEM_HEADER + table :])
    return content


def join_fragments(content: bytes | memoryview) -> bytes | memoryview:
    """Join the fragments in a run of items, which may be followed by anything (PS3.5 A.4).

    A range whose end is not known runs to the end of the object, so what follows the last
    fragment is ignored. The padding byte that some writers don't count is skipped.
    """
    view = memoryview(content)
    fragments: list[memoryview] = []
    position = 0
    while position + ITEM_HEADER <= len(view):
        tag = bytes(view[position : position + 4])
        if tag != ITEM_TAG:
            if tag == DELIMITER_TAG or not fragments:
                break
            position += 1
            if bytes(view[position : position + 4]) == ITEM_TAG:
                continue
            break
        length = int.from_bytes(view[position + 4 : position + ITEM_HEADER], "little")
        position += ITEM_HEADER
        if position + length > len(view):
            raise CorruptDicomError(
                f"a fragment of {length} bytes is cut short after {len(view) - position}: the "
                "object is truncated or damaged"
            )
        if length:
            fragments.append(view[position : position + length])
        position += length
    if not fragments:
        raise CorruptDicomError("no fragment starts where a frame should, or it is empty")
    return fragments[0] if len(fragments) == 1 else b"".join(fragments)
