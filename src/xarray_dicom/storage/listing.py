"""Folders, prefixes and glob patterns into sources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from xarray_dicom.runtime import enter_loop, in_thread
from xarray_dicom.storage.clients.chained import version_of
from xarray_dicom.storage.clients.filesystems import filesystem_class, filesystem_of, store_of
from xarray_dicom.storage.clients.generic import fingerprint_of, is_asynchronous
from xarray_dicom.storage.source import Fingerprint
from xarray_dicom.storage.url import is_cache, options_of_rest, protocol_of, split_link
from xarray_dicom.storage.url_source import FsspecSource


def names_several(url: str) -> bool:
    """Whether `url` alone tells that it is a folder or a pattern, without asking the store."""
    path = _path_part(url)
    if protocol_of(url) in ("file", "local") and not split_link(url)[1]:
        return os.path.isdir(path) or (_has_magic(url) and not os.path.exists(path))
    return path.endswith("/") or _has_magic(url)


async def list_sources(source: FsspecSource, skip: tuple[str, ...] = ()) -> list[FsspecSource]:
    """Objects in the folder or prefix that `source` names, or that its pattern matches.

    Folders are listed with everything below them, on web servers one level. Hidden files
    (``.DS_Store``), names that end with one of `skip`, empty objects that stand for folders, and
    the folder's own marker are left out. Each source has the version that the listing told.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    if not source.immediate:
        await enter_loop()
    with source.errors_named("the listing"):
        found = await _listing(source.url, source.storage_options, skip)
    if not found:
        raise FileNotFoundError(2, "no object here, and none below", source.location)
    return [
        FsspecSource(url, source.storage_options, listed=_listed(url, entry))
        for url, entry in found
    ]


def _listed(url: str, entry: Mapping[str, Any]) -> Fingerprint | None:
    """The version in an entry; None where it is spelled otherwise than in a reply.

    Versions in a chain are those of what lies behind; times of files are told in nanoseconds.
    """
    if split_link(url)[1] or protocol_of(url) in ("file", "local"):
        return None
    etag = entry.get("ETag")
    if protocol_of(url) in ("s3", "s3a") and isinstance(etag, str) and '"' not in etag:
        # Some servers leave the quotes out where they list, but not in their replies.
        entry = {**entry, "ETag": f'"{etag}"'}
    try:
        return fingerprint_of(entry)
    except (OSError, TypeError, ValueError):
        # Web pages that list files tell no sizes.
        return None


async def _listing(
    url: str, options: Mapping[str, Any], skip: tuple[str, ...]
) -> list[tuple[str, Mapping[str, Any]]]:
    """URL and entry of each object, sorted by URL."""
    version = None
    _, rest = split_link(url)
    if rest and not is_cache(url):
        version = await version_of(await store_of(rest, options_of_rest(url, options)))
    filesystem, path = await filesystem_of(url, options, version)
    verb = "glob" if _has_magic(url) else "find"
    if verb == "find" and protocol_of(path) in ("http", "https") and "?" not in path:
        path = path.rstrip("/") + "/"
    if is_asynchronous(filesystem):
        found = await getattr(filesystem, f"_{verb}")(path, detail=True)
    else:
        found = await in_thread(lambda: getattr(filesystem, verb)(path, detail=True))
    # What a pattern matches is looked at by its last part alone.
    folder = path if verb == "find" else None
    entries = [
        (_with_path(url, name), entry)
        for name, entry in found.items()
        if entry.get("type") != "directory"
        and not _is_hidden(name, folder)
        and not name.partition("?")[0].endswith(skip)
    ]
    return sorted(entries, key=itemgetter(0))


def _is_hidden(name: str, folder: str | None) -> bool:
    below = name.rpartition("/")[2] if folder is None else name.removeprefix(folder)
    # Web servers list links that sort the listing itself: "folder/?sort=name".
    below = below.partition("?")[0]
    return below.endswith("/") or not below or any(p.startswith(".") for p in below.split("/"))


def _with_path(url: str, path: str) -> str:
    """`url` with another path in the filesystem of its first link with a path."""
    first, rest = split_link(url)
    if rest and is_cache(url):
        return f"{first}::{_with_path(rest, path)}"
    protocol = protocol_of(first)
    if protocol in ("file", "local") and not rest:
        return path
    prefix = f"{protocol}://"
    link = path if path.startswith(prefix) else prefix + path.lstrip("/")
    if filesystem_class(protocol).root_marker == "/" and not path.startswith(prefix):
        link = prefix + path
    return f"{link}::{rest}" if rest else link


def _path_part(url: str) -> str:
    first, rest = split_link(url)
    if rest and is_cache(url):
        return _path_part(rest)
    _, separator, path = first.partition("://")
    if not separator:
        return first
    return path.partition("?")[0] if protocol_of(first) in ("http", "https") else path


def _has_magic(url: str) -> bool:
    path = _path_part(url)
    if protocol_of(url) in ("http", "https"):
        return "*" in path
    return any(character in path.partition("?versionId=")[0] for character in "*?[")
