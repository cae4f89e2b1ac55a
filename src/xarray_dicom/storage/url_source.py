"""An object in anything that fsspec reaches."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from xarray_dicom.errors import (
    DicomError,
    UnsupportedDicomError,
)
from xarray_dicom.runtime import Runtime, enter_loop, runtime
from xarray_dicom.storage.clients.base import (
    RangesUnsupportedError,
    Reply,
    Store,
    TruncatedBodyError,
    require_inside,
    require_same,
)
from xarray_dicom.storage.clients.filesystems import store_of
from xarray_dicom.storage.pace import Pace
from xarray_dicom.storage.read_merged import read_merged
from xarray_dicom.storage.request_sizing import Link, link_to, pace_without_link
from xarray_dicom.storage.source import Fingerprint, Head
from xarray_dicom.storage.url import display, identity_of, protocol_of, split_link, with_suffix

#: Requests made for a range whose reply breaks off; clients retry all else themselves.
ATTEMPTS = 3


class FsspecSource:
    """An object at a URL, read by conditional ranged requests.

    Pickles to its URL, storage options (with whatever secrets they hold) and
    fingerprint: the same bytes however much has been read. Filesystems are made where
    they are needed, once per process.

    Parameters
    ----------
    url
        URL of any fsspec protocol, chain, or a local path.
    storage_options
        Keywords of the filesystem; for a chain keyed by protocol, as in fsspec.
    fingerprint
        The version to insist on.
    listed
        The version that a listing has just told: a hint, which isn't pickled.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        fingerprint: Fingerprint | None = None,
        *,
        listed: Fingerprint | None = None,
    ) -> None:
        if protocol_of(url) in ("file", "local") and not split_link(url)[1]:
            url = _absolute(url)
        self.url = url
        self.storage_options = dict(storage_options or {})
        self.listed = listed
        self._fingerprint = fingerprint
        self._bound: tuple[Runtime, Store] | None = None
        self._linked: tuple[Runtime, Link | None] | None = None

    def __reduce__(
        self,
    ) -> tuple[type[FsspecSource], tuple[str, dict[str, Any], Fingerprint | None]]:
        return type(self), (self.url, self.storage_options, self._fingerprint)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FsspecSource):
            return NotImplemented
        return (self.url, self.storage_options, self._fingerprint) == (
            other.url,
            other.storage_options,
            other._fingerprint,
        )

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"FsspecSource({self.location!r})"

    @property
    def location(self) -> str:
        """The URL without query strings and credentials."""
        return display(self.url)

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The version that reads insist on; None until opened."""
        return self._fingerprint

    @property
    def identity(self) -> str | None:
        """The URL without signatures, and the address of the server if options have one."""
        return identity_of(self.url, self.storage_options)

    @property
    def immediate(self) -> bool:
        """True if answers need no waiting for a network."""
        return protocol_of(self.url) in ("file", "local", "memory") and not split_link(self.url)[1]

    @property
    def pace(self) -> Pace:
        """What this process has found best for the server."""
        link = self._link()
        return pace_without_link(self.url) if link is None else link.pace

    def beside(self, suffix: str) -> FsspecSource:
        """The object whose URL has `suffix` appended to its path."""
        return FsspecSource(with_suffix(self.url, suffix), self.storage_options)

    def pin_listed(self, known: Fingerprint) -> bool:
        """Pin `known` without a request, if it is the version that the listing told.

        A listing alone is never enough: not every store spells versions there as it does in
        its replies, so `known` must come from a reply.

        Returns
        -------
        bool
            Whether `known` is pinned now.
        """
        if self._fingerprint is None and known.version and known == self.listed:
            self._fingerprint = known
        return self._fingerprint == known

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
        # A request for no bytes would ask for all of them.
        reply = await self._get(0, max(1, length))
        found = reply.fingerprint or self._fingerprint
        if found is None:
            raise OSError(f"{self.location}: the store doesn't tell how long the object is")
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
        if self._fingerprint is None:
            await self.open(0)
        if self._fingerprint is not None:
            require_inside(self.location, self._fingerprint.size, offset, length)
        if not length:
            return b""
        return (await self._get(offset, length)).content

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Fetch several ranges concurrently, in the order given, merging what lies close."""
        if self._fingerprint is None:
            await self.open(0)
        return await read_merged(self, ranges)

    async def verify(self) -> None:
        """Compare the version with that in the store, where replies don't tell it."""
        if self._fingerprint is None:
            return
        if not self.immediate:
            await enter_loop()
        with self.errors_named("the version"):
            found = await (await self._store()).stat()
        if found is not None:
            require_same(self.location, self._fingerprint, found)

    async def _store(self) -> Store:
        current = runtime()
        if self._bound is None or self._bound[0] is not current:
            try:
                store = await store_of(self.url, self.storage_options)
            except (TypeError, ValueError) as error:
                if isinstance(error, DicomError):
                    raise
                raise DicomError(
                    f"{self.location}: no filesystem can be made of this URL and its "
                    f"storage_options: {self._told_by(error)}"
                ) from error
            self._bound = current, store
        return self._bound[1]

    def _link(self) -> Link | None:
        current = runtime()
        if self._linked is None or self._linked[0] is not current:
            self._linked = current, link_to(self.url, self.storage_options)
        return self._linked[1]

    async def _timed(self, store: Store, offset: int, length: int) -> Reply:
        """One request, from which the link learns."""
        link = self._link()
        if link is None:
            return await store.get(offset, length, self._fingerprint)
        began, came = link.began(), 0
        try:
            reply = await store.get(offset, length, self._fingerprint)
            came = len(reply.content)
            return reply
        finally:
            link.ended(began, came)

    async def _get(self, offset: int, length: int) -> Reply:
        """One request, and another one if its reply breaks off."""
        if not self.immediate:
            await enter_loop()
        what = f"bytes {offset} to {offset + length}"
        failure = ""
        with self.errors_named(what):
            store = await self._store()
            for _ in range(ATTEMPTS):
                try:
                    reply = await self._timed(store, offset, length)
                except TruncatedBodyError as error:
                    failure = self._told_by(error)
                    continue
                except (FileNotFoundError, PermissionError, RangesUnsupportedError):
                    raise
                except Exception:
                    # Bytes of a replaced object may not even be an archive any more.
                    await self.verify()
                    raise
                found = reply.fingerprint or self._fingerprint
                if found is None:
                    raise OSError("the store doesn't tell how long the object is")
                require_same(self.location, self._fingerprint, found)
                expected = max(0, min(length, found.size - offset))
                if len(reply.content) == expected:
                    return reply
                failure = f"{len(reply.content)} bytes came instead of {expected}"
            await self.verify()
            raise OSError(f"in {ATTEMPTS} attempts the reply broke off ({failure})")

    def _told_by(self, error: BaseException) -> str:
        """What `error` says, without the secrets of the URL."""
        text = str(error).replace(self.url, self.location)
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    @contextmanager
    def errors_named(self, what: str) -> Iterator[None]:
        """Turn what clients raise into errors that name the object."""
        try:
            yield
        except (DicomError, ImportError):
            raise
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "no such object", self.location) from error
        except IsADirectoryError as error:
            raise IsADirectoryError(errno.EISDIR, "a folder, not an object", self.location) from (
                error
            )
        except PermissionError as error:
            reason = f"access is refused ({self._told_by(error)})"
            raise PermissionError(errno.EACCES, reason, self.location) from error
        except RangesUnsupportedError as error:
            raise UnsupportedDicomError(
                f"{self.location}: the server doesn't send byte ranges ({error}); download the "
                "object, or put 'simplecache::' before its URL"
            ) from error
        except Exception as error:
            raise OSError(
                f"{self.location}: {what} could not be read: {self._told_by(error)}"
            ) from error


def _absolute(url: str) -> str:
    strip: Any = LocalFileSystem._strip_protocol
    path: str = strip(url)
    return path
