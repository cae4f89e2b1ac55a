"""Threads that decode frames, shared fairly by the reads of a process."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")


def cpu_count() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(slots=True, eq=False)
class Slots:
    """Decode threads that the reads of one kind of caller may occupy together."""

    limit: int
    occupied: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Caller of `run`, which takes turns with others at decoding."""

    slots: Slots


#: On whose behalf a coroutine runs; None for what nobody waits for.
on_behalf_of: ContextVar[Caller | None] = ContextVar("xarray-dicom-caller", default=None)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.function(*self.args))
        except BaseException as error:
            self.future.set_exception(error)


class DecodePool(Executor):
    """Threads that decode; callers take turns, whatever the number of jobs each has waiting.

    Parameters
    ----------
    threads
        How many there are.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "xarray-dicom-decode")
        self._unlimited = Caller(Slots(threads))
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Caller, deque[_Job]] = OrderedDict()
        #: Turns that could not be used as all who waited had their slots occupied.
        self._unused = 0

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `function` for the caller on whose behalf the current coroutine runs."""
        if kwargs:
            raise TypeError("jobs of the decode pool have no keywords")
        future: Future[T] = Future()
        caller = on_behalf_of.get() or self._unlimited
        # The thread works for whoever submits, so it sees the same context variables.
        job = _Job(future, copy_context().run, (function, *args))
        with self._lock:
            self._waiting.setdefault(caller, deque()).append(job)
        self._threads.submit(self._take_turn)
        return future

    def parallelism(self) -> int:
        """Return how many threads may decode for the current coroutine."""
        return (on_behalf_of.get() or self._unlimited).slots.limit

    @contextmanager
    def calling_thread(self) -> Iterator[bool]:
        """Let the calling thread decode in the block, if a slot of its caller is free.

        Yields
        ------
        bool
            False if all slots are occupied: the jobs are for the pool.
        """
        slots = (on_behalf_of.get() or self._unlimited).slots
        with self._lock:
            free = slots.occupied < slots.limit
            slots.occupied += free
        try:
            yield free
        finally:
            if free:
                self._vacate(slots)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)

    def _take_turn(self) -> None:
        with self._lock:
            caller = self._next()
            if caller is None:
                self._unused += 1
                return
            jobs = self._waiting[caller]
            job = jobs.popleft()
            if jobs:
                self._waiting.move_to_end(caller)
            else:
                del self._waiting[caller]
            caller.slots.occupied += 1
        job.run()
        self._vacate(caller.slots)

    def _vacate(self, slots: Slots) -> None:
        with self._lock:
            slots.occupied -= 1
            again = self._unused > 0
            self._unused -= again
        if again:
            self._threads.submit(self._take_turn)

    def _next(self) -> Caller | None:
        for caller in self._waiting:
            if caller.slots.occupied < caller.slots.limit:
                return caller
        return None


class DecodeThreads:
    """Limits on the decode threads that a read may occupy, by its caller.

    All of them, but for a task of dask no more than its worker has threads, all workers of
    this process together: the other processors are other workers'.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._anyone = Slots(cpu_count())
        self._dask = Slots(0)
        self._workers: WeakSet[Any] = WeakSet()

    def slots(self) -> Slots:
        """Return the slots for a read by the calling thread."""
        distributed = sys.modules.get("distributed")
        try:
            worker = distributed.get_worker() if distributed else None
        except (ValueError, AttributeError):
            worker = None
        if worker is None:
            return self._anyone
        with self._lock:
            self._workers.add(worker)
            working = [one for one in self._workers if one.status.name != "closed"]
            threads = sum(one.state.nthreads for one in working)
            self._dask.limit = max(1, min(cpu_count(), threads))
        return self._dask
