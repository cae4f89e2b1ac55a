"""Requests that are repeated when their reply breaks off."""

from __future__ import annotations

from xarray_dicom.storage.clients.base import ObjectClient, Reply, TruncatedBodyError
from xarray_dicom.storage.source import Fingerprint
from xarray_dicom.storage.wrappers.error_names import describe

#: Requests of one range; clients repeat by themselves what fails before its reply begins.
ATTEMPTS = 3


class RetryingClient:
    """Client that requests a range again if its reply is shorter than it must be."""

    def __init__(self, client: ObjectClient) -> None:
        self.client = client

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch a range whole, in up to `ATTEMPTS` requests.

        Raises
        ------
        OSError
            If every reply broke off.
        """
        failure = ""
        for _ in range(ATTEMPTS):
            try:
                reply = await self.client.get(offset, length, pinned)
            except TruncatedBodyError as error:
                failure = describe(error)
                continue
            found = reply.fingerprint or pinned
            # Bytes of another version are not fetched again: they are of no use.
            if found is None or (pinned is not None and found != pinned):
                return reply
            expected = max(0, min(length, found.size - offset))
            if len(reply.content) == expected:
                return reply
            failure = f"{len(reply.content)} bytes came instead of {expected}"
        raise OSError(f"in {ATTEMPTS} attempts the reply broke off ({failure})")

    async def stat(self) -> Fingerprint | None:
        """Return the version that is there now."""
        return await self.client.stat()
