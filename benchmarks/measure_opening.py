"""Run in a process of its own: opens an object and prints what memory that took at most.

Prints one line of JSON: ``peak``, the most bytes allocated at a time, and ``kept``, those that
the dataset still holds.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc

import xarray as xr


def main(small: str, large: str) -> None:
    xr.open_dataset(small, engine="dicom")
    gc.collect()
    tracemalloc.start()
    dataset = xr.open_dataset(large, engine="dicom")
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    assert dataset.sizes
    print(json.dumps({"peak": peak, "kept": kept}))


if __name__ == "__main__":
    main(*sys.argv[1:])
