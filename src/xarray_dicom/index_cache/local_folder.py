"""Entries as files of a private folder of bounded size, evicted by time of last use."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from xarray_dicom.index_cache.checksummed import ENTRY_SUFFIX, HEADER_SIZE, MAX_PAYLOAD
from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.source import ByteSource

#: Subfolders below the root. Hashed names fill them evenly, so the size of one of them is an
#: estimate of the size of all.
SUBFOLDERS = 256

#: Seconds between two updates of the time of last use (the modification time) of an entry.
TOUCH_INTERVAL = 3600

#: Share of the size limit that an eviction leaves.
SHARE_AFTER_EVICTION = 0.75

#: Seconds after which a draft is left over from a process that died, and may be deleted.
DRAFT_LIFETIME = 3600

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# A named pipe in place of a file would make opening wait for its writer.
_READ = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | getattr(os, "O_BINARY", 0)


class _EntryFile(NamedTuple):
    """A file of the cache; the least recently used one sorts first."""

    last_use: float
    size: int
    path: str


class LocalFolder:
    """Entries in the files of one folder of this user's.

    Several processes may use it at once: files appear whole by renaming, and an entry that
    another process has evicted is a missing one.

    Parameters
    ----------
    path
        The folder; it is made, for this user alone, when the first entry is stored.
    limit
        Bytes of all entries together.
    """

    def __init__(self, path: str | os.PathLike[str], limit: int) -> None:
        self.path = Path(path)
        self.limit = limit
        #: Bytes that this process may write before it looks at the size of the folder again.
        self._unchecked = 0

    def answers_at_once(self, source: ByteSource) -> bool:
        """Return True: files are read without waiting."""
        return True

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """Read the file of this name."""
        return await in_thread(self._read, self._file(name))

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Write the file of this name, and evict others if they exceed the limit."""
        await in_thread(self._write, self._file(name), content)

    def _file(self, name: str) -> Path:
        return self.path / name[:2] / f"{name[2:]}{ENTRY_SUFFIX}"

    def _read(self, file: Path) -> bytes | None:
        self._require_private()
        descriptor = os.open(file, _READ)
        with open(descriptor, "rb", buffering=0) as opened:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > HEADER_SIZE + MAX_PAYLOAD:
                return None
            content = opened.read(status.st_size)
        if time.time() - status.st_mtime > TOUCH_INTERVAL:
            with suppress(OSError):
                os.utime(file)
        return content

    def _write(self, file: Path, content: bytes) -> None:
        _make_private(self.path)
        self._require_private()
        with suppress(FileExistsError):
            file.parent.mkdir(0o700)
        write_atomically(file, content, 0o600)
        self._unchecked -= len(content)
        if self._unchecked <= 0:
            self._evict(file)

    def _require_private(self) -> None:
        """Raise unless this user alone can put files into the folder."""
        status = os.stat(self.path)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(f"{self.path} is no folder")
        if not hasattr(os, "geteuid"):
            return
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{self.path} belongs to another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{self.path} can be written by others: chmod go-w")

    def _evict(self, newest: Path) -> None:
        """Delete the least recently used entries if all together exceed the limit.

        Listing a large cache takes long, so one subfolder is looked at first.
        """
        sample = sum(entry.size for entry in _files(newest.parent))
        if sample * SUBFOLDERS <= self.limit:
            return
        entries = sorted(
            entry for folder in _subfolders(self.path) for entry in _files(folder, sweep=True)
        )
        total = sum(entry.size for entry in entries)
        if total > self.limit:
            for entry in entries:
                if total <= self.limit * SHARE_AFTER_EVICTION:
                    break
                if entry.path == str(newest):
                    continue
                with suppress(OSError):
                    os.unlink(entry.path)
                total -= entry.size
        # Other processes write as well, so this one takes only a part of the free space.
        self._unchecked = int(self.limit - total) // 4


def write_atomically(file: str | os.PathLike[str], content: bytes, mode: int) -> None:
    """Put a file in place with all of its content, or not at all.

    Parameters
    ----------
    file
        The file; one that exists is replaced.
    content
        Its bytes.
    mode
        Permissions, before the umask.
    """
    folder, name = os.path.split(os.fspath(file))
    draft = os.path.join(folder, f".{name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, _CREATE, mode)
    try:
        with open(descriptor, "wb", buffering=0) as opened:
            view = memoryview(content)
            while view:
                view = view[opened.write(view) :]
        os.replace(draft, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


def _make_private(path: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone."""
    if path.exists():
        return
    _make_private(path.parent)
    with suppress(FileExistsError):
        path.mkdir(0o700)


def _subfolders(root: Path) -> Iterator[str]:
    with suppress(OSError), os.scandir(root) as members:
        for member in members:
            if len(member.name) == 2 and member.is_dir(follow_symlinks=False):
                yield member.path


def _files(folder: str | Path, *, sweep: bool = False) -> Iterator[_EntryFile]:
    """List the files of a folder that other processes may change meanwhile.

    Parameters
    ----------
    folder
        A subfolder of the cache.
    sweep
        Delete drafts that are older than `DRAFT_LIFETIME`.
    """
    with suppress(OSError), os.scandir(folder) as members:
        for member in members:
            with suppress(OSError):
                if not member.is_file(follow_symlinks=False):
                    continue
                status = member.stat(follow_symlinks=False)
                is_draft = member.name[0] == "."
                if sweep and is_draft and time.time() - status.st_mtime > DRAFT_LIFETIME:
                    os.unlink(member.path)
                    continue
                yield _EntryFile(status.st_mtime, status.st_size, member.path)
