"""Frames found through the directory of a file that is TIFF as well (PS3.10 7.1).

The preamble of such a file is the header of a TIFF or a BigTIFF. Its directory, mostly in Data
Set Trailing Padding behind the pixel data, gives the place of each frame as that of a tile.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.frames.framing import DELIMITER_TAG, ITEM_HEADER, ITEM_TAG
from xarray_dicom.frames.offsets.pixel_data import PixelValue, UnusableTableError
from xarray_dicom.frames.offsets.tables import ExactOffsets

_TILE_OFFSETS = 324
_TILE_BYTE_COUNTS = 325

#: Unsigned numbers by TIFF field type: SHORT, LONG, LONG8.
_FIELD_TYPES = {3: "u2", 4: "u4", 16: "u8"}

#: Directories that are read before the file is given up.
_MOST_DIRECTORIES = 8

#: Bytes fetched to either side of a directory's start: least and most, and most as a share of
#: the object. Its columns, 16 bytes a tile at most, mostly lie beside it.
_LEAST_MARGIN, _MARGIN, _MARGIN_SHARE = 2**12, 2**22, 256
_TILE_COLUMNS = 16

#: Item headers looked at, at most, among those that came with the header or the directory.
_SAMPLE = 14


@dataclass(frozen=True, slots=True)
class Dialect:
    """Storage of directories in a kind of TIFF.

    Attributes
    ----------
    byte_order
        In the words of `int.from_bytes`.
    first
        Where in the TIFF header the offset of the first directory lies.
    entries
        Bytes of the number of entries that a directory starts with.
    word
        Bytes of an offset, of a number of values, and of values inside an entry.
    """

    byte_order: Literal["little", "big"]
    first: int
    entries: int
    word: int

    @property
    def mark(self) -> Literal["<", ">"]:
        """Byte order in the characters of `struct` and NumPy."""
        return "<" if self.byte_order == "little" else ">"

    @property
    def entry(self) -> struct.Struct:
        """Tag, field type, number of values, and the values or their offset."""
        return struct.Struct(f"{self.mark}HH{'L' if self.word == 4 else 'Q'}{self.word}s")

    def number(self, content: bytes) -> int:
        """Return an unsigned number."""
        return int.from_bytes(content, self.byte_order)


#: Classic TIFF and BigTIFF, by the bytes that they start with.
_DIALECTS = {
    b"II*\0": Dialect("little", 4, 2, 4),
    b"MM\0*": Dialect("big", 4, 2, 4),
    b"II+\0\x08\0\0\0": Dialect("little", 8, 8, 8),
    b"MM\0+\0\x08\0\0": Dialect("big", 8, 8, 8),
}


@dataclass(frozen=True, slots=True)
class Field:
    """An entry of a directory: `value` holds the values, or their offset if they are too many."""

    type: int
    count: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of an object around a directory, which need not be fetched again."""

    value: PixelValue
    start: int
    content: bytes

    def fetched(self, offset: int, length: int) -> bytes | None:
        """Return bytes that came with the directory or the object's header, None if they didn't."""
        inside = offset - self.start
        if inside >= 0 and inside + length <= len(self.content):
            return self.content[inside : inside + length]
        return self.value.fetched(offset, length)

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return bytes of several ranges; those that were fetched before cost no request."""
        pieces = [self.fetched(*byte_range) for byte_range in ranges]
        missing = [
            byte_range for byte_range, piece in zip(ranges, pieces, strict=True) if piece is None
        ]
        fetched = iter(await self.value.source.read_many(missing) if missing else [])
        return [next(fetched) if piece is None else piece for piece in pieces]


async def tiff_directory(value: PixelValue) -> ExactOffsets | None:
    """TileOffsets and TileByteCounts of a dual DICOM-TIFF file, value to its items.

    Every tile must be one item, the items must follow one another from the first to the
    sequence delimiter, and a sample of them must have the length that the directory gives.
    """
    preamble = value.header.head[:128]
    dialect = next((d for magic, d in _DIALECTS.items() if preamble.startswith(magic)), None)
    if dialect is None or value.header.inflated is not None:
        return None
    first = dialect.number(preamble[dialect.first : dialect.first + dialect.word])
    window, fields = await _find_tiles(value, dialect, first)
    columns = await _read_columns(window, dialect, fields)
    offset, length = _check_tiles(value, *columns)
    await _check_items(window, offset, length)
    return ExactOffsets.from_lengths(offset, length, value.size, "TIFF directory")


async def _find_tiles(
    value: PixelValue, dialect: Dialect, first: int
) -> tuple[Window, tuple[Field, Field]]:
    """Find the first directory that has as many tiles as there are frames.

    Returns
    -------
    tuple
        The bytes around the directory, and its offsets and byte counts.
    """
    seen: set[int] = set()
    columns = 2**15 + _TILE_COLUMNS * value.n_frames
    margin = min(_MARGIN, columns, max(_LEAST_MARGIN, value.size // _MARGIN_SHARE))
    start, window = first, Window(value, 0, b"")
    while start and start not in seen and len(seen) < _MOST_DIRECTORIES:
        seen.add(start)
        if start + dialect.entries > value.size:
            raise UnusableTableError(f"it would start at byte {start}, behind the object's end")
        if window.fetched(start, min(_LEAST_MARGIN, value.size - start)) is None:
            # The end of the pixel data, or the columns, lie before it.
            low, high = max(0, start - margin), min(value.size, start + margin)
            window = Window(value, low, await value.read(low, high - low))
        fields, start = _parse_directory(window, dialect, start)
        tiles = fields.get(_TILE_OFFSETS), fields.get(_TILE_BYTE_COUNTS)
        if tiles[0] and tiles[1] and tiles[0].count == tiles[1].count == value.n_frames:
            return window, (tiles[0], tiles[1])
    raise UnusableTableError(f"none of its {len(seen)} pages has {value.n_frames} tiles")


def _parse_directory(window: Window, dialect: Dialect, start: int) -> tuple[dict[int, Field], int]:
    """Return fields by tag, and the offset of the next directory: 0 if there is none."""
    opening = window.fetched(start, dialect.entries) or b""
    n_entries = dialect.number(opening)
    size = n_entries * dialect.entry.size
    content = window.fetched(start + dialect.entries, size + dialect.word)
    if not n_entries or content is None:
        raise UnusableTableError(
            f"its {n_entries} entries at byte {start} are cut short, or they are too many"
        )
    entries = dialect.entry.iter_unpack(content[:size])
    fields = {tag: Field(kind, count, value) for tag, kind, count, value in entries}
    return fields, dialect.number(content[size:])


async def _read_columns(
    window: Window, dialect: Dialect, fields: tuple[Field, Field]
) -> list[NDArray[np.unsignedinteger]]:
    """Read the values of fields."""
    kinds: list[np.dtype[np.unsignedinteger]] = []
    inline: list[bytes | None] = []
    apart: list[tuple[int, int]] = []
    for field in fields:
        if field.type not in _FIELD_TYPES:
            raise UnusableTableError(f"its offsets or byte counts are of type {field.type}")
        kind = np.dtype(_FIELD_TYPES[field.type]).newbyteorder(dialect.mark)
        length = field.count * kind.itemsize
        kinds.append(kind)
        if length <= dialect.word:
            inline.append(field.value[:length])
            continue
        offset = dialect.number(field.value)
        if offset + length > window.value.size:
            raise UnusableTableError("its offsets or byte counts lie behind the object's end")
        inline.append(None)
        apart.append((offset, length))
    fetched = iter(await window.read_many(apart))
    return [
        np.frombuffer(next(fetched) if value is None else value, kind)
        for value, kind in zip(inline, kinds, strict=True)
    ]


def _check_tiles(
    value: PixelValue, offset: NDArray[np.unsignedinteger], count: NDArray[np.unsignedinteger]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets and lengths of tiles that can be consecutive items of the pixel data."""
    if int(offset.max()) >= value.end or int(count.max()) > value.end - value.start:
        raise UnusableTableError("it leads behind the pixel data")
    first, length = offset.astype(np.int64), count.astype(np.int64)
    if int(length.min()) == 0:
        raise UnusableTableError(f"tile {int(np.argmin(length)) + 1} is empty")
    padding = np.diff(first) - length[:-1] - ITEM_HEADER
    wrong = (padding < 0) | (padding > length[:-1] % 2)
    if wrong.any():
        tile = int(np.argmax(wrong)) + 1
        raise UnusableTableError(f"tile {tile + 1} is not in the item that follows tile {tile}")
    return first, length


