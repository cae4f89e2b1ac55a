"""Bytes of objects, wherever they lie; nothing here knows DICOM."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fsspec.core import OpenFile
from fsspec.spec import AbstractFileSystem

from xarray_dicom.errors import DicomError, UnsupportedDicomError
from xarray_dicom.storage.file_source import BytesSource, FileObjectSource
from xarray_dicom.storage.listing import list_sources, names_several
from xarray_dicom.storage.read_merged import read_merged
from xarray_dicom.storage.recording import RecordingSource
from xarray_dicom.storage.source import ByteSource, Fingerprint, Head
from xarray_dicom.storage.url import chain_url, display
from xarray_dicom.storage.url_source import FsspecSource

__all__ = [
    "ByteSource",
    "BytesSource",
    "FileObjectSource",
    "Fingerprint",
    "FsspecSource",
    "Head",
    "RecordingSource",
    "display",
    "expand",
    "list_folder",
    "open_source",
    "read_merged",
]

#: Options that bind a filesystem to one process.
_PROCESS_OPTIONS = {"asynchronous", "loop", "skip_instance_cache", "use_listings_cache"}


def open_source(obj: Any, storage_options: Mapping[str, Any] | None = None) -> ByteSource:
    """The source for one object; costs no request.

    Parameters
    ----------
    obj
        URL of any fsspec protocol or chain, local path (`str`, `os.PathLike`,
        `universal_pathlib.UPath`), `bytes`, open binary file, or a source. An open fsspec
        file is taken as its filesystem and path, so that it pickles.
    storage_options
        Keywords of the filesystem; for a chain keyed by protocol, as in fsspec.

    Raises
    ------
    DicomError
        If `obj` is none of these.
    """
    options = dict(storage_options or {})
    if isinstance(obj, FsspecSource | FileObjectSource | BytesSource | RecordingSource):
        return obj
    if isinstance(obj, str):
        return FsspecSource(obj, options)
    if isinstance(obj, bytes | bytearray | memoryview):
        return BytesSource(bytes(obj))
    if isinstance(obj, OpenFile):
        if obj.compression is not None:
            raise UnsupportedDicomError(
                f"{obj.path}: a compressed file has no byte ranges; decompress it first"
            )
        return _source_in(obj.fs, obj.path, options)
    if isinstance(getattr(obj, "fs", None), AbstractFileSystem) and isinstance(
        getattr(obj, "path", None), str
    ):
        if hasattr(obj, "storage_options"):
            return FsspecSource(*_url_of(obj.fs, obj.path, str(obj), obj.storage_options, options))
        if not getattr(obj, "compression", None):
            return _source_in(obj.fs, obj.path, options)
    if isinstance(obj, os.PathLike):
        return FsspecSource(os.fsdecode(obj), options)
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
    """The sources that `obj` names, sorted by location.

    A list gives the sources of all its members; a folder, a URL that ends in a slash and a
    glob pattern are listed, without names that end with one of `skip`. Any other URL is taken
    for one object and costs no request: it is only when opening that object raises
    `FileNotFoundError` or `IsADirectoryError` that it may be a prefix after all::

        sources = await expand(obj, storage_options)
        try:
            heads = [await source.open(length) for source in sources]
        except (FileNotFoundError, IsADirectoryError):
            sources = await list_folder(sources[0])

    Raises
    ------
    FileNotFoundError
        If a folder or pattern holds nothing.
    """
    if isinstance(obj, Sequence) and not isinstance(obj, str | bytes | bytearray | memoryview):
        found = [
            source for member in obj for source in await expand(member, storage_options, skip=skip)
        ]
        return sorted(found, key=lambda source: source.location)
    source = open_source(obj, storage_options)
    named = isinstance(obj, str | os.PathLike) or hasattr(obj, "storage_options")
    if (
        named
        and isinstance(source, FsspecSource)
        and (names_several(source.url) or str(obj).endswith("/"))
    ):
        return list(await list_sources(source, skip))
    return [source]


async def list_folder(source: ByteSource, *, skip: tuple[str, ...] = ()) -> list[ByteSource]:
    """The objects below the folder or prefix that `source` turned out to be.

    Raises
    ------
    FileNotFoundError
        If there are none, or the source is no URL.
    """
    if not isinstance(source, FsspecSource):
        raise FileNotFoundError(2, "no such object", source.location)
    return list(await list_sources(source, skip))


def _source_in(
    filesystem: AbstractFileSystem, path: str, options: Mapping[str, Any]
) -> FsspecSource:
    """Source of a path in a filesystem that exists already."""
    given = dict(filesystem.storage_options)
    if filesystem.storage_args:
        signature = inspect.signature(type(filesystem).__init__)
        bound = signature.bind_partial(filesystem, *filesystem.storage_args)
        given = {**dict(list(bound.arguments.items())[1:]), **given}
    return FsspecSource(*_url_of(filesystem, path, path, given, options))


def _url_of(
    filesystem: AbstractFileSystem,
    path: str,
    spelled: str,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    kept = {name: value for name, value in given.items() if name not in _PROCESS_OPTIONS}
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else None
    first: str = protocol or filesystem.protocol[0]
    if "target_protocol" not in kept:
        url = spelled if "://" in spelled else filesystem.unstrip_protocol(path)
        return url, {**kept, **options}
    url, chained = chain_url(first, path, kept)
    return url, {**chained, **options}
