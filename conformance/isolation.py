"""Examination of files in processes that may crash, hang or grow, and are replaced then."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

Examine = Callable[[Path], Iterator[T]]

#: Processes at a time.
WORKERS = 2

#: Seconds for one file, with all readers, after which a process is ended.
TIME_LIMIT = 120.0

#: Bytes of address space beyond which an allocation fails.
MEMORY_LIMIT = 12 * 2**30


class _Worker(Generic[T]):
    """A process that examines one path after another."""

    def __init__(self, examine: Examine[T]) -> None:
        # Spawned, not forked: readers keep threads and caches that a fork would share.
        context = multiprocessing.get_context("spawn")
        self.results, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, examine), daemon=True)
        self._process.start()
        child_end.close()
        self.path: Path | None = None
        self.latest: T | None = None
        self._started = 0.0
        self._is_ready = False

    def send(self, path: Path) -> None:
        """Start the examination of `path`."""
        if not self._is_ready:
            # Importing the readers takes longer than most files, and must not count as theirs.
            self._is_ready = self.results.recv() is None
        self.path, self.latest = path, None
        self._started = time.monotonic()
        self.results.send(path)

    @property
    def is_late(self) -> bool:
        """Return True if the path takes longer than `TIME_LIMIT`."""
        return time.monotonic() - self._started > TIME_LIMIT

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self.results.close()


def examine_each(paths: Sequence[Path], examine: Examine[T]) -> Iterator[tuple[Path, T | None]]:
    """Examine paths in processes of their own.

    Parameters
    ----------
    paths
        Arguments of `examine`.
    examine
        Function that yields results for a path, each replacing the one before.

    Yields
    ------
    tuple
        Each path with its last result, in the order in which they finish; None where the
        process died or was killed before it yielded a result.
    """
    waiting = list(reversed(paths))
    workers: list[_Worker[T]] = [_Worker(examine) for _ in range(min(WORKERS, len(paths)))]
    for worker in workers:
        worker.send(waiting.pop())
    while workers:
        ready = wait([worker.results for worker in workers], timeout=1.0)
        for position, worker in reversed(list(enumerate(workers))):
            path = worker.path
            assert path is not None
            finished, died = False, worker.is_late
            if worker.results in ready:
                try:
                    result = worker.results.recv()
                    finished = result is None
                    worker.latest = worker.latest if finished else result
                except EOFError:
                    died = True
            if not finished and not died:
                continue
            yield path, worker.latest
            if died or not waiting:
                worker.end()
                del workers[position]
            if waiting:
                if died:
                    worker = _Worker(examine)
                    workers.append(worker)
                worker.send(waiting.pop())


def _serve(paths: Connection, examine: Examine[T]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    paths.send(None)
    while True:
        for result in examine(paths.recv()):
            paths.send(result)
        paths.send(None)
