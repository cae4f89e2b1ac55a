"""Encoded frames of one instance: each alone, or many fetched ahead of their use."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import FrameOffsets, Spans
from xarray_dicom.runtime import MEMORY_BUDGET, run, runtime
from xarray_dicom.storage import ByteSource
from xarray_dicom.storage.ranges import merge

Entry = TypeVar("Entry")

#: Entries whose frames are looked up at a time.
LOOKED_UP = 4096

#: Batches of frames that are held at a time: one being used, one on its way.
BATCHES = 2


class EncodedFrames:
    """The frames of one instance as they are stored, without item headers.

    It pickles as its instance does: what was fetched ahead stays behind.

    Parameters
    ----------
    instance
        Where the frames lie.
    memory_budget
        Bytes held that were fetched ahead.
    """

    def __init__(self, instance: IndexedFrames, memory_budget: int = MEMORY_BUDGET) -> None:
        self.frames = instance
        self.memory_budget = memory_budget
        self._batches: list[Batch] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return EncodedFrames, (self.frames, self.memory_budget)

    @cached_property
    def offsets(self) -> FrameOffsets:
        """Where the frames lie; scans the items once where there is no usable table."""
        return run(self.frames.frame_offsets())

    @property
    def held(self) -> int:
        """Bytes of frames that were asked for ahead and not yet used."""
        return sum(batch.held for batch in self._batches)

    def read(self, index: int) -> bytes:
        """The codestream of one frame, numbered from 0: fetched ahead, or in one request.

        A native frame of 1-bit pixels is all bytes that hold a bit of it (PS3.5 8.1.1).

        Raises
        ------
        CorruptDicomError
            If its bytes are lost or damaged; names the source and the frame.
        SourceChangedError
            If the object was replaced.
        """
        try:
            taken = (batch.take(index) for batch in tuple(self._batches))
            blob = next((found for found in taken if found is not None), None)
            return bytes(self.offsets.codestream(self._fetch(index) if blob is None else blob))
        except BaseException as error:
            # A notebook keeps the traceback of an error, and with it whoever was to read on.
            self._drop()
            if not isinstance(error, CorruptDicomError):
                raise
            location = self.frames.source.location
            told = str(error).removeprefix(f"{location}: ")
            raise CorruptDicomError(f"{location}: frame {index + 1}: {told}") from error

    def _fetch(self, index: int) -> bytes:
        spans = self.offsets.spans(np.asarray([index], np.int64))
        return run(_fetch(self.frames.source, int(spans.offset[0]), int(spans.length[0])))

    def _drop(self) -> None:
        while self._batches:
            self._batches.pop().cancel()

    def ahead(self, entries: Iterable[Entry], index: Callable[[Entry], int]) -> Iterator[Entry]:
        """Hand on `entries` while the frames that they need are fetched, merged and at once.

        One use at a time has frames fetched ahead: what an earlier one left is dropped.

        Parameters
        ----------
        entries
            What is about to be used, in this order.
        index
            The frame, numbered from 0, that an entry needs.
        """
        self._drop()
        slots = asyncio.Semaphore(self.frames.source.request_sizing.window)
        planned = self._plan(entries, index)
        held: deque[tuple[list[Entry], Batch]] = deque()
        try:
            while True:
                for members, indices, spans in islice(planned, BATCHES - len(held)):
                    batch = Batch(self.frames.source, indices, spans, slots)
                    held.append((members, batch))
                    self._batches.append(batch)
                if not held:
                    return
                yield from held[0][0]
                self._forget(held.popleft()[1])
        finally:
            for _, batch in held:
                self._forget(batch)

    def _forget(self, batch: Batch) -> None:
        batch.cancel()
        if batch in self._batches:
            self._batches.remove(batch)

    def _plan(
        self, entries: Iterable[Entry], index: Callable[[Entry], int]
    ) -> Iterator[tuple[list[Entry], NDArray[np.int64], Spans]]:
        """Entries in batches that fit the memory, with the frames there are and their spans."""
        limit = max(self.memory_budget // BATCHES, 1)
        gap = self.frames.source.request_sizing.gap
        waiting = iter(entries)
        while members := list(islice(waiting, LOOKED_UP)):
            indices = np.asarray([index(entry) for entry in members], np.int64)
            # What isn't a frame is left to whoever asks for it.
            there = (indices >= 0) & (indices < self.frames.n_frames)
            length = np.zeros(len(indices), np.int64)
            length[there] = self.offsets.spans(indices[there]).length + gap
            cuts = np.flatnonzero(np.diff(np.cumsum(length) // limit)) + 1
            for chosen in np.split(np.arange(len(members)), cuts):
                frames = indices[chosen][there[chosen]]
                yield [members[i] for i in chosen], frames, self.offsets.spans(frames)


class Batch:
    """Frames on their way: neighbours share a request, requests start in the order of use.

    Parameters
    ----------
    source
        Where they come from.
    indices, spans
        The frames in the order of their use, and where they lie.
    slots
        Holds requests back while others are in flight.
    """

    def __init__(
        self,
        source: ByteSource,
        indices: NDArray[np.int64],
        spans: Spans,
        slots: asyncio.Semaphore,
    ) -> None:
        sizing = source.request_sizing
        merged = merge(spans.offset, spans.length, gap=sizing.gap, largest=sizing.largest)
        requests: dict[int, Future[bytes]] = {}
        self._uses = Counter(indices.tolist())
        self._pieces: dict[int, tuple[Future[bytes], int, int]] = {}
        for index, request, start, length in zip(
            indices.tolist(),
            merged.request.tolist(),
            merged.start.tolist(),
            spans.length.tolist(),
            strict=True,
        ):
            if request < 0:
                continue
            if request not in requests:
                place = int(merged.offsets[request]), int(merged.lengths[request])
                requests[request] = asyncio.run_coroutine_threadsafe(
                    _fetch(source, *place, slots), runtime().loop
                )
            self._pieces[index] = requests[request], start, length

    @property
    def held(self) -> int:
        """Bytes of frames that are to be used."""
        return sum(length for _, _, length in self._pieces.values())

    def take(self, index: int) -> memoryview | None:
        """The bytes of a frame, kept until its last use; None if they aren't in the batch."""
        piece = self._pieces.get(index)
        if piece is None:
            return None
        request, start, length = piece
        self._uses[index] -= 1
        if self._uses[index] < 1:
            self._pieces.pop(index, None)
        try:
            return memoryview(request.result())[start : start + length]
        except CancelledError:
            return None

    def cancel(self) -> None:
        """Give up what hasn't been used."""
        for request, _, _ in tuple(self._pieces.values()):
            request.cancel()
        self._pieces.clear()


async def _fetch(
    source: ByteSource, offset: int, length: int, slots: asyncio.Semaphore | None = None
) -> bytes:
    """One range, of the version that was opened."""
    async with slots or asyncio.Semaphore():
        try:
            content = await source.read(offset, length)
        except CorruptDicomError:
            # Bytes of a replaced object look damaged: that it was replaced explains more.
            await source.verify()
            raise
        await source.verify()
        return content
