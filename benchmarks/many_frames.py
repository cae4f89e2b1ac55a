"""Open a segmentation of 100,000 frames: time, columns, and what stays in memory."""

from __future__ import annotations

import time
from pathlib import Path

import highdicom
import xarray as xr
from pydicom.datadict import dictionary_VR

from benchmarks.timing import allocated_blocks, print_table
from generate.many_frames import big_segmentation
from xarray_dicom.instance import FUNCTIONAL_GROUPS, tag
from xarray_dicom.parsing.columns import read_columns
from xarray_dicom.parsing.header import read_header
from xarray_dicom.runtime import run
from xarray_dicom.storage import open_source


def columns_seconds(path: Path, n_frames: int) -> float:
    """Seconds that the per-frame columns of a file take, its header being read."""
    header = run(read_header(open_source(path)))
    assert header.per_frame is not None
    paths = {
        (tag(group), tag(name)): dictionary_VR(name) for name, group in FUNCTIONAL_GROUPS.items()
    }
    start = time.perf_counter()
    columns = read_columns(header.per_frame, paths, n_frames, str(path))
    seconds = time.perf_counter() - start
    assert columns.walked == 0
    return seconds


def opened(path: Path) -> tuple[float, int]:
    """Seconds to open a file with the engine, and the allocated blocks that it leaves."""
    blocks = allocated_blocks()
    start = time.perf_counter()
    dataset = xr.open_dataset(path, engine="dicom")
    seconds = time.perf_counter() - start
    left = allocated_blocks() - blocks
    dataset.close()
    return seconds, left


def compare(folder: Path) -> None:
    """Print how opening scales, and how it compares with highdicom at 5,000 frames."""
    small = folder / "small.dcm"
    big_segmentation(small, planes=100, segments=50)
    opened(small)
    start = time.perf_counter()
    highdicom.seg.segread(small)
    theirs = (time.perf_counter() - start) / 5000
    rows, per_frame = [], []
    for undefined in (False, True):
        path = folder / f"{undefined}.dcm"
        big_segmentation(path, planes=1000, segments=100, undefined=undefined)
        seconds, blocks = opened(path)
        per_frame.append(seconds / 100_000)
        rows.append(
            [
                "undefined" if undefined else "explicit",
                f"{seconds:.2f}",
                f"{columns_seconds(path, 100_000):.2f}",
                f"{blocks:,}",
                f"{theirs / per_frame[-1]:.0f}",
            ]
        )
    head = ["lengths", "open s", "columns s", "blocks left", "times highdicom, a frame"]
    print("\nSegmentation of 100,000 frames, local")
    print_table(head, rows)
    print(f"  highdicom: {1e6 * theirs:.0f} µs a frame at 5,000 frames")
