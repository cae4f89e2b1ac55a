"""Requests that are measured."""

from __future__ import annotations

from xarray_dicom.storage.clients.base import ObjectClient, Reply
from xarray_dicom.storage.request_sizing import ConnectionMeter
from xarray_dicom.storage.source import Fingerprint


class TimedClient:
    """Client whose requests a meter of the connection learns from.

    Parameters
    ----------
    client
        The client that makes them.
    meter
        Meter of the connection to its server.
    """

    def __init__(self, client: ObjectClient, meter: ConnectionMeter) -> None:
        self.client = client
        self.meter = meter

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch a range, and note when it was requested, when it came, and its size."""
        started, size = self.meter.start_request(), 0
        try:
            reply = await self.client.get(offset, length, pinned)
            size = len(reply.content)
            return reply
        finally:
            self.meter.end_request(started, size)

    async def stat(self) -> Fingerprint | None:
        """Return the version that is there now, without measuring."""
        return await self.client.stat()
