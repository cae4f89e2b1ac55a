"""A deflated data set as a source of its inflated bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing.header import read_header
from xarray_dicom.runtime import runtime
from xarray_dicom.storage.request_sizing import RequestSizing
from xarray_dicom.storage.source import ByteSource, Fingerprint, Head
from xarray_dicom.warn import silenced


class InflatedSource:
    """The inflated data set of a deflated object (PS3.5 A.5), as if it lay in a store.

    There is no way into the middle of a deflate stream, so the whole object is kept
    inflated; an unpickled source fetches and inflates it once more when it is first read.

    Parameters
    ----------
    source
        The deflated object.
    content
        Its inflated data set, when known.
    size
        Bytes of the inflated data set, when `content` isn't given.
    """

    def __init__(self, source: ByteSource, content: bytes | None = None, size: int = 0) -> None:
        self.source = source
        self._content = content
        self._size = size if content is None else len(content)
        self._fetching: asyncio.Task[bytes] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return InflatedSource, (self.source, None, self._size)

    @property
    def location(self) -> str:
        """Where the deflated object lies."""
        return self.source.location

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The object's version, with the size of its inflated data set."""
        found = self.source.fingerprint
        return None if found is None else Fingerprint(self._size, found.version)

    @property
    def identity(self) -> str | None:
        """What names the deflated object."""
        return self.source.identity

    @property
    def url(self) -> str | None:
        """URL of the deflated object."""
        return self.source.url

    @property
    def immediate(self) -> bool:
        """True if answers need no waiting for a network."""
        return self.source.immediate

    @property
    def request_sizing(self) -> RequestSizing:
        """Sizing of the deflated object."""
        return self.source.request_sizing

    async def open(self, length: int) -> Head:
        """Open the object and give the first inflated bytes."""
        content = await self._inflated()
        return Head(Fingerprint(len(content)), content[:length])

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` inflated bytes from `offset`."""
        content = await self._inflated()
        if offset < 0 or offset + length > len(content):
            raise CorruptDicomError(
                f"{self.location}: bytes {offset} to {offset + length} lie outside the inflated "
                f"data set of {len(content)} bytes"
            )
        return content[offset : offset + length]

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several ranges, in the order given."""
        return [await self.read(offset, length) for offset, length in ranges]

    async def verify(self) -> None:
        """Raise `SourceChangedError` if the object was replaced."""
        await self.source.verify()

    async def _inflated(self) -> bytes:
        if self._content is None and not runtime().on_loop():
            self._content = await self._fetch()
        if self._content is None:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.ensure_future(self._fetch())
            self._content = await asyncio.shield(self._fetching)
            self._fetching = None
        return self._content

    async def _fetch(self) -> bytes:
        with silenced():
            header = await read_header(self.source)
        if header.inflated is None or len(header.inflated) != self._size:
            raise CorruptDicomError(
                f"{self.location}: the data set inflates differently than before"
            )
        return header.inflated
