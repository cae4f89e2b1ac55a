"""Chained URLs: a member of an archive, or an object behind a local cache."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from xarray_dicom.runtime import wait_for
from xarray_dicom.storage.clients.base import ObjectClient, Reply
from xarray_dicom.storage.clients.generic import GenericClient
from xarray_dicom.storage.source import Fingerprint


class Turns:
    """Lock of coroutines, whether a calling thread drives them or the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[Future[None]] = deque()

    async def __aenter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            turn: Future[None] = Future()
            self._waiting.append(turn)
        try:
            await wait_for(turn)
        except BaseException:
            # The turn may have been given in the very moment of the interrupt.
            if not turn.cancel():
                self._pass_on()
            raise

    async def __aexit__(self, *error: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._taken = False


class ChainedClient:
    """Bytes that the first link delivers, at the version of the object behind it.

    The index of an archive is read once and a cache never looks again, so neither notices that
    the object behind was replaced: its version is requested itself.

    Parameters
    ----------
    delivered
        Client of the first link.
    behind
        Client of the object behind the first link.
    first_download
        Lock of the first download, if the first link is a cache; None if it is an archive.
    """

    def __init__(
        self, delivered: GenericClient, behind: ObjectClient, first_download: Turns | None
    ) -> None:
        self.delivered = delivered
        self.behind = behind
        self.first_download = first_download
        self._downloaded = first_download is None

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch through the chain; the first time together with the version behind."""
        if pinned is not None:
            return await self._deliver(offset, length, pinned)
        found = await self.stat()
        if found.size <= offset:
            return Reply(b"", found)
        length = min(length, found.size - offset)
        reply = await self._deliver(offset, length, found)
        return Reply(reply.content, found)

    async def stat(self) -> Fingerprint:
        """Size of what is delivered, version of what lies behind."""
        behind = await version_of(self.behind)
        if self.first_download is not None:
            return behind
        member = await self.delivered.stat()
        version = behind.version or f"size:{behind.size}"
        return Fingerprint(member.size, version)

    async def _deliver(self, offset: int, length: int, pinned: Fingerprint) -> Reply:
        if self._downloaded or self.first_download is None:
            return await self.delivered.get(offset, length, pinned)
        # Caches deliver what they have of a file that another thread is downloading.
        async with self.first_download:
            reply = await self.delivered.get(offset, length, pinned)
        self._downloaded = True
        return reply


async def version_of(client: ObjectClient) -> Fingerprint:
    """Return the version that is there now, by a request if only replies say it."""
    found = await client.stat() or (await client.get(0, 1, None)).fingerprint
    if found is None:
        raise OSError("the store tells no size")
    return found
