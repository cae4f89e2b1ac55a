"""Sources of whatever users name: URLs, paths, open files, bytes, folders, patterns, lists."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fsspec.core import OpenFile
from fsspec.spec import AbstractFileSystem

from xarray_dicom.errors import DicomError, UnsupportedDicomError
from xarray_dicom.storage.clients.object_store import OPTION, located_in_store
from xarray_dicom.storage.file_source import BytesSource, FileObjectSource
from xarray_dicom.storage.listing import list_sources, names_several
from xarray_dicom.storage.recording import RecordingSource
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.storage.url import chain_url, display
from xarray_dicom.storage.url_source import URLSource

#: Options that bind a filesystem to one process.
_PROCESS_OPTIONS = {"asynchronous", "loop", "skip_instance_cache", "use_listings_cache"}


def open_source(obj: Any, storage_options: Mapping[str, Any] | None = None) -> ByteSource:
    """Return the source of one object; costs no request.

    Parameters
    ----------
    obj
        URL of any fsspec protocol or chain, local path (`str`, `os.PathLike`,
        `universal_pathlib.UPath`), `bytes`, open binary file, or a source. An open fsspec
        file is taken as its filesystem and path, so that it pickles. Also an object with a
        ``store`` of obstore and a ``path``.
    storage_options
        Keywords of the filesystem; for a chain keyed by protocol, as in fsspec. Or ``store``
        alone, an `obstore.store.ObjectStore`: `obj` is then a path within it, or a URL that
        lies in it.

    Raises
    ------
    DicomError
        If `obj` is none of these.
    """
    options = dict(storage_options or {})
    if isinstance(obj, URLSource | FileObjectSource | BytesSource | RecordingSource):
        return obj
    stored = located_in_store(obj, options)
    if stored is not None:
        return URLSource(*stored)
    options.pop(OPTION, None)
    if isinstance(obj, str):
        return URLSource(obj, options)
    if isinstance(obj, bytes | bytearray | memoryview):
        return BytesSource(bytes(obj))
    source = _source_of_fsspec_file(obj, options)
    if source is not None:
        return source
    if isinstance(obj, os.PathLike):
        return URLSource(os.fsdecode(obj), options)
    if all(hasattr(obj, name) for name in ("read", "seek", "tell")):
        return FileObjectSource(obj)
    if isinstance(obj, ByteSource):
        return obj
    raise DicomError(
        f"no source of bytes: {type(obj).__qualname__}; pass a URL, a path, an open binary "
        "file, or bytes"
    )


async def expand(
    obj: Any, storage_options: Mapping[str, Any] | None = None, *, skip: tuple[str, ...] = ()
) -> list[ByteSource]:
    """Return the sources that `obj` names, sorted by location.

    A list gives the sources of all its members; a folder, a URL that ends in a slash and a
    glob pattern are listed. Any other URL is taken for one object and costs no request: it is
    only when opening that object raises `FileNotFoundError` or `IsADirectoryError` that it may
    be a prefix after all::

        sources = await expand(obj, storage_options)
        try:
            heads = [await source.open(length) for source in sources]
        except (FileNotFoundError, IsADirectoryError):
            sources = await list_folder(sources[0])

    Parameters
    ----------
    obj, storage_options
        As for `open_source`; or a list of such objects.
    skip
        Ends of names that are left out of listings.

    Raises
    ------
    FileNotFoundError
        If a folder or pattern holds nothing.
    """
    if isinstance(obj, Sequence) and not isinstance(obj, str | bytes | bytearray | memoryview):
        sources = [
            source for member in obj for source in await expand(member, storage_options, skip=skip)
        ]
        return sorted(sources, key=lambda source: source.location)
    source = open_source(obj, storage_options)
    is_name = isinstance(obj, str | os.PathLike) or any(
        hasattr(obj, name) for name in ("storage_options", OPTION)
    )
    if (
        is_name
        and isinstance(source, URLSource)
        and (names_several(source.parsed_url) or str(obj).endswith("/"))
    ):
        return list(await list_sources(source, skip))
    return [source]


async def list_folder(source: ByteSource, *, skip: tuple[str, ...] = ()) -> list[ByteSource]:
    """Return the objects below the folder or prefix that `source` turned out to be.

    Raises
    ------
    FileNotFoundError
        If there are none, or the source has no URL.
    """
    if not isinstance(source, URLSource):
        raise FileNotFoundError(2, "no such object", source.location)
    return list(await list_sources(source, skip))


def _source_of_fsspec_file(obj: Any, options: Mapping[str, Any]) -> URLSource | None:
    """Return the source of an open fsspec file, or of a path that has a filesystem."""
    filesystem, path = getattr(obj, "fs", None), getattr(obj, "path", None)
    if not isinstance(filesystem, AbstractFileSystem) or not isinstance(path, str):
        return None
    if hasattr(obj, "storage_options"):
        return URLSource(*_url_of(filesystem, path, str(obj), obj.storage_options, options))
    if getattr(obj, "compression", None):
        if isinstance(obj, OpenFile):
            raise UnsupportedDicomError(
                "a compressed file has no byte ranges; decompress it first",
                location=display(path),
            )
        return None
    own_options = dict(filesystem.storage_options)
    if filesystem.storage_args:
        signature = inspect.signature(type(filesystem).__init__)
        bound = signature.bind_partial(filesystem, *filesystem.storage_args)
        own_options = {**dict(list(bound.arguments.items())[1:]), **own_options}
    return URLSource(*_url_of(filesystem, path, path, own_options, options))


def _url_of(
    filesystem: AbstractFileSystem,
    path: str,
    text: str,
    own_options: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    """Return URL and storage options of a path in a filesystem.

    Parameters
    ----------
    filesystem, path
        The filesystem, and the path in it.
    text
        The path as its object spells it.
    own_options
        Options that the filesystem was made with.
    options
        Storage options of the user, which precede them.
    """
    made_with = {name: value for name, value in own_options.items() if name not in _PROCESS_OPTIONS}
    if "target_protocol" not in made_with:
        url = text if "://" in text else filesystem.unstrip_protocol(path)
        return url, {**made_with, **options}
    protocol = filesystem.protocol
    first: str = protocol if isinstance(protocol, str) else protocol[0]
    url, chained = chain_url(first, path, made_with)
    return url, {**chained, **options}
