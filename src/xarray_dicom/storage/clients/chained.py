"""Chained URLs: a member of an archive, or an object behind a local cache."""

from __future__ import annotations

import asyncio
from typing import Any

from xarray_dicom.storage.clients.base import Reply, Store
from xarray_dicom.storage.clients.generic import GenericStore
from xarray_dicom.storage.source import Fingerprint


class ChainStore:
    """What the first link delivers, at the version of the object behind it.

    An archive's own index is read once and a cache never looks again, so neither can
    tell that the object behind has been replaced: that one is asked itself.
    """

    def __init__(
        self, filesystem: Any, path: str, behind: Store, fetching: asyncio.Lock | None
    ) -> None:
        """With a lock, the first link is a cache, whose first download it guards."""
        self.delivered = GenericStore(filesystem, path)
        self.behind = behind
        self.fetching = fetching
        self.fetched = fetching is None

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch through the chain; the first time together with the version behind."""
        if pinned is not None:
            return await self._deliver(offset, length, pinned)
        found = await self.stat()
        if found.size <= offset:
            return Reply(b"", found)
        wanted = min(length, found.size - offset)
        reply = await self._deliver(offset, wanted, found)
        return Reply(reply.content, found)

    async def stat(self) -> Fingerprint:
        """Size of what is delivered, version of what lies behind."""
        behind = await version_of(self.behind)
        if self.fetching is not None:
            return behind
        member = await self.delivered.stat()
        version = behind.version or f"size:{behind.size}"
        return Fingerprint(member.size, version)

    async def _deliver(self, offset: int, length: int, pinned: Fingerprint) -> Reply:
        if self.fetched or self.fetching is None:
            return await self.delivered.get(offset, length, pinned)
        # Caches deliver what they have of a file that another thread is downloading.
        async with self.fetching:
            reply = await self.delivered.get(offset, length, pinned)
        self.fetched = True
        return reply


async def version_of(store: Store) -> Fingerprint:
    """Version that is in `store` now."""
    found = await store.stat() or (await store.get(0, 1, None)).fingerprint
    if found is None:
        raise OSError("the store tells no size")
    return found
