"""Bytes and arrays one after another, and what a reader must know to take none on trust."""

from __future__ import annotations

import zlib
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What no stream of zlib exceeds: bytes that come out for each that goes in.
_ZLIB_RATIO = 1032

#: Fewer bytes than this are not worth compressing.
_SMALL = 256

#: Bytes of a text that a frame may have.
_WIDEST = 2**16

_NUMBERS = frozenset({"<f8", "<i8", "<i4"})


class RecordError(Exception):
    """A record contradicts itself, or was made by other rules."""


class Sections:
    """Sections being written; each `add` returns what `Reader` needs to find it again.

    Parameters
    ----------
    content
        Sections that there are already.
    """

    def __init__(self, content: bytes = b"") -> None:
        self._pieces = [content]
        self._end = len(content)

    def add(self, content: bytes) -> list[int]:
        """Append bytes, compressed where that helps."""
        stored = content
        if len(content) >= _SMALL:
            stored = min(content, zlib.compress(content, 1), key=len)
        place = [self._end, len(stored), len(content)]
        self._pieces.append(stored)
        self._end += len(stored)
        return place

    def add_array(self, array: NDArray[Any]) -> dict[str, Any]:
        """Append an array."""
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return {
            "dtype": little.dtype.str.lstrip("|"),
            "shape": list(little.shape),
            "place": self.add(_planes(little)),
        }

    def add_steps(self, numbers: NDArray[Any]) -> dict[str, Any]:
        """Append whole numbers that grow evenly, as their differences."""
        return self.add_array(np.diff(numbers.astype(np.int64), prepend=np.int64(0)))

    def joined(self) -> bytes:
        """All sections."""
        return b"".join(self._pieces)


class Reader:
    """Sections being read; whatever is not as it should be raises `RecordError`."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def bytes(self, place: Any) -> bytes:
        """The bytes that `Sections.add` was given."""
        offset, stored, length = (number(value) for value in place)
        if offset + stored > len(self._content):
            raise RecordError("a section ends behind the record")
        content = self._content[offset : offset + stored]
        if stored == length:
            return content
        if not stored < length <= stored * _ZLIB_RATIO:
            raise RecordError("a section is longer than its bytes can tell")
        inflater = zlib.decompressobj()
        # One byte more than is due, or the end of the stream would not be looked at.
        inflated = inflater.decompress(content, length + 1)
        if len(inflated) != length or not inflater.eof or inflater.unused_data:
            raise RecordError("a section has another length than told")
        return inflated

    def array(self, told: Any) -> NDArray[Any]:
        """The array that `Sections.add_array` was given."""
        dtype = _dtype(told["dtype"])
        shape = tuple(number(value) for value in told["shape"])
        content = self.bytes(told["place"])
        if len(content) != prod(shape) * dtype.itemsize:
            raise RecordError("an array has another size than its shape")
        planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
        return np.ascontiguousarray(planes.T).reshape(-1).view(dtype).reshape(shape)

    def steps(self, told: Any) -> NDArray[np.int64]:
        """The numbers that `Sections.add_steps` was given."""
        return np.cumsum(self.array(told), dtype=np.int64)


def number(value: Any) -> int:
    """`value`, if it is a whole number from 0 that 63 bits hold."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise RecordError(f"{value!r} is no size")
    return value


def text(value: Any) -> str:
    """`value`, if it is text."""
    if not isinstance(value, str):
        raise RecordError(f"{value!r} is no text")
    return value


def _dtype(told: Any) -> np.dtype[Any]:
    name = text(told)
    wide = name[0] == "S" and name[1:].isdecimal() and 0 < int(name[1:]) <= _WIDEST
    if not wide and name not in _NUMBERS:
        raise RecordError(f"{name!r} is no type of a column")
    return np.dtype(name)


def _planes(array: NDArray[Any]) -> bytes:
    """Bytes of equal significance together: most such planes are all alike."""
    octets = array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
    return np.ascontiguousarray(octets.T).tobytes()
