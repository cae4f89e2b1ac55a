"""An object store in memory that counts what is asked of it."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class CountingFileSystem(MemoryFileSystem):
    """``counted://``: each request for bytes or for a version is remembered.

    Attributes
    ----------
    ranges
        ``(path, start, end)`` of every read, in the order they came.
    stats
        Paths whose version was asked for.
    """

    protocol = "counted"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    ranges: ClassVar[list[tuple[str, int, int]]] = []
    stats: ClassVar[list[str]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("counted://"))

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        """Count, then read."""
        with self._lock:
            self.ranges.append((path, start, end))
        return super().cat_file(path, start=start, end=end, **options)

    def info(self, path: str, **options: Any) -> Any:
        """Count, then tell."""
        with self._lock:
            self.stats.append(path)
        return super().info(path, **options)

    @classmethod
    def put(cls, path: str, content: bytes) -> str:
        """Store bytes; returns the URL."""
        cls().pipe_file(f"/{path}", content)
        return f"counted://{path}"

    @classmethod
    def forget(cls) -> None:
        """Start counting from zero."""
        cls.ranges.clear()
        cls.stats.clear()

    @classmethod
    def bytes_read(cls) -> int:
        """Bytes of all reads together."""
        return sum(end - start for _, start, end in cls.ranges)


fsspec.register_implementation("counted", CountingFileSystem, clobber=True)
