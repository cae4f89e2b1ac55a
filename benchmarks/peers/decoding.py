"""imagecodecs in a thread pool, the bytes at hand: what decoding costs at least."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import Peer, Task
from benchmarks.store import Place
from generate.streamed import is_monochrome
from xarray_dicom.runtime import cpu_count

DECODERS: dict[str, Callable[..., object]] = {
    "jpeg-ybr422": imagecodecs.jpeg8_decode,
    "jpeg-rgb": functools.partial(imagecodecs.jpeg8_decode, colorspace="rgb", outcolorspace="rgb"),
    "j2k": imagecodecs.jpeg2k_decode,
    "htj2k": imagecodecs.htj2k_decode,
    "jpeg-ls": imagecodecs.jpegls_decode,
    "jpeg-ls-gray": imagecodecs.jpegls_decode,
}

#: Frames of one call into the pool.
BATCH = 16


class RawDecoding(Peer):
    """Decode the frames of a region into one scratch for each thread; nothing is put together."""

    reads = {"slide": frozenset({"region"})}  # noqa: RUF012

    def __init__(self) -> None:
        self._scratch = threading.local()

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
        batches = [subject[i : i + BATCH] for i in range(0, len(subject), BATCH)]
        codec, tile = task.target.codec, task.target.tile
        assert codec is not None
        decode = functools.partial(self._decode, codec, tile)
        with ThreadPoolExecutor(cpu_count()) as pool:
            list(pool.map(decode, batches))

    def _decode(self, codec: str, tile: int, codestreams: list[bytes]) -> None:
        shape = (tile, tile) if is_monochrome(codec) else (tile, tile, 3)
        out: NDArray[np.uint8] = np.empty(shape, np.uint8)
        decoder = DECODERS[codec]
        for codestream in codestreams:
            decoder(codestream, out=out)

    def pixels(self, result: object, task: Task) -> None:
        return None
