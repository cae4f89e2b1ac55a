"""A source that records the requests made of it."""

from __future__ import annotations

from collections.abc import Sequence

from xarray_dicom.storage.read_merged import read_merged
from xarray_dicom.storage.request_sizing import RequestSizing
from xarray_dicom.storage.source import ByteSource, Fingerprint, Head


class RecordingSource:
    """Wrapper of any source, with a list of its requests.

    Parameters
    ----------
    source
        The source that does the reading.

    Attributes
    ----------
    requests
        ``(offset, length)`` in bytes of each request made, merged ones as one, in the
        order they were started; `open` counts as one request of the bytes it returned.
    verifications
        Number of times that `verify` was awaited.
    """

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.requests: list[tuple[int, int]] = []
        self.verifications = 0

    def __repr__(self) -> str:
        return f"RecordingSource({self.source!r})"

    def __reduce__(self) -> tuple[type[RecordingSource], tuple[ByteSource]]:
        return type(self), (self.source,)

    @property
    def location(self) -> str:
        """Place of the wrapped source."""
        return self.source.location

    @property
    def url(self) -> str | None:
        """URL of the wrapped source."""
        return self.source.url

    @property
    def immediate(self) -> bool:
        """True if the wrapped source answers without a network."""
        return self.source.immediate

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Version pinned by the wrapped source."""
        return self.source.fingerprint

    @property
    def bytes_read(self) -> int:
        """Bytes of all requests together."""
        return sum(length for _, length in self.requests)

    def clear(self) -> None:
        """Forget the requests made so far."""
        self.requests.clear()
        self.verifications = 0

    @property
    def identity(self) -> str | None:
        """Identity of the wrapped source."""
        return self.source.identity

    @property
    def request_sizing(self) -> RequestSizing:
        """Sizing of the wrapped source."""
        return self.source.request_sizing

    async def open(self, length: int) -> Head:
        """Open the wrapped source."""
        head = await self.source.open(length)
        self.requests.append((0, len(head.content)))
        return head

    async def read(self, offset: int, length: int) -> bytes:
        """Read from the wrapped source; no bytes are no request."""
        if length:
            self.requests.append((offset, length))
        return await self.source.read(offset, length)

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Merge `ranges` as the wrapped source would, and read each request."""
        return await read_merged(self, ranges)

    async def verify(self) -> None:
        """Verify the wrapped source."""
        self.verifications += 1
        await self.source.verify()
