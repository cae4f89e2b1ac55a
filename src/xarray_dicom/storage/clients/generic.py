"""Any fsspec filesystem, through the calls that all of them have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from xarray_dicom.runtime import in_thread, runtime
from xarray_dicom.storage.clients.base import Reply
from xarray_dicom.storage.source import Fingerprint

#: What filesystems call the version of an object, surest first: key of `info`, our kind.
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


class GenericStore:
    """An object read with ``cat_file`` and told apart by ``info``."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self.filesystem = filesystem
        self.path = path
        self.asynchronous = is_asynchronous(filesystem)

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch a range; the first time together with the version."""
        if pinned is not None:
            return Reply(await self._cat(offset, offset + length), None)
        if not runtime().on_loop():
            found = await self.stat()
            content = await self._cat(offset, offset + length) if offset < found.size else b""
            return Reply(content[: max(0, found.size - offset)], found)
        stat = asyncio.ensure_future(self.stat())
        cat = asyncio.ensure_future(self._cat(offset, offset + length))
        await asyncio.wait([stat, cat])
        cat_error = cat.exception()
        found = await stat
        if cat_error is not None:
            # Some refuse a range of an empty object.
            if found.size > offset:
                raise cat_error
            return Reply(b"", found)
        return Reply(cat.result()[: max(0, found.size - offset)], found)

    async def stat(self) -> Fingerprint:
        """Size and version from ``info``."""
        if self.asynchronous:
            entry = await self.filesystem._info(self.path)
        else:
            entry = await in_thread(self.filesystem.info, self.path)
        if entry.get("type") == "directory":
            raise IsADirectoryError(self.path)
        return fingerprint_of(entry)

    async def _cat(self, start: int, stop: int) -> bytes:
        if self.asynchronous:
            content = await self.filesystem._cat_file(self.path, start=start, end=stop)
        else:
            content = await in_thread(self._cat_in_thread, start, stop)
        return bytes(content)

    def _cat_in_thread(self, start: int, stop: int) -> bytes:
        content: bytes = self.filesystem.cat_file(self.path, start=start, end=stop)
        return content


def is_asynchronous(filesystem: Any) -> bool:
    """Whether the coroutines of `filesystem` are awaited on the private loop."""
    return bool(
        getattr(filesystem, "async_impl", False) and getattr(filesystem, "asynchronous", False)
    )


def fingerprint_of(entry: Mapping[str, Any]) -> Fingerprint:
    """Fingerprint from an entry of ``info``.

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
