"""Open an instance by what is kept of it, or the long way, and keep what that took to learn."""

from __future__ import annotations

import asyncio

from xarray_dicom.frames.offsets import FrameOffsets
from xarray_dicom.frames.scanned import ScannedFrames
from xarray_dicom.index_cache.cache import BlobCache
from xarray_dicom.index_cache.serialize import complete, decode, encode, version_in
from xarray_dicom.instance import Instance, open_instance
from xarray_dicom.runtime import enter_loop, in_thread
from xarray_dicom.storage import ByteSource, URLSource
from xarray_dicom.warn import recorded, recording, warn

#: Records of fewer bytes are decoded sooner than a thread is woken.
_SMALL = 64 * 1024


async def open_remembered(source: ByteSource, cache: BlobCache | None, *, first: int) -> Instance:
    """Open one object, with one request for its version alone if it is known already.

    If a listing has just told that version, no request is made.

    Parameters
    ----------
    source
        The object.
    cache
        What is kept of objects; None for nothing.
    first
        Bytes to fetch with the first request, if it is not known.

    Raises
    ------
    DicomError, OSError
        As `open_instance`; nothing that is wrong with the cache.
    """
    if cache is None or source.identity is None:
        return await open_instance(source, first=first)
    found = await recall(source, cache)
    return found or (await learn(source, cache, first=first))[0]


async def recall(source: ByteSource, cache: BlobCache) -> Instance | None:
    """Open an object by what is kept of it; None if nothing is kept of this version.

    Raises
    ------
    OSError
        If the object itself is missing or forbidden, and was asked for its version.
    """
    record = await _looked_up(source, cache)
    if record is None:
        return None
    small = len(record) < _SMALL
    found = decode(record, source) if small else await in_thread(decode, record, source)
    if found is None:
        return None
    opened, notices = found
    for text in notices:
        warn(text)
    _remember_scan(opened, source, cache, record)
    return opened


async def learn(source: ByteSource, cache: BlobCache, *, first: int) -> tuple[Instance, bool]:
    """Open an object by its header, and keep what that took to learn.

    Returns
    -------
    tuple
        The instance, and whether anything could be kept of it.
    """
    with recording() as heard:
        opened = await open_instance(source, first=first)
    record = await in_thread(encode, opened, tuple(map(str, heard)))
    if record is None:
        return opened, False
    await cache.put(source, record)
    _remember_scan(opened, source, cache, record)
    return opened, True


async def _looked_up(source: ByteSource, cache: BlobCache) -> bytes | None:
    """What is kept of `source`; if there is anything, the source is open afterwards."""
    listed = isinstance(source, URLSource) and source.listed is not None
    if listed or not cache.is_far:
        record = await cache.get(source)
        if record is not None and not (listed and _is_as_listed(source, record)):
            await source.open(0)
        return record
    await enter_loop()
    looking = asyncio.ensure_future(cache.get(source))
    try:
        await source.open(0)
    except BaseException:
        looking.cancel()
        raise
    return await looking


def _is_as_listed(source: ByteSource, record: bytes) -> bool:
    """Whether a listing told the version that the record is of, which is pinned then."""
    known = version_in(record)
    return isinstance(source, URLSource) and known is not None and source.pin_listed(known)


def _remember_scan(opened: Instance, source: ByteSource, cache: BlobCache, record: bytes) -> None:
    """See that the offsets of frames are kept too, once a scan has found them."""
    frames = opened.frames
    if not isinstance(frames, ScannedFrames) or frames.has_offsets:
        return

    async def remember(offsets: FrameOffsets) -> None:
        completed = complete(record, offsets, tuple(map(str, recorded())), opened_at)
        if completed is not None:
            await cache.put(source, completed)

    opened_at = opened.location
    frames.on_located(remember)
