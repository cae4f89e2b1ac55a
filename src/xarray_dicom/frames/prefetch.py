"""Encoded frames for synchronous callers: each alone, or many fetched before their use."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from xarray_dicom.errors import CorruptDicomError, located
from xarray_dicom.frames.fetch import closing, fetch_from
from xarray_dicom.frames.source import Budget, FrameSource, Int64s
from xarray_dicom.runtime import MEMORY_BUDGET, run, runtime

Entry = TypeVar("Entry")

#: Entries whose frames are looked up at a time.
ENTRIES = 4096

#: Batches of frames that are held at a time: one in use, one on its way.
BATCHES = 2


class PrefetchedFrames:
    """Frames of one instance as they are stored, without item headers.

    It pickles as its source does, without what was prefetched.

    Parameters
    ----------
    source
        The frames.
    memory_budget
        Bytes of frames that are held before they are used.
    """

    def __init__(self, source: FrameSource, memory_budget: int = MEMORY_BUDGET) -> None:
        self.source = source
        self.memory_budget = memory_budget
        self._batches: list[Batch] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return PrefetchedFrames, (self.source, self.memory_budget)

    @property
    def nbytes(self) -> int:
        """Bytes of frames that were prefetched and not used yet."""
        return sum(batch.nbytes for batch in self._batches)

    def read(self, index: int) -> bytes:
        """Return the codestream of one frame: prefetched, or fetched alone.

        A native frame of 1-bit pixels is all bytes that hold a bit of it (PS3.5 8.1.1).

        Parameters
        ----------
        index
            Number of the frame, from 0.

        Raises
        ------
        CorruptDicomError
            If its bytes are lost or damaged; names the source and the frame.
        SourceChangedError
            If the object was replaced.
        """
        try:
            with located(self.source.location):
                for batch in tuple(self._batches):
                    content = batch.take(index)
                    if content is not None:
                        return content
                alone = Batch(self.source, np.array([index]), self.memory_budget)
                return alone.take(index) or b""
        except BaseException as error:
            # A notebook keeps the traceback of an error, and with it the iterator.
            self._drop()
            if isinstance(error, CorruptDicomError):
                error.complete(frame=index + 1)
            raise

    def prefetch(self, entries: Iterable[Entry], index: Callable[[Entry], int]) -> Iterator[Entry]:
        """Yield `entries` while the frames that they need are fetched, merged and concurrently.

        One iteration at a time prefetches: frames of an earlier one are dropped.

        Parameters
        ----------
        entries
            What is about to be used, in this order.
        index
            Number of the frame, from 0, that an entry needs.
        """
        self._drop()
        planned = self._plan(entries, index)
        held: deque[tuple[list[Entry], Batch]] = deque()
        try:
            while True:
                for members, numbers in islice(planned, BATCHES - len(held)):
                    batch = Batch(self.source, numbers, self.memory_budget)
                    held.append((members, batch))
                    self._batches.append(batch)
                if not held:
                    return
                yield from held[0][0]
                self._forget(held.popleft()[1])
        finally:
            for _, batch in held:
                self._forget(batch)

    def _drop(self) -> None:
        while self._batches:
            self._batches.pop().cancel()

    def _forget(self, batch: Batch) -> None:
        batch.cancel()
        if batch in self._batches:
            self._batches.remove(batch)

    def _plan(
        self, entries: Iterable[Entry], index: Callable[[Entry], int]
    ) -> Iterator[tuple[list[Entry], Int64s]]:
        """Divide entries into batches that fit the memory, with the numbers of their frames."""
        limit = max(self.memory_budget // BATCHES, 1)
        remaining = iter(entries)
        while members := list(islice(remaining, ENTRIES)):
            numbers = np.asarray([index(entry) for entry in members], np.int64)
            # Numbers of no frame are reported by whoever reads them.
            valid = (numbers >= 0) & (numbers < self.source.n_frames)
            length = np.zeros(len(numbers), np.int64)
            length[valid] = _encoded_nbytes(self.source, numbers[valid])
            cuts = np.flatnonzero(np.diff(np.cumsum(length) // limit)) + 1
            for positions in np.split(np.arange(len(members)), cuts):
                yield [members[i] for i in positions], numbers[positions][valid[positions]]


def _encoded_nbytes(source: FrameSource, numbers: Int64s) -> Int64s:
    """Return the bytes that frames take: as stored where the source knows, else as decoded."""
    known = getattr(source, "encoded_nbytes", None)
    if known is None:
        return np.full(len(numbers), source.format.frame_nbytes, np.int64)
    lengths: Int64s = known(numbers)
    return lengths


class Batch:
    """Frames that are fetched together, each kept until its last use.

    Parameters
    ----------
    source
        The frames.
    numbers
        Their numbers in the order of their use; they may repeat.
    memory_budget
        Bytes that this process may hold in flight.
    """

    def __init__(self, source: FrameSource, numbers: Int64s, memory_budget: int) -> None:
        self._uses = Counter(numbers.tolist())
        self._frames: dict[int, Future[bytes]] = {number: Future() for number in self._uses}
        self._due: Coroutine[Any, Any, None] | None = None
        self._fetching: Future[None] | None = None
        if not self._frames:
            return
        fetching = _fetch(source, np.unique(numbers), memory_budget, self._deliver)
        if getattr(source, "immediate", False):
            # Fetched when the first of them is used: there is nothing to wait for.
            self._due = fetching
        else:
            self._fetching = runtime().start(fetching, copy_context())
            self._fetching.add_done_callback(self._fail)

    @property
    def nbytes(self) -> int:
        """Bytes of frames that were fetched and not used yet."""
        done = (frame for frame in tuple(self._frames.values()) if frame.done())
        return sum(len(frame.result()) for frame in done if not _failed(frame))

    def take(self, number: int) -> bytes | None:
        """Return the bytes of a frame; None if they aren't in the batch."""
        frame = self._frames.get(number)
        if frame is None:
            return None
        due, self._due = self._due, None
        if due is not None:
            run(due)
        self._uses[number] -= 1
        if self._uses[number] < 1:
            self._frames.pop(number, None)
        try:
            return frame.result()
        except CancelledError:
            return None

    def cancel(self) -> None:
        """Give up what hasn't been used."""
        if self._fetching is not None:
            self._fetching.cancel()
        if self._due is not None:
            self._due.close()
            self._due = None
        self._frames.clear()

    def _deliver(self, number: int, content: bytes | CorruptDicomError) -> None:
        frame = self._frames.get(number)
        if frame is None or frame.done():
            return
        if isinstance(content, bytes):
            frame.set_result(content)
        else:
            frame.set_exception(content)

    def _fail(self, fetching: Future[None]) -> None:
        error = CancelledError() if fetching.cancelled() else fetching.exception()
        for frame in tuple(self._frames.values()):
            if error is not None and not frame.done():
                frame.set_exception(error)


def _failed(frame: Future[bytes]) -> bool:
    return frame.cancelled() or frame.exception() is not None


async def _fetch(
    source: FrameSource,
    numbers: Int64s,
    memory_budget: int,
    deliver: Callable[[int, bytes | CorruptDicomError], None],
) -> None:
    """Fetch frames of the version that was opened, and deliver the codestream of each.

    Parameters
    ----------
    source, numbers
        The frames, ascending.
    memory_budget
        Bytes that this process may hold in flight.
    deliver
        Called with the number of each frame and its codestream, or what is wrong with it.
    """
    try:
        async with closing(fetch_from([(source, numbers)], Budget(memory_budget))) as batches:
            async for _, batch in batches:
                try:
                    for position, number in enumerate(batch.numbers.tolist()):
                        try:
                            deliver(number, bytes(batch.codestream(position)))
                        except CorruptDicomError as error:
                            deliver(number, error)
                finally:
                    batch.release()
    except CorruptDicomError:
        # Bytes of a replaced object look damaged: that it was replaced explains more.
        await source.verify()
        raise
    await source.verify()
