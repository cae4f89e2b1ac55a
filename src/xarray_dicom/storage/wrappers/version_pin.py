"""Requests that insist on one version of an object."""

from __future__ import annotations

from xarray_dicom.errors import CorruptDicomError, DicomError, SourceChangedError
from xarray_dicom.storage.clients.base import ObjectClient, RangesUnsupportedError, Reply
from xarray_dicom.storage.source import Fingerprint


class VersionPinningClient:
    """Client that raises where bytes of another version than the pinned one come."""

    def __init__(self, client: ObjectClient) -> None:
        self.client = client

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch a range of the pinned version; the reply always has a fingerprint.

        Raises
        ------
        SourceChangedError
            If the object was replaced.
        OSError
            If neither the reply nor `pinned` says how long the object is.
        """
        try:
            reply = await self.client.get(offset, length, pinned)
        except (FileNotFoundError, PermissionError, RangesUnsupportedError):
            raise
        except Exception:
            # Bytes of a replaced object may not even be an archive any more.
            if pinned is not None:
                await self.verify(pinned)
            raise
        found = reply.fingerprint
        if found is None:
            if pinned is None:
                raise OSError("the store doesn't tell how long the object is")
            return Reply(reply.content, pinned)
        require_same(pinned, found)
        return reply

    async def stat(self) -> Fingerprint | None:
        """Return the version that is there now."""
        return await self.client.stat()

    async def verify(self, pinned: Fingerprint) -> None:
        """Raise `SourceChangedError` if the service says that another version is there now."""
        found = await self.client.stat()
        if found is not None:
            require_same(pinned, found)


def require_inside(size: int, offset: int, length: int) -> None:
    """Raise unless a range lies in an object.

    Parameters
    ----------
    size
        Bytes of the object.
    offset, length
        The range in bytes.

    Raises
    ------
    DicomError
        If the range is negative.
    CorruptDicomError
        If it ends past the object.
    """
    if offset < 0 or length < 0:
        raise DicomError(f"no range starts at {offset} with {length} bytes")
    if offset + length > size and length:
        raise CorruptDicomError(
            f"bytes {offset} to {offset + length} are referred to, "
            f"but the object has {size}; it may be a partial copy"
        )


def require_same(pinned: Fingerprint | None, found: Fingerprint) -> None:
    """Raise `SourceChangedError` unless `found` is the version pinned, if one is."""
    if pinned is not None and found != pinned:
        raise SourceChangedError(
            f"the object was replaced after it was opened (it was {_spelled(pinned)}, "
            f"now it is {_spelled(found)}); open it again"
        )


def _spelled(fingerprint: Fingerprint) -> str:
    return f"{fingerprint.size} bytes {fingerprint.version}".rstrip()
