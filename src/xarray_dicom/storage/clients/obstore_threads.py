"""obstore's own threads at the end of a process, and in a forked one."""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from xarray_dicom.errors import DicomError
from xarray_dicom.runtime import enter_loop, runtime

T = TypeVar("T")

#: Longest wait in seconds at the end of a process, and how long a thread takes to drop a
#: cancelled request.
SECONDS_TO_CANCEL = 2.0
SECONDS_TO_DROP = 0.1


class Requests:
    """Tasks that wait for obstore's threads.

    A thread that wants the interpreter back while it ends takes the process down, so none may
    be busy by then.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cancelled_at = -math.inf
        self._closed = False

    async def wait(self, verb: Callable[..., Awaitable[T]], *args: Any, **keywords: Any) -> T:
        """Await a verb of a store on the event loop.

        Raises
        ------
        DicomError
            In a child of a process that used obstore, where it would wait forever.
        """
        if threads_lost():
            raise DicomError(
                "obstore can't be used in a process that was forked from one which has used it; "
                "start processes by 'spawn' or 'forkserver'"
            )
        await enter_loop()
        task = asyncio.current_task()
        if self._closed or task is None:
            raise RuntimeError("the interpreter is about to end")
        self._tasks.add(task)
        try:
            return await verb(*args, **keywords)
        except asyncio.CancelledError:
            self._cancelled_at = time.monotonic()
            raise
        finally:
            self._tasks.discard(task)

    def close(self) -> None:
        """Cancel what is under way, and wait until obstore's threads have dropped it."""
        self._closed = True
        if self._tasks:
            runtime().loop.call_soon_threadsafe(self._cancel)
        deadline = time.monotonic() + SECONDS_TO_CANCEL
        while self._tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(max(0.0, self._cancelled_at + SECONDS_TO_DROP - time.monotonic()))

    def _cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()


requests = Requests()

_threads_lost = False


def threads_lost() -> bool:
    """Return True in the child of a process that had loaded obstore: it has no threads of it."""
    return _threads_lost


def _close() -> None:
    if "obstore" in sys.modules and not _threads_lost:
        requests.close()


def _after_fork() -> None:
    global _threads_lost
    _threads_lost = _threads_lost or "obstore" in sys.modules


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
