"""Open many files as one: what that costs in latencies, not in seconds."""

from __future__ import annotations

import io
import statistics
import time
from pathlib import Path

import pydicom
import xarray as xr
from local_store import BUCKET, local_store, storage_options

from benchmarks.timing import print_table
from generate.attributes import uid
from generate.series import ct_series
from generate.slide import slide

#: Round trips in seconds whose difference tells how many of them follow each other.
LATENCIES = (0.0, 0.1)


def write_pyramid(folder: Path) -> None:
    """Three levels, a label and an overview of one slide, a file each."""
    for rows, kind in ((2048, "VOLUME"), (1024, "VOLUME"), (512, "VOLUME"), (96, "LABEL"),
                       (80, "OVERVIEW")):  # fmt: skip
        file = io.BytesIO()
        slide(file, name=f"{kind} {rows}", shape=(rows, rows), spacing=0.0005 * 2048 / rows)
        level = pydicom.dcmread(io.BytesIO(file.getvalue()))
        level.SeriesInstanceUID = uid("pyramid")
        level.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
        level.save_as(folder / f"{kind}-{rows}.dcm")


def compare(folder: Path, *, planes: int, repetitions: int) -> None:
    """Print the latencies that opening a series and a pyramid take.

    Parameters
    ----------
    folder
        Where the files are written.
    planes
        Files of the series.
    repetitions
        Each time is the median of so many, after one to warm up.
    """
    series, pyramid = folder / BUCKET / "ct", folder / BUCKET / "pyramid"
    for path in (series, pyramid):
        path.mkdir(parents=True)
    ct_series(series, planes=planes, shape=(64, 64))
    write_pyramid(pyramid)
    rows = []
    for path, title in ((series, f"series of {planes} files"), (pyramid, "pyramid of 5 files")):
        seconds = []
        for latency in LATENCIES:
            with local_store(folder, latency=latency) as proxy:
                options = storage_options(proxy)
                times = [_open(path.name, options) for _ in range(repetitions + 1)]
            seconds.append(statistics.median(times[1:]))
        latencies = (seconds[1] - seconds[0]) / (LATENCIES[1] - LATENCIES[0])
        rows.append([title, *(f"{1000 * t:,.0f}" for t in seconds), f"{latencies:.1f}"])
    print("\nOpen a prefix as a tree over S3")
    print_table(["what", *(f"ms at {1000 * t:.0f} ms" for t in LATENCIES), "latencies"], rows)


def _open(name: str, options: dict[str, object]) -> float:
    start = time.perf_counter()
    xr.open_datatree(f"s3://{BUCKET}/{name}/", engine="dicom", storage_options=options)
    return time.perf_counter() - start
