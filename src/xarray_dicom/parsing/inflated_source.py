"""A deflated data set as a source of its inflated bytes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing.header import read_header
from xarray_dicom.runtime import wait_for
from xarray_dicom.storage.request_sizing import RequestSizing
from xarray_dicom.storage.source import ByteSource, Fingerprint, Head
from xarray_dicom.warn import silenced


class InflatedSource:
    """The inflated data set of a deflated object (PS3.5 A.5), as if it lay in a store.

    A deflate stream can't be entered in the middle, so the whole data set is held in memory;
    an unpickled source fetches and inflates it once more when it is first read.

    Parameters
    ----------
    source
        The deflated object.
    content
        Its inflated data set, when that is at hand.
    size
        Bytes of the inflated data set, when `content` isn't given.
    """

    def __init__(self, source: ByteSource, content: bytes | None = None, size: int = 0) -> None:
        self.source = source
        self._content = content
        self._size = size if content is None else len(content)
        self._lock = threading.Lock()
        self._inflating: Future[None] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return InflatedSource, (self.source, None, self._size)

    @property
    def location(self) -> str:
        """URL or path of the deflated object, fit to be shown."""
        return self.source.location

    @property
    def url(self) -> str | None:
        """URL of the deflated object; None for an object without one."""
        return self.source.url

    @property
    def immediate(self) -> bool:
        """True where reads need no network: the data set is inflated, or its object local."""
        return self._content is not None or self.source.immediate

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Version of the object, with the size of its inflated data set."""
        pinned = self.source.fingerprint
        return None if pinned is None else Fingerprint(self._size, pinned.version)

    @property
    def identity(self) -> str | None:
        """Name of the deflated object in every process."""
        return self.source.identity

    @property
    def request_sizing(self) -> RequestSizing:
        """Request sizing of the deflated object."""
        return self.source.request_sizing

    async def open(self, length: int) -> Head:
        """Open the object and return up to `length` first inflated bytes."""
        content = await self._inflated()
        return Head(Fingerprint(len(content)), content[:length])

    async def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` inflated bytes from `offset`.

        Raises
        ------
        CorruptDicomError
            If there are fewer.
        """
        return self._part(await self._inflated(), offset, length)

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several ranges of inflated bytes, in the order given."""
        content = await self._inflated()
        return [self._part(content, offset, length) for offset, length in ranges]

    async def verify(self) -> None:
        """Raise `SourceChangedError` if the object was replaced."""
        await self.source.verify()

    def _part(self, content: bytes, offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > len(content):
            raise CorruptDicomError(
                f"bytes {offset} to {offset + length} lie outside the inflated data set of "
                f"{len(content)} bytes",
                location=self.location,
            )
        return content[offset : offset + length]

    async def _inflated(self) -> bytes:
        """Return the data set, fetched and inflated once for all threads and tasks."""
        while self._content is None:
            with self._lock:
                if self._content is not None:
                    break
                running = self._inflating
                if running is None:
                    started = self._inflating = Future()
                    # A running future can't be cancelled by a task that waits for it.
                    started.set_running_or_notify_cancel()
            if running is None:
                await self._inflate(started)
            else:
                await wait_for(running)
        return self._content

    async def _inflate(self, started: Future[None]) -> None:
        """Fetch and inflate, and let those who wait for `started` go on or fail alike."""
        failure: Exception | None = None
        try:
            self._content = await self._fetch()
        except Exception as error:
            failure = error
            raise
        finally:
            # After a cancellation, the next one that waits fetches.
            with self._lock:
                self._inflating = None
            if failure is None:
                started.set_result(None)
            else:
                started.set_exception(failure)

    async def _fetch(self) -> bytes:
        with silenced():
            header = await read_header(self.source)
        if header.inflated is None or len(header.inflated) != self._size:
            raise CorruptDicomError(
                "the data set inflates differently than before", location=self.location
            )
        return header.inflated
