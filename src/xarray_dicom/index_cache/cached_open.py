"""Open objects through an index cache."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from xarray_dicom.errors import DicomWarning
from xarray_dicom.frames.offsets import FrameOffsets
from xarray_dicom.index_cache.cache import IndexCache
from xarray_dicom.index_cache.serialize import (
    add_offsets,
    deserialize,
    entry_fingerprint,
    serialize,
)
from xarray_dicom.index_cache.serialize_frames import call_after_scan
from xarray_dicom.instance import Instance, open_instance
from xarray_dicom.runtime import enter_loop, in_thread
from xarray_dicom.storage import ByteSource, URLSource
from xarray_dicom.warn import recorded, recording, warn

#: Bytes of an entry below which waking a thread takes longer than reading the entry.
_SMALL_ENTRY = 64 * 1024


async def open_with_cache(source: ByteSource, cache: IndexCache | None, *, first: int) -> Instance:
    """Open an object by its entry, or else by its header, and store an entry then.

    Opening by an entry makes one request, for the object's version; none if a listing stated
    that version.

    Parameters
    ----------
    source
        The object.
    cache
        The index cache; None for none.
    first
        Bytes to fetch with the first request, if there is no entry.

    Raises
    ------
    DicomError, OSError
        As `open_instance`, and for nothing that is wrong with the cache.
    """
    if cache is None or source.identity is None:
        return await open_instance(source, first=first)
    opened = await open_from_cache(source, cache)
    return opened or (await open_and_store(source, cache, first=first))[0]


async def open_from_cache(source: ByteSource, cache: IndexCache) -> Instance | None:
    """Open an object by its entry; None if there is none of its present version.

    Warnings that opening it by its header drew are drawn again.

    Raises
    ------
    OSError
        If the object itself is missing or forbidden, and its version had to be requested.
    """
    entry = await _read_entry(source, cache)
    if entry is None:
        return None
    if len(entry) < _SMALL_ENTRY:
        stored = deserialize(entry, source)
    else:
        stored = await in_thread(deserialize, entry, source)
    if stored is None:
        return None
    for warning in stored.warnings:
        warn(warning.message, location=source.location, frame=warning.frame, tag=warning.tag)
    _store_scanned_offsets(stored.instance, source, cache, entry)
    return stored.instance


async def open_and_store(
    source: ByteSource, cache: IndexCache, *, first: int
) -> tuple[Instance, bool]:
    """Open an object by its header, and store an entry of it.

    Parameters
    ----------
    source
        The object.
    cache
        The index cache.
    first
        Bytes to fetch with the first request.

    Returns
    -------
    instance : Instance
        The object, opened.
    has_entry : bool
        True if there is an entry of it, False if it can't or may not have one.

    Raises
    ------
    DicomError, OSError
        As `open_instance`, and if the cache is required and can't be written.
    """
    with recording() as warnings:
        opened = await open_instance(source, first=first)
    entry = await in_thread(serialize, opened, _unlocated(warnings))
    if entry is None:
        return opened, False
    await cache.put(source, entry)
    _store_scanned_offsets(opened, source, cache, entry)
    return opened, True


async def _read_entry(source: ByteSource, cache: IndexCache) -> bytes | None:
    """Return the entry of `source`, which is open then; None if there is none."""
    is_local = cache.answers_at_once(source)
    if not (is_local and source.immediate):
        await enter_loop()
    listed = isinstance(source, URLSource) and source.listed is not None
    if listed or is_local:
        entry = await cache.get(source)
        if entry is not None and not (listed and _pin_listed_version(source, entry)):
            await source.open(0)
        return entry
    # Two requests at the same time: the lookup, and the one for the object's version.
    lookup = asyncio.ensure_future(cache.get(source))
    try:
        await source.open(0)
    except BaseException:
        lookup.cancel()
        raise
    return await lookup


def _pin_listed_version(source: ByteSource, entry: bytes) -> bool:
    """Pin the version of the entry if a listing stated the same one; return True then."""
    version = entry_fingerprint(entry)
    return isinstance(source, URLSource) and version is not None and source.pin_listed(version)


def _store_scanned_offsets(
    opened: Instance, source: ByteSource, cache: IndexCache, entry: bytes
) -> None:
    """Store the entry anew once a scan has found the frames of an object without offset table."""

    async def store(offsets: FrameOffsets) -> None:
        completed = add_offsets(entry, offsets, recorded())
        if completed is not None:
            await cache.put(source, completed)

    call_after_scan(opened.frames, store)


def _unlocated(warnings: Iterable[DicomWarning]) -> list[DicomWarning]:
    """Return warnings without their location, which may be another one at the next open."""
    return [DicomWarning(w.message, frame=w.frame, tag=w.tag) for w in warnings]
