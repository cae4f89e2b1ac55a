"""The pipeline of a read: plan → batches of encoded frames → decode → place."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.decode_threads import DecodePool, cpu_count
from xarray_dicom.errors import CorruptDicomError, located
from xarray_dicom.frames.fetch import closing, fetch_from
from xarray_dicom.frames.source import Budget, EncodedFrames, FrameSource
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.pixels import decoder_for
from xarray_dicom.reading.decode import Share, decode_share
from xarray_dicom.reading.output import Output, Pixels
from xarray_dicom.reading.plan import Plan
from xarray_dicom.runtime import gather, off_loop, runtime, wait_for

Int64s = NDArray[np.int64]

#: Decoded bytes of a read that the calling thread decodes itself.
FEW_BYTES = 4 * 2**20

#: Share of the memory budget that they take at most, for they don't count against it.
FEW_SHARE = 16

#: Frames that are worth waking a thread, which takes about 0.1 ms, a quarter of a JPEG tile.
FRAMES_PER_THREAD = 2

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
    at_once = _frames_at_once(array, plan)
    budget = Budget(array.memory_budget, window, at_once if at_once > 1 else cpu_count())
    decoding: Decoding | None = None
    try:
        async with closing(fetch_from(selections, budget)) as batches:
            async for position, batch in batches:
                if decoding is None:
                    # Not before the sources have found that their bytes can hold the frames.
                    try:
                        output = await _blank(Output(array, shape, channels, plan))
                    except BaseException:
                        batch.release()
                        raise
                    decoding = Decoding(array, plan, output, batched=at_once > 1)
                source, numbers = selections[position]
                await decoding.add(_share(source, batch, numbers, starts[position]))
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


def _frames_at_once(array: FrameArray, plan: Plan) -> int:
    """Return how many frames the decoder takes at once."""
    if not len(plan.frames):
        return 1
    first = int(plan.frames[0])
    home = int(np.searchsorted(array.starts, first, "right")) - 1
    source = array.sources[home]
    # Pixels that it can't decode are named by the first frame.
    with located(source.location, first - int(array.starts[home]) + 1):
        return decoder_for(array.decoder, source.format).frames_at_once


async def _blank(output: Output) -> Output:
    """Fill an output that its frames don't cover."""
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
    if not len(plan.frames):
        return [], []
    homes, first = np.zeros(1, np.int64), np.zeros(1, np.int64)
    if len(array.sources) > 1:
        home = np.searchsorted(array.starts, plan.frames, "right") - 1
        homes, first = np.unique(home, return_index=True)
    selections, starts = [], []
    ends = [*first[1:].tolist(), len(plan.frames)]
    for number, start, end in zip(homes.tolist(), first.tolist(), ends, strict=True):
        targets = plan.frames[start:end] - array.starts[number]
        repeated = bool((targets[1:] == targets[:-1]).any())
        selections.append((array.sources[number], np.unique(targets) if repeated else targets))
        starts.append((start, targets))
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
    """Decoding of the batches of one read, in decode threads or the calling one.

    Parameters
    ----------
    array, plan, output
        The read.
    batched
        True if the decoder takes many frames at once, so that batches stay whole.
    """

    def __init__(self, array: FrameArray, plan: Plan, output: Output, *, batched: bool) -> None:
        self._read = (array, plan, output)
        self._batched = batched
        nbytes = len(plan.frames) * array.sources[0].format.frame_nbytes
        few = min(FEW_BYTES, array.memory_budget // FEW_SHARE)
        self._few = nbytes <= few and not runtime().on_loop()
        self._shares: list[Share] = []
        self._waiting: deque[Future[None]] = deque()

    async def add(self, share: Share) -> None:
        """Decode and place the frames of a batch, and release it then.

        Decode threads do it, meanwhile the next batch is fetched; few frames that a calling
        thread has read wait for `finish`.
        """
        if self._few:
            # Held any longer, it would keep readers that hold a batch themselves from the next.
            share.batch.release()
            self._shares.append(share)
            return
        pool = runtime().decode_pool
        # A lone batch must not leave other processors idle.
        parts = [share] if self._batched else share.split(pool.parallelism())
        countdown = _Countdown(len(parts), share.batch)
        for part in parts:
            self._submit(deque([part])).add_done_callback(countdown.count)
        while len(self._waiting) > 4 * cpu_count():
            await wait_for(self._waiting.popleft())
        for future in tuple(islice(self._waiting, 2)):
            if future.done():
                future.result()

    async def finish(self) -> None:
        """Wait until all frames are placed."""
        if self._shares:
            self._decode_few(runtime().decode_pool)
        while self._waiting:
            await wait_for(self._waiting.popleft())

    def cancel(self) -> None:
        """Give up the frames that no thread has begun with."""
        for future in self._waiting:
            future.cancel()

    def _decode_few(self, pool: DecodePool) -> None:
        """Decode in the calling thread, with the help of another one for several frames."""
        shares, self._shares = self._shares, []
        n_frames = sum(len(share.members) for share in shares)
        threads = min(pool.parallelism(), max(1, n_frames // FRAMES_PER_THREAD))
        if self._batched:
            threads = 1
        # Whoever is free takes the next frame: a thread that wakes late leaves more to the other.
        pieces = deque(
            piece
            for share in shares
            for piece in (share.pieces(1) if threads > 1 and not share.is_native else [share])
        )
        for _ in range(threads - 1):
            self._submit(pieces)
        with pool.calling_thread() as is_free:
            if is_free:
                self._decode(pieces)
            else:
                self._submit(pieces)

    def _submit(self, shares: deque[Share]) -> Future[None]:
        future = runtime().decode_pool.submit(self._decode, shares)
        self._waiting.append(future)
        return future

    def _decode(self, shares: deque[Share]) -> None:
        """Decode shares until none is left; other threads may take of them as well."""
        while shares:
            try:
                share = shares.popleft()
            except IndexError:
                # Another thread has taken the last one.
                return
            decode_share(*self._read, share)


class _Countdown:
    """Release of a batch when all jobs that decode it are done."""

    def __init__(self, jobs: int, batch: EncodedFrames) -> None:
        self._jobs = jobs
        self._batch = batch
        self._lock = threading.Lock()

    def count(self, _: Future[None]) -> None:
        """Count one job that is done."""
        with self._lock:
            self._jobs -= 1
            last = not self._jobs
        if last:
            self._batch.release()
