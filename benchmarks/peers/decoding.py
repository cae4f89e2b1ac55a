"""imagecodecs on encoded frames in memory: the least cost of decoding."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import Peer, Task
from benchmarks.store import Place
from support.generate.streamed import is_monochrome
from xarray_dicom.decode_threads import cpu_count

DECODERS: dict[str, Callable[..., object]] = {
    "jpeg-ybr422": imagecodecs.jpeg8_decode,
    "jpeg-rgb": functools.partial(imagecodecs.jpeg8_decode, colorspace="rgb", outcolorspace="rgb"),
    "j2k": imagecodecs.jpeg2k_decode,
    "htj2k": imagecodecs.htj2k_decode,
    "jpeg-ls": imagecodecs.jpegls_decode,
    "jpeg-ls-gray": imagecodecs.jpegls_decode,
}

#: Most frames of one call into the pool.
BATCH = 16


class RawDecoding(Peer):
    """Decoding of the frames of a region, each into the same scratch array of its thread.

    Parameters
    ----------
    threads
        Number of threads; by default one for each processor. A single one is the caller's.
    """

    reads = {"slide": frozenset({"region"})}  # noqa: RUF012

    def __init__(self, *, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads or cpu_count()
        self._scratch = threading.local()
        self._pool: ThreadPoolExecutor | None = None

    def refuses(self, task: Task, place: Place) -> str | None:
        if task.target.codec not in DECODERS:
            return "there is nothing to decode"
        return super().refuses(task, place)

    def ready(self, place: Place, task: Task) -> list[bytes]:
        target, codestreams = task.target, []
        with open(target.path, "rb") as file:
            for frame in task.frames:
                file.seek(int(target.offsets[frame]))
                codestreams.append(file.read(int(target.lengths[frame])))
        return codestreams

    def act(self, place: Place, task: Task, subject: list[bytes]) -> None:
        codec, tile = task.target.codec, task.target.tile
        assert codec is not None
        shape = (tile, tile) if is_monochrome(codec) else (tile, tile, 3)
        outputs = self._outputs(len(subject), shape)
        if self.threads == 1:
            _decode(DECODERS[codec], outputs, 0, subject)
            return
        size = min(BATCH, math.ceil(len(subject) / self.threads))
        starts = range(0, len(subject), size)
        batches = [subject[start : start + size] for start in starts]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads)
        decode = functools.partial(_decode, DECODERS[codec], outputs)
        list(self._pool.map(decode, starts, batches))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        super().close()

    def _outputs(self, n_frames: int, shape: tuple[int, ...]) -> Callable[[int], NDArray[np.uint8]]:
        """Return the function from the position of a frame to the array for its pixels."""

        def scratch(frame: int) -> NDArray[np.uint8]:
            pixels: NDArray[np.uint8] | None = getattr(self._scratch, "pixels", None)
            if pixels is None or pixels.shape != shape:
                pixels = self._scratch.pixels = np.empty(shape, np.uint8)
            return pixels

        return scratch

    def pixels(self, result: object, task: Task) -> None:
        return None


class ArrayDecoding(RawDecoding):
    """Decoding of the frames of a region into one array of all of them."""

    def _outputs(self, n_frames: int, shape: tuple[int, ...]) -> Callable[[int], NDArray[np.uint8]]:
        return np.empty((n_frames, *shape), np.uint8).__getitem__


def _decode(
    decoder: Callable[..., object],
    outputs: Callable[[int], NDArray[np.uint8]],
    start: int,
    codestreams: list[bytes],
) -> None:
    for frame, codestream in enumerate(codestreams, start):
        decoder(codestream, out=outputs(frame))