async def _check_items(
    window: Window, offset: NDArray[np.int64], length: NDArray[np.int64]
) -> None:
    """Check the first, the last and a sample of the items against their tiles."""
    value = window.value
    fetched_along = (offset <= len(value.header.head)) | (offset - ITEM_HEADER >= window.start)
    near = np.flatnonzero(fetched_along)
    near = near[np.linspace(0, max(0, near.size - 1), min(near.size, _SAMPLE)).astype(np.int64)]
    sample = np.unique(np.append(near, [0, offset.size - 1]))
    end = int(offset[-1] + length[-1])
    if end + ITEM_HEADER > value.end:
        raise UnusableTableError("it leads behind the pixel data")
    heads = [(int(start) - ITEM_HEADER, ITEM_HEADER) for start in offset[sample]]
    if heads[0][0] < value.start + ITEM_HEADER:
        raise UnusableTableError("it leads before the pixel data")
    table, tail, *items = await window.read_many(
        [(value.start, ITEM_HEADER), (end, ITEM_HEADER), *heads]
    )
    after = value.start + ITEM_HEADER + int.from_bytes(table[4:], "little")
    if table[:4] != ITEM_TAG or heads[0][0] != after:
        raise UnusableTableError(f"the first item starts at byte {after}, not at {heads[0][0]}")
    for (start, _), item, count in zip(heads, items, length[sample].tolist(), strict=True):
        if item[:4] != ITEM_TAG:
            raise UnusableTableError(f"no item starts at byte {start}")
        stated = int.from_bytes(item[4:], "little")
        if stated not in (count, count + count % 2):
            raise UnusableTableError(
                f"the item at byte {start} has {stated} bytes, not the {count} of its tile"
            )
    if DELIMITER_TAG not in (tail[:4], tail[1:5]):
        raise UnusableTableError(f"the items do not end with the last tile, at byte {end}")
