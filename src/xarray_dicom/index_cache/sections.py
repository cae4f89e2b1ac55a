"""Bytes and arrays one after another, and a reader that checks every size and type."""

from __future__ import annotations

import zlib
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Highest compression ratio of a zlib stream: bytes that come out for each that goes in.
_MAX_ZLIB_RATIO = 1032

#: Bytes below which compression saves nothing.
_MIN_COMPRESSED = 256

#: Bytes of the longest text in a column.
_MAX_TEXT_WIDTH = 2**16

_NUMBER_TYPES = frozenset({"<f8", "<i8", "<i4"})


class EntryError(Exception):
    """An entry contradicts itself, was made by another release, or can't be made."""


class SectionWriter:
    """Sections being written. Each method returns what `SectionReader` needs to read them.

    Parameters
    ----------
    content
        Sections that exist already.
    """

    def __init__(self, content: bytes = b"") -> None:
        self._pieces = [content]
        self._end = len(content)

    def add_bytes(self, content: bytes) -> list[int]:
        """Append bytes, compressed where that helps.

        Returns
        -------
        list of int
            Offset, bytes stored, and bytes of `content`.
        """
        stored = content
        if len(content) >= _MIN_COMPRESSED:
            stored = min(content, zlib.compress(content, 1), key=len)
        place = [self._end, len(stored), len(content)]
        self._pieces.append(stored)
        self._end += len(stored)
        return place

    def add_array(self, array: NDArray[Any]) -> dict[str, Any]:
        """Append an array.

        Returns
        -------
        dict
            Its type, shape, and place as `add_bytes` returns it.
        """
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return {
            "dtype": little.dtype.str.lstrip("|"),
            "shape": list(little.shape),
            "place": self.add_bytes(_byte_planes(little)),
        }

    def add_increasing(self, numbers: NDArray[Any]) -> dict[str, Any]:
        """Append integers that increase evenly, as their differences."""
        return self.add_array(np.diff(numbers.astype(np.int64), prepend=np.int64(0)))

    def to_bytes(self) -> bytes:
        """Return all sections."""
        return b"".join(self._pieces)


class SectionReader:
    """Sections being read. Whatever contradicts the sections raises `EntryError`.

    Parameters
    ----------
    content
        All sections.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_bytes(self, place: Any) -> bytes:
        """Read the bytes that `SectionWriter.add_bytes` was given."""
        offset, stored, length = (checked_size(value) for value in place)
        if offset + stored > len(self._content):
            raise EntryError("a section ends behind the entry")
        content = self._content[offset : offset + stored]
        if stored == length:
            return content
        if not stored < length <= stored * _MAX_ZLIB_RATIO:
            raise EntryError("a section can't be as long as stated")
        inflater = zlib.decompressobj()
        # One byte more than stated, or the end of the stream would not be checked.
        inflated = inflater.decompress(content, length + 1)
        if len(inflated) != length or not inflater.eof or inflater.unused_data:
            raise EntryError("a section has another length than stated")
        return inflated

    def read_array(self, description: Any) -> NDArray[Any]:
        """Read the array that `SectionWriter.add_array` was given."""
        dtype = _checked_dtype(description["dtype"])
        shape = tuple(checked_size(value) for value in description["shape"])
        content = self.read_bytes(description["place"])
        if len(content) != prod(shape) * dtype.itemsize:
            raise EntryError("an array has another size than its shape")
        planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
        return np.ascontiguousarray(planes.T).reshape(-1).view(dtype).reshape(shape)

    def read_increasing(self, description: Any) -> NDArray[np.int64]:
        """Read the integers that `SectionWriter.add_increasing` was given."""
        return np.cumsum(self.read_array(description), dtype=np.int64)


def checked_size(value: Any) -> int:
    """Return `value` if it is an integer from 0 to 2⁶³ - 1; raise `EntryError` else."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise EntryError(f"{value!r} is no size")
    return value


def checked_text(value: Any) -> str:
    """Return `value` if it is text; raise `EntryError` else."""
    if not isinstance(value, str):
        raise EntryError(f"{value!r} is no text")
    return value


def _checked_dtype(value: Any) -> np.dtype[Any]:
    name = checked_text(value)
    is_text = name[0] == "S" and name[1:].isdecimal() and 0 < int(name[1:]) <= _MAX_TEXT_WIDTH
    if not is_text and name not in _NUMBER_TYPES:
        raise EntryError(f"{name!r} is no type of a column")
    return np.dtype(name)


def _byte_planes(array: NDArray[Any]) -> bytes:
    """Return the bytes of `array` grouped by significance: most such planes are constant."""
    octets = array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
    return np.ascontiguousarray(octets.T).tobytes()
