"""Event loop, pools of threads and byte budget of a process.

All I/O is written as coroutines. `run` drives one in the calling thread for as long as nothing
has to be waited for: local files and memory answer at once, and a thread that waits for
another one takes longer than they do. A coroutine that is about to wait for a network awaits
`enter_loop`, and goes on from there on one private event loop, so that a read works the same
from a script, a dask thread, a notebook's loop, or fsspec's own. A forked child starts afresh:
threads do not survive `fork`, and a loop without its thread hangs.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from xarray_dicom.decode_threads import (
    Caller,
    DecodePool,
    DecodeThreads,
    Slots,
    cpu_count,
    on_behalf_of,
)
from xarray_dicom.warn import held_back

T = TypeVar("T")

#: Bytes that one process holds at a time, fetched or being decoded, unless told otherwise.
MEMORY_BUDGET = 256 * 2**20

STORAGE_THREADS = 16


class ByteBudget:
    """Bytes in flight in this process, granted first come, first served.

    Whoever asks for more than the limit is let in alone: one frame must always be readable.
    """

    def __init__(self) -> None:
        self.used = 0
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, int, Future[None]]] = deque()

    async def acquire(self, amount: int, limit: int) -> None:
        """Wait until `amount` more bytes fit under `limit`."""
        with self._lock:
            if not self._waiting and self._fits(amount, limit):
                self.used += amount
                return
            turn: Future[None] = Future()
            entry = (amount, limit, turn)
            self._waiting.append(entry)
        try:
            await wait_for(turn)
        except BaseException:
            with self._lock:
                granted = entry not in self._waiting
                if not granted:
                    self._waiting.remove(entry)
                    self._grant()
            if granted:
                self.release(amount)
            raise

    def release(self, amount: int) -> None:
        """Give `amount` bytes back."""
        with self._lock:
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
            self.used += amount
            if not turn.cancelled():
                turn.set_result(None)


class Lease:
    """Bytes of the budget that several share; the last to release them gives them back."""

    def __init__(self, budget: ByteBudget, amount: int) -> None:
        self._budget = budget
        self._amount = amount
        self._holders = 0
        self._lock = threading.Lock()

    async def acquire(self, limit: int) -> Lease:
        """Wait until the bytes fit under `limit`, and hold them."""
        await self._budget.acquire(self._amount, limit)
        self._holders = 1
        return self

    def share(self) -> Lease:
        """Add a holder, who must release them too."""
        with self._lock:
            self._holders += 1
        return self

    def release(self) -> None:
        """Hold them no longer; without effect where they never were held."""
        with self._lock:
            if not self._holders:
                return
            self._holders -= 1
            if self._holders:
                return
        self._budget.release(self._amount)


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

    def start(
        self,
        coroutine: Coroutine[Any, Any, T],
        context: contextvars.Context,
        future: Future[T] | None = None,
    ) -> Future[T]:
        """Drive a coroutine, which may be under way already, on the loop.

        Parameters
        ----------
        coroutine
            The coroutine.
        context
            The context that it runs in, the one that it was begun in.
        future
            Gets its result, and cancels it.

        Returns
        -------
        concurrent.futures.Future
            `future` if it was given.
        """
        future = Future() if future is None else future
        loop = self.loop
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            if future.cancelled():
                coroutine.close()
                return
            # The same context as before: what was set there is reset there.
            tasks.append(loop.create_task(coroutine, context=context))
            tasks[0].add_done_callback(finish)

        def finish(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                future.cancel()
            if not future.set_running_or_notify_cancel():
                return
            error = task.exception()
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

        def stop(future: Future[T]) -> None:
            if future.cancelled():
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])

        future.add_done_callback(stop)
        loop.call_soon_threadsafe(begin)
        return future

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
    """Drive `coroutine` to its end: the synchronous face of all I/O.

    It runs in the calling thread until it awaits `enter_loop`, and from there on the private
    event loop, while the caller waits.
    """
    current = runtime()
    if current.on_loop():
        coroutine.close()
        raise RuntimeError("a synchronous read on the I/O loop would wait for itself; await it")
    with held_back():
        context = contextvars.copy_context()
        context.run(on_behalf_of.set, Caller(current.slots()))
        try:
            waits_for = context.run(coroutine.send, None)
        except StopIteration as done:
            result: T = done.value
            return result
        if waits_for is not _LOOP:
            coroutine.close()
            raise RuntimeError(f"a coroutine waits for {waits_for!r} outside the I/O loop")
        # Made before: an interrupt may come as soon as the loop has the coroutine.
        future: Future[T] = Future()
        try:
            return current.start(coroutine, context, future).result()
        except BaseException:
            future.cancel()
            raise


async def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive `coroutine` on the private loop and await it from whichever loop the caller has."""
    current = runtime()
    if current.on_loop():
        return await coroutine
    with held_back():
        context = contextvars.copy_context()
        context.run(on_behalf_of.set, Caller(current.slots()))
        return await asyncio.wrap_future(current.start(coroutine, context))


#: What a coroutine yields to go on in the loop.
_LOOP = object()


@types.coroutine
def _yield_to_loop() -> Generator[Any, None, None]:
    yield _LOOP


async def enter_loop() -> None:
    """Go on on the private event loop; whoever waits for a network awaits this first."""
    if not runtime().on_loop():
        await _yield_to_loop()


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a blocking `function`: in a storage thread, if the loop must not wait for it."""
    current = runtime()
    if not current.on_loop():
        return function(*args)
    # The thread works for whoever awaits it, so it sees the same context variables.
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(current.storage_pool, context.run, function, *args)


async def off_loop(function: Callable[..., T], *args: Any) -> T:
    """Compute in a decode thread, if it would hold up the loop and so all other reads."""
    current = runtime()
    if not current.on_loop():
        return function(*args)
    return await asyncio.get_running_loop().run_in_executor(current.decode_pool, function, *args)


async def wait_for(future: Future[T]) -> T:
    """Wait for what another thread does, in the calling thread or on the loop."""
    if runtime().on_loop():
        return await asyncio.wrap_future(future)
    return future.result()


async def gather(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all, concurrently on the loop and one after another in a calling thread."""
    if runtime().on_loop():
        return list(await asyncio.gather(*coroutines))
    waiting = iter(coroutines)
    try:
        return [await coroutine for coroutine in waiting]
    finally:
        for coroutine in waiting:
            coroutine.close()


def _start_afresh() -> None:
    global _runtime
    _inherited.append(_runtime)
    _runtime = Runtime()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
