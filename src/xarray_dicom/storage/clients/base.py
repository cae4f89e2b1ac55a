"""What a kind of store must answer; everything else is common to all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from xarray_dicom.errors import CorruptDicomError, SourceChangedError
from xarray_dicom.storage.source import Fingerprint

_CONTENT_RANGE = re.compile(r"^\s*bytes\s+(\d+)-(\d+)/(\d+)\s*$", re.IGNORECASE)


class TruncatedBodyError(Exception):
    """A reply broke off before its end."""


class RangesUnsupportedError(Exception):
    """The store sent a whole object where a range was asked for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a store sent for one range.

    Attributes
    ----------
    content
        The bytes; fewer than asked for only where the object ends.
    fingerprint
        The version that they belong to; None where replies don't tell.
    """

    content: bytes
    fingerprint: Fingerprint | None


class Store(Protocol):
    """One object in one kind of store.

    Errors are the built-in ones (`FileNotFoundError`, `PermissionError`, `OSError`) or
    `TruncatedBodyError`, which is worth another attempt.
    """

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch up to `length` (at least 1) bytes from `offset`.

        With `pinned`, the store is asked to refuse another version. Where it refuses, the
        reply has the fingerprint of the version that is there now, whatever its content.
        """
        ...

    async def stat(self) -> Fingerprint | None:
        """Version that is there now; None where each reply tells."""
        ...


def range_header(offset: int, length: int) -> str:
    """Value of an HTTP Range header (RFC 9110, 14.2)."""
    return f"bytes={offset}-{offset + length - 1}"


def object_size(content_range: str | None, offset: int, length: int) -> int:
    """Size of the whole object in bytes, from the Content-Range of a reply (RFC 9110, 14.4).

    Raises
    ------
    RangesUnsupportedError
        If the reply is not the range that starts at `offset`.
    """
    match = _CONTENT_RANGE.match(content_range or "")
    if match is None:
        raise RangesUnsupportedError(f"Content-Range is {content_range!r}")
    first, last, size = map(int, match.groups())
    if first != offset or last != min(offset + length, size) - 1:
        raise RangesUnsupportedError(
            f"Content-Range is {content_range!r}, asked for were {range_header(offset, length)}"
        )
    return size


def require_inside(location: str, size: int, offset: int, length: int) -> None:
    """Raise unless the range lies in an object of `size` bytes."""
    if offset < 0 or length < 0:
        raise ValueError(f"{location}: no range starts at {offset} with {length} bytes")
    if offset + length > size and length:
        raise CorruptDicomError(
            f"{location}: bytes {offset} to {offset + length} are referred to, "
            f"but the object has {size}; it may be a partial copy"
        )


def require_same(location: str, pinned: Fingerprint | None, found: Fingerprint) -> None:
    """Raise unless `found` is the version pinned, if one is."""
    if pinned is not None and found != pinned:
        raise SourceChangedError(
            f"{location} was replaced after it was opened (it was {_spelled(pinned)}, "
            f"now it is {_spelled(found)}); open it again"
        )


def _spelled(fingerprint: Fingerprint) -> str:
    return f"{fingerprint.size} bytes {fingerprint.version}".rstrip()
