"""Bytes of an object, by range: the only face that storage shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from xarray_dicom.storage.request_sizing import RequestSizing


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Size and version of an object, equal only for the same version of it.

    Attributes
    ----------
    size
        Bytes in the object.
    version
        ETag, generation or modification time, spelled with its kind (``"etag:…"``,
        ``"generation:…"``, ``"mtime:…"``); empty where the store has none.
    """

    size: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """First bytes of an object together with its fingerprint."""

    fingerprint: Fingerprint
    content: bytes


@runtime_checkable
class ByteSource(Protocol):
    """An object in some store, read by byte range.

    Coroutines of an `immediate` source may be driven anywhere; others go on on the runtime's
    event loop (`xarray_dicom.runtime.enter_loop`), which nothing in them blocks. A range is
    ``(offset, length)`` in bytes, and comes back whole or not at all: a short or failed
    read raises. A missing object raises `FileNotFoundError`, a forbidden one
    `PermissionError`, a replaced one `SourceChangedError`.
    """

    @property
    def location(self) -> str:
        """Place of the object, fit to be shown: no query string, no secret."""
        ...

    @property
    def url(self) -> str | None:
        """URL of the object, with whatever secrets it has; None for an object without one."""
        ...

    @property
    def immediate(self) -> bool:
        """True where the object answers without a network: driven by plain calls then."""
        ...

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Version that reads insist on; None until `open` has been awaited."""
        ...

    @property
    def identity(self) -> str | None:
        """Name of the object in every process; may hold secrets, so it is only ever hashed.

        None for an object in this process alone.
        """
        ...

    @property
    def request_sizing(self) -> RequestSizing:
        """Best division of reads into requests."""
        ...

    async def open(self, length: int) -> Head:
        """Fetch up to `length` first bytes (fewer if the object is shorter) and pin the version."""
        ...

    async def read(self, offset: int, length: int) -> bytes:
        """Fetch exactly `length` bytes from `offset`."""
        ...

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Fetch several ranges concurrently, in the order given, merging what lies close."""
        ...

    async def verify(self) -> None:
        """Raise `SourceChangedError` if the object is not the version pinned.

        Awaited once after the last range of every read; costs nothing where each
        read is already conditional.
        """
        ...
