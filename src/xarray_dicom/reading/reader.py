"""The pipeline of a read: plan → batches of encoded frames → decode → place."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.decode_threads import cpu_count
from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.fetch import closing, fetch_from
from xarray_dicom.frames.source import Budget, EncodedFrames, FrameSource
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.reading.decode import Share, decode_share
from xarray_dicom.reading.output import Output, Pixels
from xarray_dicom.reading.plan import Plan
from xarray_dicom.runtime import gather, off_loop, runtime, wait_for

Int64s = NDArray[np.int64]

#: Decoded bytes of a read that the calling thread decodes itself, with what help there is.
FEW_BYTES = 4 * 2**20

#: Requests of one read that may be under way, unless a source says otherwise.
REQUESTS = 16


async def read(
    array: FrameArray,
    plan: Plan,
    shape: tuple[int, ...],
    channels: slice | Int64s | None,
) -> Pixels:
    """Fetch, decode and place every frame of `plan`.

    Parameters
    ----------
    array
        The frames.
    plan
        Frames to read, and where the pixels of each go.
    shape, channels
        Shape of the output without samples, and samples to keep; as for `Output`.

    Raises
    ------
    CorruptDicomError
        If a frame's bytes are lost or damaged; names the source and the frame.
    SourceChangedError
        If an object was replaced after it was opened.
    """
    selections, starts = _by_source(array, plan)
    window = max((getattr(source, "requests", REQUESTS) for source, _ in selections), default=1)
    budget = Budget(array.memory_budget, window)
    decoding: Decoding | None = None
    try:
        async with closing(fetch_from(selections, budget)) as batches:
            async for position, batch in batches:
                if decoding is None:
                    # Not before the sources have found that their bytes can hold the frames.
                    output = await _blank(Output(array, shape, channels, plan))
                    decoding = Decoding(array, plan, output)
                source, numbers = selections[position]
                share = _share(source, batch, numbers, starts[position])
                await decoding.add(share)
        if decoding is None:
            output = await _blank(Output(array, shape, channels, plan))
        else:
            await decoding.finish()
    except CorruptDicomError:
        # Bytes of a replaced object look damaged: that it was replaced explains more.
        await _verify(selections)
        raise
    finally:
        if decoding is not None:
            decoding.cancel()
    await _verify(selections)
    return output.pixels


async def _blank(output: Output) -> Output:
    if not output.is_blank:
        await off_loop(output.blank)
    return output


async def _verify(selections: Sequence[tuple[FrameSource, Int64s]]) -> None:
    await gather([source.verify() for source, _ in selections])


def _by_source(
    array: FrameArray, plan: Plan
) -> tuple[list[tuple[FrameSource, Int64s]], list[tuple[int, Int64s]]]:
    """Divide the frames of a plan by instance.

    Returns
    -------
    tuple
        Instances with the numbers of their frames, none twice; and for each the position of its
        first target in the plan with the number of every target's frame.
    """
    selections, starts = [], []
    home = np.searchsorted(array.starts, plan.frames, "right") - 1
    for number in np.unique(home).tolist():
        first, last = np.searchsorted(home, (number, number + 1)).tolist()
        targets = plan.frames[first:last] - array.starts[number]
        repeated = (np.diff(targets) == 0).any()
        selections.append((array.sources[number], np.unique(targets) if repeated else targets))
        starts.append((first, targets))
    return selections, starts


def _share(
    source: FrameSource, batch: EncodedFrames, numbers: Int64s, start: tuple[int, Int64s]
) -> Share:
    """Return all frames of a batch, with their targets in the plan."""
    first, targets = start
    left = first + np.searchsorted(targets, batch.numbers)
    right = left + 1
    if targets is not numbers:
        right = first + np.searchsorted(targets, batch.numbers, "right")
    return Share(source, batch, np.arange(len(batch.numbers)), left, right)


class Decoding:
    """Decode threads at work for one read.

    Parameters
    ----------
    array, plan, output
        The read.
    """

    def __init__(self, array: FrameArray, plan: Plan, output: Output) -> None:
        self._read = (array, plan, output)
        self._few = len(plan.frames) * array.sources[0].format.frame_nbytes <= FEW_BYTES
        self._waiting: deque[Future[None]] = deque()

    async def add(self, share: Share) -> None:
        """Decode and place the frames of a batch, and release it then.

        A read of few frames from a source that answers at once is decoded by the calling
        thread, together with other threads where there are several frames. Else decode threads
        do it, meanwhile the next batch is fetched.
        """
        # A lone batch must not leave other processors idle.
        current = runtime()
        pool = current.decode_pool
        shares = deque(share.split(pool.parallelism()))
        remaining = _Countdown(len(shares), share.batch)
        own = shares.popleft() if self._few and not current.on_loop() else None
        for other in shares:
            self._submit(other, remaining)
        if own is not None:
            with pool.calling_thread() as free:
                if free:
                    try:
                        decode_share(*self._read, own)
                    finally:
                        remaining.count()
                else:
                    self._submit(own, remaining)
        while len(self._waiting) > 4 * cpu_count():
            await wait_for(self._waiting.popleft())
        for future in tuple(islice(self._waiting, 2)):
            if future.done():
                future.result()

    def _submit(self, share: Share, remaining: _Countdown) -> None:
        future = runtime().decode_pool.submit(decode_share, *self._read, share)
        future.add_done_callback(remaining.count)
        self._waiting.append(future)

    async def finish(self) -> None:
        """Wait until all frames are placed."""
        while self._waiting:
            await wait_for(self._waiting.popleft())

    def cancel(self) -> None:
        """Give up the frames that no thread has begun with."""
        for future in self._waiting:
            future.cancel()


class _Countdown:
    """Release of a batch when all its shares are decoded."""

    def __init__(self, shares: int, batch: EncodedFrames) -> None:
        self._shares = shares
        self._batch = batch
        self._lock = threading.Lock()

    def count(self, _: Future[None] | None = None) -> None:
        with self._lock:
            self._shares -= 1
            last = not self._shares
        if last:
            self._batch.release()
