"""Files of the local filesystem."""

from __future__ import annotations

import os
import stat

from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.clients.base import Reply
from xarray_dicom.storage.source import Fingerprint

#: O_NONBLOCK: to open a named pipe would wait for a writer otherwise. O_BINARY is Windows'.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)

#: Bytes of one system call: macOS refuses 2 GiB, Linux cuts them short.
_MOST_BYTES = 2**30


class LocalClient:
    """A regular file; every read compares size and modification time on its own descriptor."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Read a range: in a storage thread, if the event loop must not wait for it."""
        return await in_thread(self._read, offset, length, pinned)

    async def stat(self) -> Fingerprint | None:
        """None: each reply has the version."""
        return None

    def _read(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        try:
            descriptor = os.open(self.path, _FLAGS)
        except OSError:
            # Sockets can't be opened, nor can folders on Windows.
            _require_regular(self.path, os.stat(self.path).st_mode)
            raise
        try:
            status = os.fstat(descriptor)
            _require_regular(self.path, status.st_mode)
            found = _fingerprint(status)
            if pinned is not None and found != pinned:
                return Reply(b"", found)
            content = _read_range(descriptor, offset, min(length, found.size - offset))
            # A file overwritten in place shows its new time on the same descriptor.
            after = os.fstat(descriptor)
            if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
                found = _fingerprint(after)
        finally:
            os.close(descriptor)
        return Reply(content, found)


def _read_range(descriptor: int, offset: int, length: int) -> bytes:
    pieces: list[bytes] = []
    while length > 0:
        piece = _pread(descriptor, min(length, _MOST_BYTES), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _seek_and_read(descriptor: int, length: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, length)


#: Windows has no `pread`; each descriptor has one reader, so its position is nobody else's.
_pread = getattr(os, "pread", _seek_and_read)


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return Fingerprint(status.st_size, f"mtime:{status.st_mtime_ns}")


def _require_regular(path: str, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(path)
    raise OSError(f"{path} is a device, pipe or socket, not a file")
