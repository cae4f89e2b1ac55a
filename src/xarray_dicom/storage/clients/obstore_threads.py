"""Threads of obstore: at the end of a process, and in a forked one, which has none of them."""

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

#: Longest wait in seconds at the end of a process, and for how long a thread goes on with a
#: request that was cancelled.
SECONDS_TO_CANCEL = 2.0
SECONDS_TO_DROP = 0.1


class ObstoreThreads:
    """Requests that obstore's threads are busy with.

    A thread that wants the interpreter back while it ends takes the process down.

    Attributes
    ----------
    lost
        True in a child of a process that had loaded obstore.
    """

    def __init__(self) -> None:
        self.lost = False
        self._ending = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cancelled_at = -math.inf

    async def run(self, verb: Callable[..., Awaitable[T]], *args: Any, **keywords: Any) -> T:
        """Await a coroutine function of a store on the event loop."""
        if self.lost:
            raise DicomError(
                "obstore doesn't work in a process that was forked from one which has loaded it; "
                "start processes by 'spawn' or 'forkserver'"
            )
        await enter_loop()
        task = asyncio.current_task()
        if self._ending or task is None:
            raise RuntimeError("the interpreter is about to end")
        self._tasks.add(task)
        try:
            return await verb(*args, **keywords)
        except asyncio.CancelledError:
            self._cancelled_at = time.monotonic()
            raise
        finally:
            self._tasks.discard(task)

    def end(self) -> None:
        """Cancel all requests, and wait until the threads have dropped them."""
        self._ending = True
        for task in tuple(self._tasks):
            runtime().loop.call_soon_threadsafe(task.cancel)
        deadline = time.monotonic() + SECONDS_TO_CANCEL
        while self._tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(max(0.0, self._cancelled_at + SECONDS_TO_DROP - time.monotonic()))

    def lose(self) -> None:
        """Forget the requests of the process that this one was forked from."""
        self.lost = self.lost or "obstore" in sys.modules
        self._tasks.clear()
        self._cancelled_at = -math.inf


threads = ObstoreThreads()

atexit.register(threads.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=threads.lose)
