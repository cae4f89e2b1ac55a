"""Any fsspec filesystem, through the calls that all of them have."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

from xarray_dicom.runtime import gather, in_thread
from xarray_dicom.storage.clients.base import Reply
from xarray_dicom.storage.source import Fingerprint

T = TypeVar("T")

#: Keys of the version of an object in what `info` returns, surest first, with its kind.
_VERSION_KEYS = (
    ("generation", "generation"),
    ("ETag", "etag"),
    ("etag", "etag"),
    ("mtime", "mtime"),
    ("LastModified", "mtime"),
    ("last_modified", "mtime"),
    ("modified", "mtime"),
    ("updated", "mtime"),
    ("date_time", "mtime"),
    ("created", "mtime"),
)


class GenericClient:
    """An object read with ``cat_file``; its version is what ``info`` says.

    Parameters
    ----------
    filesystem
        An fsspec filesystem.
    path
        Path of the object in it.
    lock
        Held while bytes are read, for filesystems that mix up the reads of several threads.
    """

    def __init__(
        self, filesystem: Any, path: str, lock: AbstractContextManager[Any] | None = None
    ) -> None:
        self.filesystem = filesystem
        self.path = path
        self.lock = lock

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch a range; the first time together with the version."""
        if pinned is not None:
            return Reply(await self._cat(offset, offset + length), None)
        found, content = await gather(
            [_outcome(self.stat()), _outcome(self._cat(offset, offset + length))]
        )
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, Fingerprint)
        if isinstance(content, Exception):
            # Some refuse a range of an empty object.
            if found.size > offset:
                raise content
            return Reply(b"", found)
        assert isinstance(content, bytes)
        return Reply(content[: max(0, found.size - offset)], found)

    async def stat(self) -> Fingerprint:
        """Size and version from ``info``."""
        entry = await call(self.filesystem, "info", self.path)
        if entry.get("type") == "directory":
            raise IsADirectoryError(self.path)
        return fingerprint_of(entry)

    async def _cat(self, start: int, stop: int) -> bytes:
        if self.lock is not None:
            return await in_thread(self._cat_locked, self.lock, start, stop)
        return bytes(await call(self.filesystem, "cat_file", self.path, start=start, end=stop))

    def _cat_locked(self, lock: AbstractContextManager[Any], start: int, stop: int) -> bytes:
        with lock:
            return bytes(self.filesystem.cat_file(self.path, start=start, end=stop))


async def call(filesystem: Any, verb: str, *args: Any, **keywords: Any) -> Any:
    """Call a method of a filesystem, on the event loop or in a thread, as it was made for.

    Parameters
    ----------
    filesystem
        An fsspec filesystem.
    verb
        Name of the method, such as ``"info"``.
    args, keywords
        Arguments of it.

    Returns
    -------
    object
        Whatever the method returns.
    """
    if is_asynchronous(filesystem):
        return await getattr(filesystem, f"_{verb}")(*args, **keywords)
    return await in_thread(lambda: getattr(filesystem, verb)(*args, **keywords))


def is_asynchronous(filesystem: Any) -> bool:
    """Return True if the coroutines of `filesystem` are awaited on the private loop."""
    return bool(
        getattr(filesystem, "async_impl", False) and getattr(filesystem, "asynchronous", False)
    )


def fingerprint_of(entry: Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint in an entry of ``info``.

    Raises
    ------
    OSError
        If the filesystem doesn't tell the size of the object.
    """
    size = entry.get("size")
    if size is None:
        raise OSError(f"{entry.get('name')!r}: the filesystem doesn't tell its size")
    for key, kind in _VERSION_KEYS:
        if entry.get(key):
            value = entry[key]
            text = value.isoformat() if isinstance(value, datetime) else str(value)
            return Fingerprint(int(size), f"{kind}:{text}")
    return Fingerprint(int(size))


async def _outcome(coroutine: Coroutine[Any, Any, T]) -> T | Exception:
    """Await a coroutine, and return its error in place of raising it."""
    try:
        return await coroutine
    except Exception as error:
        return error
