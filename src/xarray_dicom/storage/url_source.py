"""An object in anything that fsspec reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from xarray_dicom.errors import DicomError, located
from xarray_dicom.runtime import Runtime, enter_loop, runtime
from xarray_dicom.storage.clients.base import ObjectClient, Reply
from xarray_dicom.storage.clients.select import client_of, is_immediate
from xarray_dicom.storage.read_merged import read_merged
from xarray_dicom.storage.request_sizing import (
    ConnectionMeter,
    RequestSizing,
    meter_for,
    sizing_without_meter,
)
from xarray_dicom.storage.source import Fingerprint, Head
from xarray_dicom.storage.url import URL, local_path
from xarray_dicom.storage.wrappers.error_names import (
    ErrorNamingClient,
    describe,
    errors_named,
    range_name,
)
from xarray_dicom.storage.wrappers.retry import RetryingClient
from xarray_dicom.storage.wrappers.timing import TimedClient
from xarray_dicom.storage.wrappers.version_pin import (
    VersionPinningClient,
    require_inside,
    require_same,
)


class URLSource:
    """An object at a URL, read by conditional ranged requests.

    Pickles to its URL, storage options (with whatever secrets they hold) and
    fingerprint: the same bytes however much has been read. Filesystems are made where
    they are needed, once per process. Several threads may read at the same time.

    Parameters
    ----------
    url
        URL of any fsspec protocol, chain, or a local path.
    storage_options
        Keywords of the filesystem; for a chain keyed by protocol, as in fsspec.
    fingerprint
        The version to insist on.
    listed
        The version in a listing that was just made: a hint, which isn't pickled.

    Attributes
    ----------
    parsed_url
        The URL; local paths are absolute in it.
    location
        The URL without query strings and credentials.
    immediate
        True for a file of this machine, an object in memory, and a chain that ends in one.
    """

    def __init__(
        self,
        url: str | URL,
        storage_options: Mapping[str, Any] | None = None,
        fingerprint: Fingerprint | None = None,
        *,
        listed: Fingerprint | None = None,
    ) -> None:
        parsed = url if isinstance(url, URL) else URL.parse(url)
        self.parsed_url = _absolute(parsed) if parsed.is_local else parsed
        self.storage_options = dict(storage_options or {})
        self.listed = listed
        self.location = self.parsed_url.display()
        self.immediate = is_immediate(self.parsed_url, self.storage_options)
        self._fingerprint = fingerprint
        self._connected: tuple[Runtime, ObjectClient] | None = None
        self._metered: tuple[Runtime, ConnectionMeter | None] | None = None

    def __reduce__(
        self,
    ) -> tuple[type[URLSource], tuple[str, dict[str, Any], Fingerprint | None]]:
        return type(self), (self.url, self.storage_options, self._fingerprint)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, URLSource):
            return NotImplemented
        return (self.parsed_url, self.storage_options, self._fingerprint) == (
            other.parsed_url,
            other.storage_options,
            other._fingerprint,
        )

    def __hash__(self) -> int:
        return hash(self.parsed_url)

    def __repr__(self) -> str:
        return f"URLSource({self.location!r})"

    @property
    def url(self) -> str:
        """The URL with whatever secrets it has; of a local file, its absolute path."""
        return str(self.parsed_url)

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Version that reads insist on; None until opened."""
        return self._fingerprint

    @property
    def identity(self) -> str | None:
        """The URL without signatures, and the address of the server if options have one."""
        return self.parsed_url.identity(self.storage_options)

    @property
    def request_sizing(self) -> RequestSizing:
        """Sizing that this process has found best for the server."""
        meter = self._meter()
        return sizing_without_meter(self.parsed_url) if meter is None else meter.request_sizing

    def sibling(self, suffix: str) -> URLSource:
        """Return the object whose URL has `suffix` appended to its path."""
        return URLSource(self.parsed_url.sibling(suffix), self.storage_options)

    def pin_listed(self, version: Fingerprint) -> bool:
        """Pin a version without a request, if it is the one in the listing.

        A listing alone is never enough: not every store spells versions there as it does in
        its replies, so `version` must come from a reply.

        Returns
        -------
        bool
            True if `version` is pinned now.
        """
        if self._fingerprint is None and version.version and version == self.listed:
            self._fingerprint = version
        return self._fingerprint == version

    async def open(self, length: int) -> Head:
        """Fetch up to `length` first bytes and pin the version, in one request.

        Raises
        ------
        FileNotFoundError, PermissionError, IsADirectoryError
            If there is no object, or none for us.
        UnsupportedDicomError
            If the server sends no byte ranges.
        SourceChangedError
            If the source was pinned already, to another version.
        """
        if not self.immediate:
            await enter_loop()
        with located(self.location):
            # A request for no bytes would ask for all of them.
            reply = await self._get(0, max(1, length))
            found = reply.fingerprint
            assert found is not None
            # Another thread may have pinned a version meanwhile.
            require_same(self._fingerprint, found)
            self._fingerprint = found
            return Head(found, reply.content[:length])

    async def read(self, offset: int, length: int) -> bytes:
        """Fetch exactly `length` bytes from `offset`.

        Raises
        ------
        CorruptDicomError
            If the range ends past the object.
        SourceChangedError
            If the object is not the version pinned.
        OSError
            If the bytes did not come, or not all of them.
        """
        if not self.immediate:
            await enter_loop()
        pinned = self._fingerprint or (await self.open(0)).fingerprint
        with located(self.location):
            require_inside(pinned.size, offset, length)
            if not length:
                return b""
            return (await self._get(offset, length)).content

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Fetch several ranges concurrently, in the order given, merging what lies close."""
        if not self.immediate:
            await enter_loop()
        if self._fingerprint is None:
            await self.open(0)
        return await read_merged(self, ranges)

    async def verify(self) -> None:
        """Compare the version with that in the store, where replies don't have it."""
        if self._fingerprint is None:
            return
        if not self.immediate:
            await enter_loop()
        with located(self.location):
            client = self._client() or await self._connect("the version")
            found = await client.stat()
            if found is not None:
                require_same(self._fingerprint, found)

    def errors_named(self, subject: str) -> AbstractContextManager[None]:
        """Turn what clients raise in a block into errors that name the object.

        Parameters
        ----------
        subject
            What the block reads or writes, for the text of the error.
        """
        return errors_named(self.parsed_url, subject)

    async def _get(self, offset: int, length: int) -> Reply:
        client = self._client() or await self._connect(range_name(offset, length))
        return await client.get(offset, length, self._fingerprint)

    def _client(self) -> ObjectClient | None:
        """Return the client that this process has made for the object, if it has."""
        connected = self._connected
        return connected[1] if connected and connected[0] is runtime() else None

    async def _connect(self, subject: str) -> ObjectClient:
        """Make the client: requests are timed, repeated, held to one version, errors named."""
        url, current = self.parsed_url, runtime()
        with self.errors_named(subject):
            try:
                client = await client_of(url, self.storage_options)
            except (TypeError, ValueError) as error:
                if isinstance(error, DicomError):
                    raise
                raise DicomError(
                    "no filesystem can be made of this URL and its storage_options: "
                    f"{describe(error, url)}"
                ) from error
        meter = self._meter()
        if meter is not None:
            client = TimedClient(client, meter)
        client = ErrorNamingClient(VersionPinningClient(RetryingClient(client)), url)
        self._connected = current, client
        return client

    def _meter(self) -> ConnectionMeter | None:
        current = runtime()
        if self._metered is None or self._metered[0] is not current:
            self._metered = current, meter_for(self.parsed_url, self.storage_options)
        return self._metered[1]


def _absolute(url: URL) -> URL:
    path = local_path(url)
    return url if path == url.links[0].text else URL.of_file(path)
