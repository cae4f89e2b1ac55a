"""Blobs in object stores: in a place of their own, or each beside its object."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from xarray_dicom.index_cache.checksummed import SUFFIX, sealed_length
from xarray_dicom.index_cache.local_folder import write_whole
from xarray_dicom.runtime import enter_loop, in_thread
from xarray_dicom.storage.clients.filesystems import filesystem_of
from xarray_dicom.storage.clients.generic import is_asynchronous
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.storage.url import URL
from xarray_dicom.storage.url_source import URLSource

#: Bytes of the first request: nearly every blob whole.
FIRST = 256 * 2**10


class Remote:
    """Blobs below a URL. Nothing is ever dropped: the store's own rules of expiry do that.

    Parameters
    ----------
    url, storage_options
        As of an object.
    """

    is_far = True

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self.url = url
        self.storage_options = storage_options

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """The object of this name."""
        return await _fetched(self._object(name))

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Write the object of this name."""
        await _put(self._object(name), content)

    def _object(self, name: str) -> URLSource:
        suffix = f"/{name[:2]}/{name[2:]}{SUFFIX}"
        return URLSource(URL.parse(_without_slash(self.url)).sibling(suffix), self.storage_options)


class Beside:
    """Each blob beside its object, as ``<object>.xdi``.

    Parameters
    ----------
    writes
        Whether blobs are written: nobody wants files in a bucket by merely reading from it.
    """

    is_far = True

    def __init__(self, *, writes: bool = False) -> None:
        self.writes = writes

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """The sidecar of `source`."""
        beside = _beside(source)
        return None if beside is None else await _fetched(beside)

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Write the sidecar of `source`, if that was asked for."""
        beside = _beside(source)
        if beside is not None and self.writes:
            await _put(beside, content)


def _beside(source: ByteSource) -> URLSource | None:
    return source.sibling(SUFFIX) if isinstance(source, URLSource) else None


def _without_slash(url: str) -> str:
    first, _, rest = url.partition("::")
    path, mark, query = first.partition("?")
    return f"{path.rstrip('/')}{mark}{query}" + (f"::{rest}" if rest else "")


async def _fetched(blob: URLSource) -> bytes | None:
    head = await blob.open(FIRST)
    if sealed_length(head.content) != head.fingerprint.size:
        return None
    there = len(head.content)
    rest = await blob.read(there, head.fingerprint.size - there)
    return head.content + rest


async def _put(blob: URLSource, content: bytes) -> None:
    if not blob.immediate:
        await enter_loop()
    with blob.errors_named("the entry of the index cache"):
        filesystem, path = await filesystem_of(blob.parsed_url, blob.storage_options)
        if blob.parsed_url.is_local:
            await in_thread(write_whole, path, content, 0o666)
            return
        try:
            await _pipe(filesystem, path, content)
        except FileNotFoundError:
            # Stores with folders want them made first.
            await _call(filesystem, "makedirs", posixpath.dirname(path), exist_ok=True)
            await _pipe(filesystem, path, content)


async def _pipe(filesystem: Any, path: str, content: bytes) -> None:
    await _call(filesystem, "pipe_file", path, content)


async def _call(filesystem: Any, verb: str, *args: Any, **keywords: Any) -> None:
    if is_asynchronous(filesystem):
        await getattr(filesystem, f"_{verb}")(*args, **keywords)
    else:
        await in_thread(lambda: getattr(filesystem, verb)(*args, **keywords))
