"""Memory that reading a slide with 8 threads takes: a script for a process of its own.

Arguments are the slide, the number of rows that are read, and the step between the pixels
that are selected. Prints a line of JSON: ``decoded`` bytes, the ``mean`` of the pixels, the most
bytes of ``outputs`` alive at a time, and ``overhead``: the further rise of the peak of resident
memory after a read to warm up.
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

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE_SIZE


class Outputs:
    """Bytes of the arrays that reads fill and return: those alive, and the most so far."""

    def __init__(self) -> None:
        self.live = 0
        self.peak = 0
        self._lock = threading.Lock()

    def add(self, nbytes: int) -> None:
        """Add to the bytes alive; negative where an array is freed."""
        with self._lock:
            self.live += nbytes
            self.peak = max(self.peak, self.live)

    def watch(self) -> None:
        """Count every output from now on, and touch its pages so that all of it is resident."""
        outputs = self

        class WatchedOutput(reader.Output):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.pixels[...] = 0
                outputs.add(self.pixels.nbytes)
                weakref.finalize(self.pixels, outputs.add, -self.pixels.nbytes)

        reader.Output = WatchedOutput  # type: ignore[misc]


#: Selection that warms up 8 threads: four tiles each, one pixel of 4096.
WARM_UP = {"y": slice(0, 512, 64), "x": slice(0, 8 * 2048, 64)}


def main(url: str, rows: int, step: int) -> None:
    """Read the first rows of a slide by Dask, and print the memory that this takes.

    Parameters
    ----------
    url
        The slide.
    rows
        Number of rows.
    step
        Step between the rows and columns that are selected.
    """
    outputs = Outputs()
    outputs.watch()
    image = xr.open_dataset(url, engine="dicom", chunks={}, memory_budget=32 * 2**20).image
    assert image.nbytes > 10e9
    with dask.config.set(scheduler="threads", num_workers=8):
        image.isel(WARM_UP).mean().compute()
        gc.collect()
        before = resident() - outputs.live
        with peak_resident() as peak:
            # A selection right after opening is fused into the reads, so that a task decodes its
            # frames and returns one in `step` rows and columns.
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
    """Sample resident memory every millisecond; yield a list whose element is the peak."""
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
