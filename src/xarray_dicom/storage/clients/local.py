"""Files of the local filesystem."""

from __future__ import annotations

import os
import stat
from typing import Any

from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.clients.base import Reply
from xarray_dicom.storage.source import Fingerprint


class LocalStore:
    """A regular file; every read compares size and modification time on its own descriptor."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self.path = path

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Read in a storage thread."""
        return await in_thread(self._read, offset, length, pinned)

    async def stat(self) -> Fingerprint | None:
        """None: each reply tells."""
        return None

    def _read(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        # Opening a named pipe would wait for a writer.
        _require_regular(self.path, os.stat(self.path).st_mode)
        with open(self.path, "rb", buffering=0) as file:
            found = _fingerprint(os.fstat(file.fileno()))
            if pinned is not None and found != pinned:
                return Reply(b"", found)
            file.seek(offset)
            wanted = max(0, min(length, found.size - offset))
            pieces: list[bytes] = []
            while wanted:
                piece = file.read(wanted)
                if not piece:
                    break
                pieces.append(piece)
                wanted -= len(piece)
            # A file overwritten in place shows its new time on the same descriptor.
            found = _fingerprint(os.fstat(file.fileno()))
        return Reply(pieces[0] if len(pieces) == 1 else b"".join(pieces), found)


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return Fingerprint(status.st_size, f"mtime:{status.st_mtime_ns}")


def _require_regular(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(path)
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a device, pipe or socket, not a file")
