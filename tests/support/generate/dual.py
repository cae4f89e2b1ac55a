"""Files that are DICOM and TIFF at once, as converters of slides write them (PS3.10 7.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_TRAILING_PADDING = bytes.fromhex("fcfffcff") + b"OB\0\0"
_ITEM = b"\xfe\xff\x00\xe0"

#: `struct` codes by TIFF field type.
CODES = {3: "H", 4: "L", 16: "Q"}


@dataclass
class Page:
    """A directory that has tiles; numbers may be wrong on purpose.

    Attributes
    ----------
    offsets, counts
        Values of TileOffsets (324) and TileByteCounts (325).
    types
        Their TIFF field types; LONG, or LONG8 in a BigTIFF, if None.
    extra
        Other fields of one value: tag, type, value.
    stated
        Numbers of values to state instead of the true ones.
    """

    offsets: list[int]
    counts: list[int]
    types: tuple[int, int] | None = None
    extra: list[tuple[int, int, int]] = field(default_factory=list)
    stated: tuple[int, int] | None = None


def tiles(content: bytes) -> Page:
    """The items of the last element of a DICOM file, which must be encapsulated pixel data."""
    position = content.rindex(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12
    position += 8 + int.from_bytes(content[position + 4 : position + 8], "little")
    page = Page([], [])
    while content[position : position + 4] == _ITEM:
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        stream = content[position + 8 : position + 8 + length]
        page.offsets.append(position + 8)
        # A JPEG ends with its EOI marker; the byte behind it only makes the length even.
        page.counts.append(length - stream.endswith(b"\xff\xd9\0"))
        position += 8 + length
    return page


def dual_file(
    content: bytes,
    pages: Iterable[Page] | None = None,
    *,
    big: bool = False,
    byte_order: str = "<",
    last: int = 0,
) -> bytes:
    """Make a DICOM file a TIFF too: a header in its preamble, directories behind its pixels.

    Parameters
    ----------
    content
        The file.
    pages
        By default one, with its frames as tiles.
    big
        Whether to write a BigTIFF.
    byte_order
        ``"<"`` or ``">"``.
    last
        What the last directory has for the offset of the next one.
    """
    word, entries = ("Q", "Q") if big else ("L", "H")
    start = len(content) + 12
    appended = b""
    links = [4 if not big else 8]
    firsts: list[int] = []
    for page in pages if pages is not None else [tiles(content)]:
        types = page.types or ((16, 16) if big else (4, 4))
        fields: list[tuple[int, int, int, bytes]] = [
            (tag, kind, 1, _pack(byte_order, kind, [value])) for tag, kind, value in page.extra
        ]
        stated = page.stated or (len(page.offsets), len(page.counts))
        for tag, kind, count, values in zip(
            (324, 325), types, stated, (page.offsets, page.counts), strict=True
        ):
            fields.append((tag, kind, count, _pack(byte_order, kind, values)))
        firsts.append(start + len(appended))
        size = struct.calcsize(f"<HH{word}{word}")
        place = firsts[-1] + struct.calcsize(byte_order + entries + word) + size * len(fields)
        directory, apart = struct.pack(byte_order + entries, len(fields)), b""
        for tag, kind, count, value in sorted(fields):
            room = struct.calcsize("<" + word)
            if len(value) > room:
                held, apart = struct.pack(byte_order + word, place + len(apart)), apart + value
            else:
                held = value.ljust(room, b"\0")
            directory += struct.pack(f"{byte_order}HH{word}", tag, kind, count) + held
        links.append(firsts[-1] + len(directory))
        appended += directory + struct.pack(byte_order + word, last) + apart
        appended += b"\0" * (len(appended) % 2)
    mark = b"II" if byte_order == "<" else b"MM"
    version = (
        struct.pack(byte_order + "HHH", 43, 8, 0) if big else struct.pack(byte_order + "H", 42)
    )
    padding = _TRAILING_PADDING + struct.pack("<L", len(appended))
    file = bytearray((mark + version).ljust(128, b"\0") + content[128:] + padding + appended)
    for link, first in zip(links, firsts, strict=False):
        struct.pack_into(byte_order + word, file, link, first)
    return bytes(file)


def _pack(byte_order: str, kind: int, values: Iterable[Any]) -> bytes:
    numbers = list(values)
    return struct.pack(f"{byte_order}{len(numbers)}{CODES[kind]}", *numbers)
