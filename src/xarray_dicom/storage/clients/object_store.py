"""obstore's stores that users pass, and the URLs of objects in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from fsspec.utils import glob_translate

from xarray_dicom.errors import DicomError
from xarray_dicom.storage.clients.obstore import ObstoreClient
from xarray_dicom.storage.clients.obstore_threads import threads
from xarray_dicom.storage.url import URL, display

#: Storage option that holds a store.
OPTION = "store"

#: Kinds of store that have buckets: what configurations call a bucket, and the protocols of
#: its URLs, ours first.
_BUCKETS = {
    "S3Store": ("bucket", ("s3", "s3a")),
    "GCSStore": ("bucket", ("gs", "gcs")),
    "AzureStore": ("container_name", ("az", "abfs", "abfss", "azure", "adl")),
}

_KINDS = {*_BUCKETS, "HTTPStore", "LocalStore", "MemoryStore"}

#: Settings that say which server is asked, and storage options of fsspec with that meaning.
_ADDRESS = {
    "endpoint": "endpoint_url",
    "base_url": "endpoint_url",
    "account_name": "account_name",
}

#: Names of fsspec for what a listing says of an object.
_ENTRY = {"size": "size", "ETag": "e_tag", "LastModified": "last_modified"}

#: Statuses of web servers that list no folders.
_NO_LISTING = re.compile(r"status code: (404|405|501)")


class ObjectStore:
    """A store that a user passed, with what is called of an fsspec filesystem; paths are URLs.

    Pickles with the store, and so with the secrets that it was made with.

    Parameters
    ----------
    store
        An `obstore.store.ObjectStore`.

    Attributes
    ----------
    url
        URL of the store with its prefix, without secrets.

    Raises
    ------
    DicomError
        If the store doesn't tell its bucket.
    """

    async_impl = asynchronous = True

    def __init__(self, store: Any) -> None:
        self.kind = _kind_of(store)
        if self.kind == "LocalStore" and store.prefix and not store.prefix.is_absolute():
            store = type(store)(store.prefix.absolute())
        self.store = store
        self.url = self._url()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStore) and bool(self.store == other.store)

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = getattr(self.store, "__getnewargs_ex__", None)
        if arguments is None:
            raise DicomError(
                f"a {self.kind} can't be sent to another process; put its objects where other "
                "processes reach them, or read without processes"
            )
        positional, keywords = arguments()
        # Settings come in any order; in one order, equal stores pickle to equal bytes.
        keywords = {
            name: dict(sorted(value.items())) if isinstance(value, Mapping) else value
            for name, value in keywords.items()
        }
        return _remade, (type(self.store), positional, keywords)

    @property
    def options(self) -> dict[str, Any]:
        """Storage options of an object in the store: the store, and its server's address."""
        config = getattr(self.store, "config", {})
        address = {_ADDRESS[name]: display(config[name]) for name in _ADDRESS if name in config}
        return {OPTION: self, **address}

    def url_of(self, path: str) -> URL:
        """Return the URL of a path within the store."""
        path = path.lstrip("/")
        separator = "" if self.url.endswith("/") or not path else "/"
        path = quote(path) if self.kind == "HTTPStore" else path
        return URL.parse(self.url + separator + path)

    def path_in(self, url: str) -> str:
        """Return the path within the store, of a URL or of what is a path already.

        Raises
        ------
        DicomError
            If the URL doesn't lie in the store.
        """
        first, separator, rest = url.partition("://")
        same = url
        if separator and self.kind in _BUCKETS and first in _BUCKETS[self.kind][1]:
            bucket, slash, key = rest.partition("/")
            same = f"{_BUCKETS[self.kind][1][0]}://{bucket.partition('@')[0]}{slash}{key}"
        elif self.kind == "LocalStore" and first in ("file", "local"):
            same = rest
        root = self.url.rstrip("/")
        if f"{same}/".startswith(f"{root}/"):
            path = same.removeprefix(root)
        elif separator:
            raise DicomError(
                f"not in the store that was passed, {self.url}; pass the path within the store",
                location=display(url),
            )
        else:
            return url.lstrip("/")
        if self.kind == "HTTPStore":
            if "?" in path:
                raise DicomError(
                    "an HTTPStore doesn't send the query of this URL, only its own",
                    location=display(url),
                )
            path = unquote(path)
        return path.lstrip("/")

    def client(self, url: URL) -> ObstoreClient:
        """Return the client of the object at `url`."""
        return ObstoreClient(self.store, self.path_in(str(url)).rstrip("/"))

    async def _find(self, url: str, *, detail: bool = True) -> dict[str, dict[str, Any]]:
        return await self._entries(self.path_in(url))

    async def _glob(self, url: str, *, detail: bool = True) -> dict[str, dict[str, Any]]:
        pattern = self.path_in(url)
        folder = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
        translate: Any = glob_translate
        return await self._entries(folder, re.compile(translate(pattern)))

    async def _pipe_file(self, url: str, content: bytes) -> None:
        await threads.run(self.store.put_async, self.path_in(url), content)

    async def _entries(
        self, folder: str, pattern: re.Pattern[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Return entries by URL of what lies below a folder and matches a pattern."""
        try:
            metas = await threads.run(self.store.list(folder or None).collect_async)
        except Exception as error:
            if self.kind != "HTTPStore" or not _NO_LISTING.search(str(error)):
                raise
            return {}
        return {
            str(self.url_of(meta["path"])): {name: meta[key] for name, key in _ENTRY.items()}
            for meta in metas
            if pattern is None or pattern.match(meta["path"])
        }

    def _url(self) -> str:
        prefix = getattr(self.store, "prefix", None)
        if self.kind == "HTTPStore":
            return display(self.store.url).rstrip("/")
        if self.kind == "LocalStore":
            return Path(prefix or "/").as_posix()
        if self.kind not in _BUCKETS:
            return "memory://"
        name, (protocol, *_) = _BUCKETS[self.kind]
        if name not in self.store.config:
            raise DicomError(f"the {self.kind} doesn't tell its bucket; name it where it is made")
        return f"{protocol}://{self.store.config[name]}" + (f"/{prefix}" if prefix else "")


def _remade(kind: Any, positional: tuple[Any, ...], keywords: dict[str, Any]) -> ObjectStore:
    return ObjectStore(kind(*positional, **keywords))


def _kind_of(store: Any) -> str:
    """Return the name of obstore's class, which may have subclasses; empty for anything else."""
    bases = {base.__name__ for base in type(store).__mro__ if base.__module__ == "obstore.store"}
    return next(iter(bases & _KINDS), "")


def object_store(candidate: Any) -> ObjectStore | None:
    """Return the obstore store that `candidate` is or wraps as ``store``; None if it is none.

    `zarr.storage.ObjectStore` and `zarr.storage.StorePath` wrap one.
    """
    for _ in range(3):
        if isinstance(candidate, ObjectStore):
            return candidate
        if _kind_of(candidate):
            return ObjectStore(candidate)
        candidate = getattr(candidate, "store", None)
    return None


def located_in_store(obj: Any, options: Mapping[str, Any]) -> tuple[URL, dict[str, Any]] | None:
    """Return URL and storage options of an object in a store that was passed; None without one.

    Parameters
    ----------
    obj
        A URL or path, or an object with ``store`` and ``path``.
    options
        Storage options, which may hold a store.

    Raises
    ------
    DicomError
        If the storage option is no store of obstore, or has others beside it.
    """
    path = getattr(obj, "path", None)
    if isinstance(path, str) and (store := object_store(getattr(obj, OPTION, None))):
        return store.url_of(store.path_in(path)), store.options
    if OPTION not in options or not isinstance(obj, str | os.PathLike):
        return None
    store = object_store(options[OPTION])
    if store is None:
        raise DicomError(
            f"storage_options['{OPTION}'] is a {type(options[OPTION]).__qualname__}; pass a store "
            "of obstore (obstore.store.S3Store, …)"
        )
    others = sorted(options.keys() - store.options.keys())
    if others:
        raise DicomError(
            f"storage_options has {others} beside '{OPTION}'; give the store itself these settings"
        )
    return store.url_of(store.path_in(os.fsdecode(obj))), store.options
