"""What a process has once: an event loop, two pools of threads, a byte budget.

All I/O runs as coroutines on one private event loop, so a read works the same from a
script, a dask thread, a notebook's loop, or fsspec's own. A forked child starts afresh:
threads do not survive `fork`, and a loop without its thread hangs.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from xarray_dicom.decode_threads import (
    Caller,
    DecodePool,
    DecodeThreads,
    Slots,
    cpu_count,
    on_behalf_of,
)

T = TypeVar("T")

#: Bytes that one process holds at a time, fetched or being decoded, unless told otherwise.
MEMORY_BUDGET = 256 * 2**20

STORAGE_THREADS = 16


class ByteBudget:
    """Bytes in flight in this process, granted first come, first served.

    Lives on the runtime's event loop, so it needs no lock. Whoever asks for more than
    the limit is let in alone: one frame must always be readable.
    """

    def __init__(self) -> None:
        self.used = 0
        self._waiting: deque[tuple[int, int, asyncio.Future[None]]] = deque()

    async def acquire(self, amount: int, limit: int) -> None:
        """Wait until `amount` more bytes fit under `limit`."""
        if not self._waiting and self._fits(amount, limit):
            self.used += amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (amount, limit, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(amount)
            else:
                self._waiting.remove(entry)
                self._grant()
            raise

    def release(self, amount: int) -> None:
        """Give `amount` bytes back."""
        self.used -= amount
        self._grant()

    def _fits(self, amount: int, limit: int) -> bool:
        return self.used == 0 or self.used + amount <= limit

    def _grant(self) -> None:
        while self._waiting:
            amount, limit, turn = self._waiting[0]
            if not self._fits(amount, limit):
                return
            self._waiting.popleft()
            if not turn.done():
                self.used += amount
                turn.set_result(None)


class Runtime:
    """The loop, pools and budget of one process, each made on first use."""

    def __init__(self) -> None:
        self.budget = ByteBudget()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._decode: DecodePool | None = None
        self._storage: ThreadPoolExecutor | None = None
        self._shared: dict[Hashable, Any] = {}
        self._decode_threads = DecodeThreads()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The private event loop, running in a daemon thread."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="xarray-dicom-io", daemon=True
                )
                self._thread.start()
            return self._loop

    @property
    def decode_pool(self) -> DecodePool:
        """Threads that decode frames: one per processor this process may use."""
        with self._lock:
            if self._decode is None:
                self._decode = DecodePool(cpu_count())
            return self._decode

    def slots(self) -> Slots:
        """Decode threads for a read that this thread asks for; see `DecodeThreads`."""
        return self._decode_threads.slots()

    @property
    def storage_pool(self) -> ThreadPoolExecutor:
        """Threads that call stores without an asynchronous interface."""
        with self._lock:
            if self._storage is None:
                self._storage = ThreadPoolExecutor(STORAGE_THREADS, "xarray-dicom-storage")
            return self._storage

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returned the first time that this process asked for `key`."""
        with self._lock:
            if key in self._shared:
                found: T = self._shared[key]
                return found
        made = make()
        with self._lock:
            kept: T = self._shared.setdefault(key, made)
            return kept

    def known(self, key: Hashable) -> Any:
        """What `shared` gave for `key` before; None if nobody asked for it yet."""
        with self._lock:
            return self._shared.get(key)

    def on_loop(self) -> bool:
        """Whether the caller runs in the loop's own thread."""
        return self._thread is not None and threading.current_thread() is self._thread


_runtime = Runtime()

#: What a forked child got from its parents, kept for its life: the selector is the same
#: kernel object, so closing an inherited connection would deafen the parent to it.
_inherited: list[Runtime] = []


def runtime() -> Runtime:
    """The runtime of this process."""
    return _runtime


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the private loop and wait for it: the synchronous face of all I/O."""
    current = runtime()
    if current.on_loop():
        coroutine.close()
        raise RuntimeError("a synchronous read on the I/O loop would wait for itself; await it")
    with _calling(current):
        future = asyncio.run_coroutine_threadsafe(coroutine, current.loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the private loop and await it from whichever loop the caller has."""
    current = runtime()
    if current.on_loop():
        return await coroutine
    with _calling(current):
        future = asyncio.run_coroutine_threadsafe(coroutine, current.loop)
    return await asyncio.wrap_future(future)


@contextmanager
def _calling(current: Runtime) -> Iterator[None]:
    """Coroutines that are handed to the loop meanwhile run on behalf of a new caller."""
    token = on_behalf_of.set(Caller(current.slots()))
    try:
        yield
    finally:
        on_behalf_of.reset(token)


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a blocking `function` in a storage thread and await it on the private loop."""
    pool = runtime().storage_pool
    # The thread works for whoever awaits it, so it sees the same context variables.
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, context.run, function, *args)


def _start_afresh() -> None:
    global _runtime
    _inherited.append(_runtime)
    _runtime = Runtime()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
