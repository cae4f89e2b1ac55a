"""Results of concurrent coroutines, taken in the order in which they complete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class TaskQueue(Generic[T]):
    """Tasks of the event loop, and their results as they complete; an asynchronous iterator.

    The iteration ends when all tasks have ended, and raises the first error of one. Leaving the
    block cancels the tasks that are still running.

    Parameters
    ----------
    discard
        Called with each result that was not taken.
    """

    def __init__(self, discard: Callable[[T], None] = lambda _: None) -> None:
        self._discard = discard
        self._arrived: asyncio.Queue[tuple[asyncio.Task[T | None] | None, T | None]] = (
            asyncio.Queue()
        )
        self._running: set[asyncio.Task[T | None]] = set()
        self._pending = 0

    async def __aenter__(self) -> TaskQueue[T]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # A task may start others until it is cancelled.
        while self._running:
            tasks = tuple(self._running)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._running.difference_update(tasks)
        while not self._arrived.empty():
            ended, result = self._arrived.get_nowait()
            if ended is not None and not ended.cancelled() and ended.exception() is None:
                result = ended.result()
            if result is not None:
                self._discard(result)

    def put(self, result: T) -> None:
        """Add a result; a task that has several adds them itself."""
        self._arrived.put_nowait((None, result))

    def start(
        self,
        coroutine: Coroutine[Any, Any, T | None],
        ended: Callable[[asyncio.Task[T | None]], None] | None = None,
    ) -> None:
        """Run a coroutine, and add its result unless that is None.

        Parameters
        ----------
        coroutine
            The coroutine.
        ended
            Called with its task when that is done, also if it was cancelled before it began.
        """

        def complete(task: asyncio.Task[T | None]) -> None:
            self._running.discard(task)
            self._arrived.put_nowait((task, None))
            if ended is not None:
                ended(task)

        self._pending += 1
        task = asyncio.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(complete)

    def __aiter__(self) -> TaskQueue[T]:
        return self

    async def __anext__(self) -> T:
        while self._pending or not self._arrived.empty():
            ended, result = await self._arrived.get()
            if ended is not None:
                self._pending -= 1
                result = ended.result()
            if result is not None:
                return result
        raise StopAsyncIteration
