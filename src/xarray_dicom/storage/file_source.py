"""Open file objects and bytes."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

from xarray_dicom.errors import DicomError, UnsupportedDicomError, located
from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.read_merged import read_merged
from xarray_dicom.storage.request_sizing import RequestSizing
from xarray_dicom.storage.source import Fingerprint, Head
from xarray_dicom.storage.url import display
from xarray_dicom.storage.wrappers.version_pin import require_inside, require_same


class BinaryFile(Protocol):
    """Methods that an open file must have."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to `offset`."""
        ...

    def tell(self) -> int:
        """Return the position."""
        ...


class BytesSource:
    """An object that is in memory.

    Parameters
    ----------
    content
        All of it.
    """

    url = None
    immediate = True

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce__(self) -> tuple[type[BytesSource], tuple[bytes]]:
        return type(self), (self.content,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BytesSource) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)

    def __repr__(self) -> str:
        return f"BytesSource({self.location})"

    @property
    def location(self) -> str:
        """``<n bytes>``."""
        return f"<{len(self.content)} bytes>"

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Size of the content."""
        return Fingerprint(len(self.content))

    @property
    def identity(self) -> str | None:
        """None: no other process has it."""
        return None

    @property
    def request_sizing(self) -> RequestSizing:
        """Default sizing."""
        return RequestSizing()

    async def open(self, length: int) -> Head:
        """Slice off the first bytes."""
        return Head(Fingerprint(len(self.content)), self.content[:length])

    async def read(self, offset: int, length: int) -> bytes:
        """Slice, or raise `CorruptDicomError` past the end."""
        try:
            require_inside(len(self.content), offset, length)
        except DicomError as error:
            error.complete(self.location)
            raise
        return self.content[offset : offset + length]

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Slice off each range."""
        return [await self.read(offset, length) for offset, length in ranges]

    async def verify(self) -> None:
        """Do nothing: bytes don't change."""


class FileObjectSource:
    """An open binary file, read under a lock; usable in this process only.

    Parameters
    ----------
    file
        Anything with ``read``, ``seek`` and ``tell``; stays open, its position moves.

    Raises
    ------
    UnsupportedDicomError
        When read, if the file is text or can't seek.

    Attributes
    ----------
    location
        Name of the file, if it has one, else its type.
    """

    url = None
    immediate = True

    def __init__(self, file: BinaryFile) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._fingerprint: Fingerprint | None = None
        name = getattr(file, "name", None)
        self.location = (
            display(os.fspath(name))
            if isinstance(name, str | os.PathLike)
            else f"<{type(file).__module__}.{type(file).__qualname__}>"
        )

    def __reduce__(self) -> NoReturn:
        raise DicomError(
            "an open file object can't be sent to another process; open the URL or path instead "
            "(with storage_options), or the bytes",
            location=self.location,
        )

    def __repr__(self) -> str:
        return f"FileObjectSource({self.location!r})"

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Size of the file, once opened."""
        return self._fingerprint

    @property
    def identity(self) -> str | None:
        """None: no other process has it."""
        return None

    @property
    def request_sizing(self) -> RequestSizing:
        """Default sizing."""
        return RequestSizing()

    async def open(self, length: int) -> Head:
        """Read up to `length` first bytes."""
        with located(self.location):
            return await in_thread(self._open, length)

    async def read(self, offset: int, length: int) -> bytes:
        """Seek and read exactly `length` bytes: in a storage thread, if the loop must not wait."""
        pinned = self._fingerprint or (await self.open(0)).fingerprint
        with located(self.location):
            require_inside(pinned.size, offset, length)
            if not length:
                return b""
            return await in_thread(self._read, offset, length)

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges, merging what lies close."""
        return await read_merged(self, ranges)

    async def verify(self) -> None:
        """Compare the size: a file object has no other version."""
        if self._fingerprint is None:
            return
        with located(self.location):
            require_same(self._fingerprint, Fingerprint(await in_thread(self._size)))

    def _open(self, length: int) -> Head:
        found = Fingerprint(self._size())
        require_same(self._fingerprint, found)
        content = self._read(0, min(length, found.size)) if length else b""
        self._fingerprint = found
        return Head(found, content)

    def _size(self) -> int:
        with self._lock:
            try:
                self.file.seek(0, os.SEEK_END)
                return self.file.tell()
            except (OSError, AttributeError) as error:
                raise UnsupportedDicomError(
                    "the file object can't seek; pass a URL, a path or bytes"
                ) from error

    def _read(self, offset: int, length: int) -> bytes:
        pieces: list[bytes] = []
        missing = length
        with self._lock:
            self.file.seek(offset)
            while missing:
                piece: Any = self.file.read(missing)
                if isinstance(piece, str):
                    raise UnsupportedDicomError("the file is open as text; open it with mode 'rb'")
                if not piece:
                    break
                pieces.append(bytes(piece))
                missing -= len(piece)
        if missing:
            require_same(self._fingerprint, Fingerprint(self._size()))
            raise OSError(
                f"{self.location}: bytes {offset} to {offset + length} were asked for, "
                f"the last {missing} did not come"
            )
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
