"""Entries in object stores: below a URL, or as sidecars next to the objects."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from xarray_dicom.index_cache.checksummed import ENTRY_SUFFIX, stored_size
from xarray_dicom.index_cache.local_folder import write_atomically
from xarray_dicom.runtime import enter_loop, in_thread
from xarray_dicom.storage.clients.filesystems import filesystem_of
from xarray_dicom.storage.clients.generic import is_asynchronous
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.storage.url import URL
from xarray_dicom.storage.url_source import URLSource

#: Bytes of the first request, which fetches nearly every entry whole.
FIRST_REQUEST = 256 * 2**10


class RemoteFolder:
    """Entries below a URL. None is ever evicted: the expiration rules of the store do that.

    Parameters
    ----------
    url, storage_options
        As of an object.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self.url = url
        self.storage_options = storage_options

    def answers_at_once(self, source: ByteSource) -> bool:
        """Return False: a lookup costs a request."""
        return False

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """Read the entry of this name."""
        return await _read(self._object(name))

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Write the entry of this name."""
        await _write(self._object(name), content)

    def _object(self, name: str) -> URLSource:
        suffix = f"/{name[:2]}/{name[2:]}{ENTRY_SUFFIX}"
        return URLSource(URL.parse(_without_slash(self.url)).sibling(suffix), self.storage_options)


class Sidecars:
    """Entries next to the objects, as ``<object>.xdi``.

    Parameters
    ----------
    writable
        Write entries, which merely opening an object does not do: nobody expects files in a
        bucket from reading it.
    """

    def __init__(self, *, writable: bool = False) -> None:
        self.writable = writable

    def answers_at_once(self, source: ByteSource) -> bool:
        """Return True for an object whose neighbours are read without waiting."""
        return source.immediate

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """Read the sidecar of `source`."""
        sidecar = _sidecar(source)
        return None if sidecar is None else await _read(sidecar)

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Write the sidecar of `source`, if sidecars are writable."""
        sidecar = _sidecar(source)
        if sidecar is not None and self.writable:
            await _write(sidecar, content)


def _sidecar(source: ByteSource) -> URLSource | None:
    return source.sibling(ENTRY_SUFFIX) if isinstance(source, URLSource) else None


def _without_slash(url: str) -> str:
    first, _, rest = url.partition("::")
    path, mark, query = first.partition("?")
    return f"{path.rstrip('/')}{mark}{query}" + (f"::{rest}" if rest else "")


async def _read(entry: URLSource) -> bytes | None:
    if not entry.immediate:
        await enter_loop()
    head = await entry.open(FIRST_REQUEST)
    if stored_size(head.content) != head.fingerprint.size:
        return None
    start = len(head.content)
    rest = await entry.read(start, head.fingerprint.size - start)
    return head.content + rest


async def _write(entry: URLSource, content: bytes) -> None:
    with entry.errors_named("the entry of the index cache"):
        if not entry.immediate:
            await enter_loop()
        filesystem, path = await filesystem_of(entry.parsed_url, entry.storage_options)
        if entry.parsed_url.is_local:
            await in_thread(write_atomically, path, content, 0o666)
            return
        try:
            await _pipe(filesystem, path, content)
        except FileNotFoundError:
            # Stores with folders need them made first.
            await _call(filesystem, "makedirs", posixpath.dirname(path), exist_ok=True)
            await _pipe(filesystem, path, content)


async def _pipe(filesystem: Any, path: str, content: bytes) -> None:
    await _call(filesystem, "pipe_file", path, content)


async def _call(filesystem: Any, verb: str, *args: Any, **keywords: Any) -> None:
    if is_asynchronous(filesystem):
        await getattr(filesystem, f"_{verb}")(*args, **keywords)
    else:
        await in_thread(lambda: getattr(filesystem, verb)(*args, **keywords))
