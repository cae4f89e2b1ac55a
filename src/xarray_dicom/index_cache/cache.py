"""Index caches: entries by object, and the cache that a user chose."""

from __future__ import annotations

import os
import threading
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import platformdirs
from fsspec.implementations.local import LocalFileSystem

from xarray_dicom.errors import DicomError
from xarray_dicom.index_cache.checksummed import add_checksum, verified_payload
from xarray_dicom.index_cache.local_folder import LocalFolder
from xarray_dicom.index_cache.remote import RemoteFolder, Sidecars
from xarray_dicom.runtime import runtime
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.storage.url import URL
from xarray_dicom.storage.url_source import URLSource
from xarray_dicom.warn import warn

#: Environment variable with the cache that is used where no `index_cache=` is given.
CACHE_VARIABLE = "XARRAY_DICOM_INDEX_CACHE"

#: Environment variable with the number of bytes that a folder of entries may hold.
SIZE_VARIABLE = "XARRAY_DICOM_INDEX_CACHE_SIZE"

DEFAULT_SIZE_LIMIT = 2**30

#: Value of `index_cache=` for entries next to the objects.
SIDECAR = "sidecar"

#: Values of `CACHE_VARIABLE` that are no place.
_SWITCHES = {"": True, "on": True, "1": True, "true": True} | {
    "off": False,
    "0": False,
    "false": False,
}

#: Values of `index_cache=`.
CacheChoice = bool | str | os.PathLike[str] | None

_lock = threading.Lock()

#: Names of caches whose failure this process has warned of.
_warned: set[str] = set()


class EntryStore(Protocol):
    """Store of checksummed entries. Both coroutines raise what the storage raises."""

    def answers_at_once(self, source: ByteSource) -> bool:
        """Return True if reading the entry of `source` waits for no network."""
        ...

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """Read an entry; the parameters are those of `write`.

        Returns
        -------
        bytes or None
            None if there is no entry, or only a part of one.
        """
        ...

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Put an entry in place, whole or not at all.

        Parameters
        ----------
        name
            What `entry_name` returns for the object.
        source
            The object.
        content
            The entry with its checksum.
        """
        ...


class IndexCache:
    """Entries of objects, shared by processes.

    Parameters
    ----------
    store
        Place of the entries.
    name
        Name that the user gave the cache, shown in a warning if it can't be written. None for
        the default cache, which fails silently.
    required
        Raise where an entry can't be written, as for commands that fill a cache.
    """

    def __init__(self, store: EntryStore, name: str | None = None, *, required: bool = False):
        self.store = store
        self.name = name
        self.required = required

    def answers_at_once(self, source: ByteSource) -> bool:
        """Return True if `get` waits for no network."""
        return self.store.answers_at_once(source)

    async def get(self, source: ByteSource) -> bytes | None:
        """Return the entry of `source`; None if there is none, or a damaged one."""
        name = entry_name(source)
        if name is None:
            return None
        try:
            content = await self.store.read(name, source)
        except Exception:
            # A cache may be missing, forbidden or damaged: the object is opened without it.
            return None
        return None if content is None else verified_payload(content)

    async def put(self, source: ByteSource, entry: bytes) -> None:
        """Store the entry of `source`.

        Raises
        ------
        OSError
            If the cache is `required` and can't be written.

        Warns
        -----
        DicomWarning
            Once in a process, if the user named this cache and it can't be written.
        """
        name = entry_name(source)
        if name is None:
            return
        try:
            await self.store.write(name, source, add_checksum(entry))
        except Exception as error:
            if self.required:
                raise
            self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        if self.name is None:
            return
        with _lock:
            if self.name in _warned:
                return
            _warned.add(self.name)
        warn(
            f"the index cache {self.name} can't be written, so what opening finds is not kept: "
            f"{type(error).__name__}: {error}"
        )


def entry_name(source: ByteSource) -> str | None:
    """Return the name of an object's entry: a hash, which does not reveal the object's address.

    Returns
    -------
    str or None
        Hexadecimal digits; None for an object that lies in this process alone.
    """
    identity = source.identity
    if identity is None:
        return None
    return blake2b(identity.encode(errors="surrogatepass"), digest_size=20).hexdigest()


def choose_cache(source: ByteSource, choice: CacheChoice = None) -> IndexCache | None:
    """Return the cache that a user asked for; None for none.

    Parameters
    ----------
    source
        One of the objects. A cache in a store of the same protocol gets the same storage
        options, another one none.
    choice
        A folder or URL; True for this user's own cache, False for none, ``"sidecar"`` for
        entries next to the objects, which are read but not written. None leaves the choice to
        the environment variable ``XARRAY_DICOM_INDEX_CACHE``, which takes the same values;
        where that is not set, it is this user's own cache.

    Raises
    ------
    DicomError
        If ``XARRAY_DICOM_INDEX_CACHE_SIZE`` is no number of bytes.
    """
    if choice is None:
        choice = _environment_choice()
    if choice is False:
        return None
    if choice is True:
        own = platformdirs.user_cache_path("xarray-dicom", appauthor=False) / "instances"
        # The path is relative where the user has no home directory.
        return _folder_cache(own) if own.is_absolute() else None
    place = os.fspath(choice)
    if place == SIDECAR:
        return IndexCache(Sidecars())
    url = URL.parse(place)
    if url.is_local:
        strip: Any = LocalFileSystem._strip_protocol
        return _folder_cache(Path(strip(place)), place)
    return IndexCache(RemoteFolder(place, _storage_options(url, source)), url.display())


def choose_cache_to_fill(source: ByteSource, choice: CacheChoice = None) -> IndexCache:
    """Return the cache that a user wants filled; it raises where it can't be written.

    Parameters
    ----------
    source, choice
        As for `choose_cache`; sidecars are written.

    Raises
    ------
    DicomError
        If the choice is no cache.
    """
    if choice == SIDECAR:
        return IndexCache(Sidecars(writable=True), required=True)
    cache = choose_cache(source, choice)
    if cache is None:
        raise DicomError(
            f"there is no index cache to fill: name one, or see to {CACHE_VARIABLE} and "
            f"{SIZE_VARIABLE}"
        )
    return IndexCache(cache.store, required=True)


def _environment_choice() -> bool | str:
    value = os.environ.get(CACHE_VARIABLE, "").strip()
    return _SWITCHES.get(value.lower(), value)


def _storage_options(url: URL, source: ByteSource) -> dict[str, Any]:
    if not isinstance(source, URLSource) or url.is_chain or source.parsed_url.is_chain:
        return {}
    return source.storage_options if url.protocol == source.parsed_url.protocol else {}


def _folder_cache(path: Path, name: str | None = None) -> IndexCache | None:
    limit = _size_limit()
    if not limit:
        return None
    # All opens share one folder object, which counts the bytes that this process has written.
    folder = runtime().shared(("index cache", path, limit), lambda: LocalFolder(path, limit))
    return IndexCache(folder, name)


def _size_limit() -> int:
    value = os.environ.get(SIZE_VARIABLE, "").strip()
    if not value:
        return DEFAULT_SIZE_LIMIT
    if not value.isdecimal():
        raise DicomError(f"{SIZE_VARIABLE} is {value!r}: give a number of bytes")
    return int(value)
