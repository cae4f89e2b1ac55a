"""Folders, prefixes and glob patterns into sources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from xarray_dicom.runtime import enter_loop
from xarray_dicom.storage.clients.chained import version_of
from xarray_dicom.storage.clients.filesystems import filesystem_class, filesystem_of
from xarray_dicom.storage.clients.generic import call, fingerprint_of
from xarray_dicom.storage.clients.select import client_of
from xarray_dicom.storage.source import Fingerprint
from xarray_dicom.storage.url import URL, Link
from xarray_dicom.storage.url_source import URLSource


def names_several(url: URL) -> bool:
    """Return True if a URL is a folder or a pattern, as far as its text and local files say."""
    path = url.path
    if url.is_local:
        return os.path.isdir(path) or (url.has_magic and not os.path.exists(path))
    return path.endswith("/") or url.has_magic


async def list_sources(source: URLSource, skip: tuple[str, ...] = ()) -> list[URLSource]:
    """List the objects in the folder or prefix of a source, or those that its pattern matches.

    Folders are listed with everything below them, on web servers one level. Hidden files
    (``.DS_Store``), empty objects that stand for folders, and the folder's own marker are left
    out. Each source has the version in the listing.

    Parameters
    ----------
    source
        The folder, prefix or pattern.
    skip
        Ends of names that are left out.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    if not source.immediate:
        await enter_loop()
    with source.errors_named("the listing"):
        entries = await _entries(source.parsed_url, source.storage_options, skip)
    if not entries:
        raise FileNotFoundError(2, "no object here, and none below", source.location)
    return [
        URLSource(url, source.storage_options, listed=_listed_version(url, entry))
        for url, entry in entries
    ]


def _listed_version(url: URL, entry: Mapping[str, Any]) -> Fingerprint | None:
    """Return the version in an entry; None where replies spell it otherwise.

    Versions in a chain are those of what lies behind; those of local files have nanoseconds.
    """
    if url.is_chain or url.is_local:
        return None
    etag = entry.get("ETag")
    if url.protocol in ("s3", "s3a") and isinstance(etag, str) and '"' not in etag:
        # Some servers leave the quotes out where they list, but not in their replies.
        entry = {**entry, "ETag": f'"{etag}"'}
    try:
        return fingerprint_of(entry)
    except (OSError, TypeError, ValueError):
        # Web pages that list files have no sizes.
        return None


async def _entries(
    url: URL, options: Mapping[str, Any], skip: tuple[str, ...]
) -> list[tuple[URL, Mapping[str, Any]]]:
    """Return URL and entry of each object, sorted by URL."""
    version = None
    if url.rest is not None and not url.is_cache:
        version = await version_of(await client_of(url.rest, url.options_of_rest(options)))
    filesystem, path = await filesystem_of(url, options, version)
    verb = "glob" if url.has_magic else "find"
    if verb == "find" and path.startswith(("http://", "https://")) and "?" not in path:
        path = path.rstrip("/") + "/"
    listed = await call(filesystem, verb, path, detail=True)
    # Of a match only the last part of its path may make it a hidden file.
    folder = path if verb == "find" else None
    entries = [
        (_with_path(url, name), entry)
        for name, entry in listed.items()
        if entry.get("type") != "directory"
        and not _is_hidden(name, folder)
        and not name.partition("?")[0].endswith(skip)
    ]
    return sorted(entries, key=lambda item: str(item[0]))


def _is_hidden(name: str, folder: str | None) -> bool:
    below = name.rpartition("/")[2] if folder is None else name.removeprefix(folder)
    # Web servers list links that sort the listing itself: "folder/?sort=name".
    below = below.partition("?")[0]
    return below.endswith("/") or not below or any(p.startswith(".") for p in below.split("/"))


def _with_path(url: URL, path: str) -> URL:
    """Return `url` with another path in the filesystem of its target."""
    target = url.target
    protocol = target.protocol
    if target.is_local and target is url.links[-1]:
        return url.with_target(Link(path, protocol))
    prefix = f"{protocol}://"
    if path.startswith(prefix):
        text = path
    elif filesystem_class(protocol).root_marker == "/":
        text = prefix + path
    else:
        text = prefix + path.lstrip("/")
    return url.with_target(Link(text, protocol))
