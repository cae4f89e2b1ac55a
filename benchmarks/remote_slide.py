"""Open a remote slide and read a region: the engine against highdicom's guide."""

from __future__ import annotations

import math
from pathlib import Path

import highdicom
import numpy as np
import s3fs
import xarray as xr
from local_store import BUCKET, local_store, storage_options
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from benchmarks.timing import Cost, cost, print_table
from generate.slide import slide
from proxy import LatencyProxy

#: What highdicom's guide to remote files recommends.
BLOCK_SIZE = 500_000

TILE = 512

#: Offset tables: what highdicom writes, and what most slides of the public archives have.
OFFSET_TABLES = {"eot": "Extended Offset Table", "none": "no offset table"}


def needed(header: Dataset, square: slice) -> int:
    """Bytes of the frames that a square region meets."""
    across = math.ceil(header.TotalPixelMatrixColumns / TILE)
    met = np.arange(square.start // TILE, math.ceil(square.stop / TILE))
    frames = (met[:, None] * across + met).ravel()
    n_frames = int(header.NumberOfFrames)
    return sum(
        len(get_frame(header.PixelData, int(frame), number_of_frames=n_frames)) for frame in frames
    )


def compare(folder: Path, *, size: int, side: int, latency: float, repetitions: int) -> None:
    """Print seconds, requests and bytes of both ways, and how they compare.

    Parameters
    ----------
    folder
        Where the slides are written.
    size, side
        Rows and columns of the slide, and of the region.
    latency
        Round-trip time in seconds.
    repetitions
        Each figure is the median of so many, after one to warm up.
    """
    (folder / BUCKET).mkdir()
    start = (size - side) // 2 // TILE * TILE
    square = slice(start, start + side)
    for table, title in OFFSET_TABLES.items():
        path = folder / BUCKET / f"{table}.dcm"
        header = slide(path, shape=(size, size), tile=TILE, offset_table=table)
        with local_store(folder, latency=latency) as proxy:
            costs = _costs(path.name, square, proxy, repetitions)
        print(f"\nSlide {size} x {size} over S3, {1000 * latency:.0f} ms latency, {title}")
        _report(costs, needed(header, square), math.ceil(side / TILE))


def _costs(
    name: str, square: slice, proxy: LatencyProxy, repetitions: int
) -> dict[tuple[str, str], Cost[object]]:
    """Cost of each action with each package; both start each region from a fresh opening."""
    options = storage_options(proxy)
    filesystem = s3fs.S3FileSystem(**options)

    def open_ours(_: None = None) -> xr.Dataset:
        return xr.open_dataset(f"s3://{BUCKET}/{name}", engine="dicom", storage_options=options)

    def open_theirs(_: None = None) -> highdicom.Image:
        filesystem.invalidate_cache()
        file = filesystem.open(f"{BUCKET}/{name}", "rb", block_size=BLOCK_SIZE)
        return highdicom.imread(file, lazy_frame_retrieval=True)

    def region_ours(opened: xr.Dataset) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = opened.image.isel(y=square, x=square).values
        return pixels

    def region_theirs(opened: highdicom.Image) -> NDArray[np.uint8]:
        # highdicom counts rows and columns from 1.
        first, end = square.start + 1, square.stop + 1
        pixels: NDArray[np.uint8] = opened.get_total_pixel_matrix(
            first, end, first, end, dtype=np.uint8, apply_icc_profile=False
        )
        return pixels

    def nothing() -> None:
        return None

    return {
        ("open", "xarray-dicom"): cost(open_ours, proxy, repetitions, nothing),
        ("open", "highdicom"): cost(open_theirs, proxy, repetitions, nothing),
        ("region", "xarray-dicom"): cost(region_ours, proxy, repetitions, open_ours),
        ("region", "highdicom"): cost(region_theirs, proxy, repetitions, open_theirs),
    }


def _report(costs: dict[tuple[str, str], Cost[object]], frames_nbytes: int, tile_rows: int) -> None:
    rows = [
        [action, package, f"{1000 * found.seconds:,.0f}", f"{found.requests:.0f}",
         f"{found.received / 1e6:.2f}"]
        for (action, package), found in costs.items()
    ]  # fmt: skip
    print_table(["action", "with", "ms", "requests", "MB"], rows)
    open_ours, open_theirs, ours, theirs = costs.values()
    print(f"  open: {open_theirs.seconds / open_ours.seconds:.1f} times as fast")
    print(f"  region: {theirs.seconds / ours.seconds:.1f} times as fast")
    both = (open_theirs.seconds + theirs.seconds) / (open_ours.seconds + ours.seconds)
    print(f"  open and region: {both:.1f} times as fast")
    limit = tile_rows + frames_nbytes / 1e6 + 2
    print(f"  region: {ours.requests:.0f} requests; tile rows + MB + 2 is {limit:.0f}")
    print(f"  region: {ours.received / frames_nbytes:.3f} times the bytes of its frames")
    difference = np.abs(np.subtract(ours.result, theirs.result, dtype=np.int16)).max()
    print(f"  pixels differ by at most {difference}")
