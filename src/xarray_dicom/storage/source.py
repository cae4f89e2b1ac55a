"""The one face that storage has: bytes of an object, by range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from xarray_dicom.storage.pace import Pace


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one version of an object from another.

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
    """The first bytes of an object together with its fingerprint."""

    fingerprint: Fingerprint
    content: bytes


@runtime_checkable
class ByteSource(Protocol):
    """An object in some store, read by byte range.

    Every coroutine may be awaited on the runtime's event loop only
    (`xarray_dicom.runtime`); nothing in it blocks that loop. A range is
    ``(offset, length)`` in bytes, and comes back whole or not at all: a short or failed
    read raises. A missing object raises `FileNotFoundError`, a forbidden one
    `PermissionError`, a replaced one `SourceChangedError`.
    """

    @property
    def location(self) -> str:
        """Where the object lies, fit to be shown: no query string, no secret."""
        ...

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The version that reads insist on; None until `open` has been awaited."""
        ...

    @property
    def identity(self) -> str | None:
        """What names the object in every process; may hold secrets, so it is only ever hashed.

        None for what lies in this process alone.
        """
        ...

    @property
    def immediate(self) -> bool:
        """True if answers need no waiting for a network."""
        ...

    @property
    def pace(self) -> Pace:
        """How reads are best divided into requests."""
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
