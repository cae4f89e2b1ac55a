"""Protocol of the clients of services, and what their replies have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from xarray_dicom.storage.source import Fingerprint

_CONTENT_RANGE = re.compile(r"^\s*bytes\s+(\d+)-(\d+)/(\d+)\s*$", re.IGNORECASE)


class TruncatedBodyError(Exception):
    """A reply broke off before its end."""


class RangesUnsupportedError(Exception):
    """The service sent a whole object where a range was requested."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Reply of a service to the request of one range.

    Attributes
    ----------
    content
        The bytes; fewer than requested only where the object ends.
    fingerprint
        The version that they belong to; None where replies don't say it.
    """

    content: bytes
    fingerprint: Fingerprint | None


class ObjectClient(Protocol):
    """One object in one kind of service.

    Errors are the built-in ones (`FileNotFoundError`, `PermissionError`, `OSError`) or
    `TruncatedBodyError`, which is worth another attempt.
    """

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch a range of the object.

        Parameters
        ----------
        offset, length
            The range in bytes; `length` is at least 1.
        pinned
            Version to insist on: the service is requested to refuse another one. Where it
            refuses, the reply has the fingerprint of the version that is there now, whatever
            its content.
        """
        ...

    async def stat(self) -> Fingerprint | None:
        """Return the version that is there now; None where each reply says it."""
        ...


def range_header(offset: int, length: int) -> str:
    """Return the value of an HTTP Range header (RFC 9110, 14.2)."""
    return f"bytes={offset}-{offset + length - 1}"


def object_size(content_range: str | None, offset: int, length: int) -> int:
    """Return the size of the whole object, as the reply to the request of a range states it.

    Parameters
    ----------
    content_range
        Header Content-Range of the reply (RFC 9110, 14.4).
    offset, length
        The range requested, in bytes.

    Returns
    -------
    int
        Bytes of the object.

    Raises
    ------
    RangesUnsupportedError
        If the reply is not that range.
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
