"""A cache of checksummed blobs, one for each object; what is in them, others know."""

from __future__ import annotations

import os
import threading
import warnings
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import platformdirs
from fsspec.implementations.local import LocalFileSystem

from xarray_dicom.errors import DicomError, DicomWarning
from xarray_dicom.index_cache.checksummed import seal, unseal
from xarray_dicom.index_cache.local_folder import Folder
from xarray_dicom.index_cache.remote import Beside, Remote
from xarray_dicom.runtime import runtime
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.storage.url import URL
from xarray_dicom.storage.url_source import URLSource

#: Says which cache is used where none is asked for.
PLACE = "XARRAY_DICOM_INDEX_CACHE"

#: Says how many bytes a folder of blobs may hold.
SIZE = "XARRAY_DICOM_INDEX_CACHE_SIZE"

LIMIT = 2**30

#: What users call a cache that lies beside the objects.
SIDECAR = "sidecar"

#: How the environment spells what is no place.
SPELLED = {"": True, "on": True, "1": True, "true": True} | {
    "off": False,
    "0": False,
    "false": False,
}

#: What `index_cache=` takes.
Choice = bool | str | os.PathLike[str] | None

_lock = threading.Lock()
_told: set[str] = set()


class Shelf(Protocol):
    """Where sealed blobs lie. Both verbs raise what the store raises."""

    @property
    def is_far(self) -> bool:
        """Whether looking for a blob costs a request."""
        ...

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """The blob of this name, or of this object."""
        ...

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Put the blob in place, whole or not at all."""
        ...


class BlobCache:
    """What is kept of objects from one process to the next.

    Parameters
    ----------
    shelf
        Where the blobs lie.
    named
        What the user called it: a cache that was asked for and can't be written is worth a
        warning. None for the one that everybody has.
    required
        Whether what can't be kept is an error: so it is for whoever came to keep it.
    """

    def __init__(self, shelf: Shelf, named: str | None = None, *, required: bool = False) -> None:
        self.shelf = shelf
        self.named = named
        self.required = required

    @property
    def is_far(self) -> bool:
        """Whether looking for a blob costs a request."""
        return self.shelf.is_far

    async def get(self, source: ByteSource) -> bytes | None:
        """What was put for `source`, whole; None if there is nothing, or nothing sound."""
        name = blob_name(source)
        if name is None:
            return None
        try:
            sealed = await self.shelf.read(name, source)
        except Exception:
            # A cache may be missing, forbidden or damaged: opening goes on without it.
            return None
        return None if sealed is None else unseal(sealed)

    async def put(self, source: ByteSource, blob: bytes) -> None:
        """Keep `blob` for `source`.

        Raises
        ------
        OSError
            If that is required, and impossible.

        Warns
        -----
        DicomWarning
            Once in a process, if the user asked for this cache and it can't be written.
        """
        name = blob_name(source)
        if name is None:
            return
        try:
            await self.shelf.write(name, source, seal(blob))
        except Exception as error:
            if self.required:
                raise
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if self.named is None:
            return
        with _lock:
            if self.named in _told:
                return
            _told.add(self.named)
        warnings.warn(
            f"the index cache {self.named} can't be written, so what opening finds is not kept: "
            f"{type(error).__name__}: {error}",
            DicomWarning,
            stacklevel=2,
        )


def blob_name(source: ByteSource) -> str | None:
    """Name of the blob of an object, which gives nothing away; None if it can have none."""
    identity = source.identity
    if identity is None:
        return None
    return blake2b(identity.encode(errors="surrogatepass"), digest_size=20).hexdigest()


def cache_for(source: ByteSource, choice: Choice = None) -> BlobCache | None:
    """The cache that a user asked for.

    Parameters
    ----------
    source
        One of the objects. A cache in a store of the same protocol gets the same storage
        options, another one none.
    choice
        A folder or URL; True for this user's own, False for none, ``"sidecar"`` for blobs
        beside the objects, which are then read but not written. None leaves it to the
        environment variable ``XARRAY_DICOM_INDEX_CACHE``, which is spelled alike, else it is
        this user's own.

    Raises
    ------
    DicomError
        If ``XARRAY_DICOM_INDEX_CACHE_SIZE`` is no number of bytes.
    """
    if choice is None:
        choice = _by_environment()
    if choice is False:
        return None
    if choice is True:
        own = platformdirs.user_cache_path("xarray-dicom", appauthor=False) / "instances"
        # Without a home there is no place for it.
        return _in_folder(own) if own.is_absolute() else None
    place = os.fspath(choice)
    if place == SIDECAR:
        return BlobCache(Beside())
    url = URL.parse(place)
    if url.is_local:
        strip: Any = LocalFileSystem._strip_protocol
        return _in_folder(Path(strip(place)), place)
    return BlobCache(Remote(place, _options(url, source)), url.display())


def cache_to_fill(source: ByteSource, choice: Choice = None) -> BlobCache:
    """The cache that a user wants filled; arguments as `cache_for`.

    Raises
    ------
    DicomError
        If there is none.
    """
    if choice == SIDECAR:
        return BlobCache(Beside(writes=True), required=True)
    cache = cache_for(source, choice)
    if cache is None:
        raise DicomError(f"there is no index cache to fill: name one, or see to {PLACE} and {SIZE}")
    return BlobCache(cache.shelf, required=True)


def _by_environment() -> bool | str:
    stated = os.environ.get(PLACE, "").strip()
    return SPELLED.get(stated.lower(), stated)


def _options(url: URL, source: ByteSource) -> dict[str, Any]:
    if not isinstance(source, URLSource) or url.is_chain or source.parsed_url.is_chain:
        return {}
    return source.storage_options if url.protocol == source.parsed_url.protocol else {}


def _in_folder(path: Path, named: str | None = None) -> BlobCache | None:
    limit = _limit()
    if not limit:
        return None
    # One for all opens, as it knows how much room there is.
    folder = runtime().shared(("blobs", path, limit), lambda: Folder(path, limit))
    return BlobCache(folder, named)


def _limit() -> int:
    stated = os.environ.get(SIZE, "").strip()
    if not stated:
        return LIMIT
    if not stated.isdecimal():
        raise DicomError(f"{SIZE} is {stated!r}: give a number of bytes")
    return int(stated)
