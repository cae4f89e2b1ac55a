"""Memory that opening an object takes: a script for a process of its own.

Arguments are two paths: an object to warm up with, and the one that is measured. Prints a line
of JSON: ``peak``, the most bytes allocated at a time, and ``retained``, those that the open
dataset holds.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc

import xarray as xr


def main(small: str, large: str) -> None:
    """Open `small` to warm up, then `large` with allocations traced."""
    xr.open_dataset(small, engine="dicom")
    gc.collect()
    tracemalloc.start()
    dataset = xr.open_dataset(large, engine="dicom")
    gc.collect()
    retained, peak = tracemalloc.get_traced_memory()
    assert dataset.sizes
    print(json.dumps({"peak": peak, "retained": retained}))


if __name__ == "__main__":
    main(*sys.argv[1:])
