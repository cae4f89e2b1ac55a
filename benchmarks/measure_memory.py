"""Run in a process of its own: reads a slide with 8 threads and prints what that took.

Prints one line of JSON: ``decoded`` bytes, the most bytes of ``outputs`` that were alive at a
time, and ``overhead``: what else the peak of resident memory rose after a warm-up read.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import xarray as xr

from xarray_dicom.reading import reader

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


class Outputs:
    """Arrays that reads have handed out or are filling: their bytes now, and at most so far."""

    def __init__(self) -> None:
        self.live = 0
        self.peak = 0
        self._lock = threading.Lock()

    def add(self, nbytes: int) -> None:
        with self._lock:
            self.live += nbytes
            self.peak = max(self.peak, self.live)

    def watch(self) -> None:
        """Count every output from now on, its pages touched at once so that all of it counts."""
        outputs = self

        class WatchedOutput(reader.Output):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.pixels[...] = 0
                outputs.add(self.pixels.nbytes)
                weakref.finalize(self.pixels, outputs.add, -self.pixels.nbytes)

        reader.Output = WatchedOutput  # type: ignore[misc]


#: What is read before memory is looked at, by 8 threads: four tiles each, one pixel of 4096.
WARM_UP = {"y": slice(0, 512, 64), "x": slice(0, 8 * 2048, 64)}


def main(url: str, rows: int, step: int) -> None:
    outputs = Outputs()
    outputs.watch()
    image = xr.open_dataset(url, engine="dicom", chunks={}, memory_budget=32 * 2**20).image
    assert image.nbytes > 10e9
    with dask.config.set(scheduler="threads", num_workers=8):
        image.isel(WARM_UP).mean().compute()
        gc.collect()
        before = resident() - outputs.live
        with peak_resident() as peak:
            # One selection right after opening: dask hands it on, so that a task reads its
            # frames and keeps one in `step` rows and columns.
            mean = image.isel(y=slice(0, rows, step), x=slice(None, None, step)).mean().compute()
    print(
        json.dumps(
            {
                "decoded": image[:rows].nbytes,
                "mean": float(mean),
                "outputs": outputs.peak,
                "overhead": peak[0] - before - outputs.peak,
            }
        )
    )


@contextmanager
def peak_resident() -> Iterator[list[int]]:
    """Look at resident memory every millisecond; the one element is the most there was."""
    done = threading.Event()
    peak = [0]

    def sample() -> None:
        while not done.wait(0.001):
            peak[0] = max(peak[0], resident())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
