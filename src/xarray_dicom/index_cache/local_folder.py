"""Blobs as files of a private folder, of which the longest unused go first."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from xarray_dicom.index_cache.checksummed import HEADER, LARGEST, SUFFIX
from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.source import ByteSource

#: Folders below the root; blobs are spread evenly, so one folder tells what all weigh.
FOLDERS = 256

#: Seconds that pass before a use of a blob is noted again.
USE_NOTED = 3600

#: What is left of the limit when blobs have been dropped.
KEPT_SHARE = 0.75

#: Seconds after which a half-written file belongs to nobody any more.
ABANDONED = 3600

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# A named pipe in place of a file would make opening wait for its writer.
_READ = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | getattr(os, "O_BINARY", 0)


class _Kept(NamedTuple):
    """A file of the cache; the one used longest ago sorts first."""

    used: float
    size: int
    path: str


class Folder:
    """Blobs in the files of one folder of this user's.

    Several processes may use it at once: files appear whole by renaming, and a file that
    vanishes is one that isn't there.

    Parameters
    ----------
    path
        The folder; it is made, for this user alone, when the first blob is stored.
    limit
        Bytes of all blobs together.
    """

    is_far = False

    def __init__(self, path: str | os.PathLike[str], limit: int) -> None:
        self.path = Path(path)
        self.limit = limit
        self._spare = 0

    async def read(self, name: str, source: ByteSource) -> bytes | None:
        """The file of this name."""
        return await in_thread(self._read, self._file(name))

    async def write(self, name: str, source: ByteSource, content: bytes) -> None:
        """Write the file of this name, and make room for it."""
        await in_thread(self._write, self._file(name), content)

    def _file(self, name: str) -> Path:
        return self.path / name[:2] / f"{name[2:]}{SUFFIX}"

    def _read(self, file: Path) -> bytes | None:
        self._require_own()
        descriptor = os.open(file, _READ)
        with open(descriptor, "rb", buffering=0) as opened:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > HEADER + LARGEST:
                return None
            content = opened.read(status.st_size)
        if time.time() - status.st_mtime > USE_NOTED:
            with suppress(OSError):
                os.utime(file)
        return content

    def _write(self, file: Path, content: bytes) -> None:
        _make_private(self.path)
        self._require_own()
        with suppress(FileExistsError):
            file.parent.mkdir(0o700)
        write_whole(file, content, 0o600)
        self._spare -= len(content)
        if self._spare <= 0:
            self._make_room(file)

    def _require_own(self) -> None:
        """Raise unless nobody but this user can put files here."""
        status = os.stat(self.path)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(f"{self.path} is no folder")
        if not hasattr(os, "geteuid"):
            return
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{self.path} belongs to another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{self.path} can be written by others: chmod go-w")

    def _make_room(self, newest: Path) -> None:
        """Drop the blobs used longest ago, if all weigh more than the limit.

        Looking at all files of a large cache takes long, so one folder is looked at first.
        """
        sample = sum(kept.size for kept in _files(newest.parent))
        if sample * FOLDERS <= self.limit:
            return
        every = sorted(
            kept for folder in _folders(self.path) for kept in _files(folder, sweep=True)
        )
        total = sum(kept.size for kept in every)
        if total > self.limit:
            for kept in every:
                if total <= self.limit * KEPT_SHARE:
                    break
                if kept.path == str(newest):
                    continue
                with suppress(OSError):
                    os.unlink(kept.path)
                total -= kept.size
        # Others write as well, so only a part of what is left counts as this process's own.
        self._spare = int(self.limit - total) // 4


def write_whole(file: str | os.PathLike[str], content: bytes, mode: int) -> None:
    """Put `file` in place with all of `content`, or not at all."""
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


def _folders(root: Path) -> Iterator[str]:
    with suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if len(entry.name) == 2 and entry.is_dir(follow_symlinks=False):
                yield entry.path


def _files(folder: str | Path, *, sweep: bool = False) -> Iterator[_Kept]:
    """Files of a folder, as far as they stay while it is read; `sweep` drops old drafts."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if not entry.is_file(follow_symlinks=False):
                    continue
                status = entry.stat(follow_symlinks=False)
                if sweep and entry.name[0] == "." and time.time() - status.st_mtime > ABANDONED:
                    os.unlink(entry.path)
                    continue
                yield _Kept(status.st_mtime, status.st_size, entry.path)
