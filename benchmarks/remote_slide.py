"""Open a remote slide and read a region: the engine against highdicom's guide."""

from __future__ import annotations

import math
from pathlib import Path

import highdicom
import numpy as np
import s3fs
import xarray as xr
from local_store import BUCKET, local_store, storage_options

from benchmarks.timing import cost, print_table
from generate.slide import slide

#: What highdicom's guide to remote files recommends.
BLOCK_SIZE = 500_000


def needed(header: object, start: int, side: int) -> tuple[int, int]:
    """Bytes of the frames that a square region meets, and its rows of tiles."""
    lengths = np.frombuffer(header.ExtendedOffsetTableLengths, "<u8")  # type: ignore[attr-defined]
    tile, across = header.Rows, math.ceil(header.TotalPixelMatrixColumns / header.Rows)  # type: ignore[attr-defined]
    met = np.arange(start // tile, math.ceil((start + side) / tile))
    return int(lengths[(met[:, None] * across + met).ravel()].sum()), len(met)


def compare(folder: Path, *, size: int, side: int, latency: float, repetitions: int) -> None:
    """Print seconds, requests and bytes of both ways, and how they compare.

    Parameters
    ----------
    folder
        Where the slide is written.
    size, side
        Rows and columns of the slide, and of the region.
    latency
        Round-trip time in seconds.
    repetitions
        Each figure is the median of so many, after one to warm up.
    """
    (folder / BUCKET).mkdir()
    header = slide(folder / BUCKET / "slide.dcm", shape=(size, size), tile=512)
    start = (size - side) // 2 // 512 * 512
    frames_nbytes, tile_rows = needed(header, start, side)
    with local_store(folder, latency=latency) as proxy:
        options = storage_options(proxy)
        path = f"{BUCKET}/slide.dcm"
        filesystem = s3fs.S3FileSystem(**options)

        def open_ours() -> xr.Dataset:
            return xr.open_dataset(f"s3://{path}", engine="dicom", storage_options=options)

        def open_theirs() -> highdicom.Image:
            filesystem.invalidate_cache()
            file = filesystem.open(path, "rb", block_size=BLOCK_SIZE)
            return highdicom.imread(file, lazy_frame_retrieval=True)

        square = slice(start, start + side)

        def region_ours() -> np.ndarray:
            return ours.result.image.isel(y=square, x=square).copy().values

        def region_theirs() -> np.ndarray:
            # highdicom counts rows and columns from 1.
            pixels: np.ndarray = theirs.result.get_total_pixel_matrix(
                start + 1, start + side + 1, start + 1, start + side + 1,
                dtype=np.uint8, apply_icc_profile=False,
            )  # fmt: skip
            return pixels

        ours = cost(open_ours, proxy, repetitions)
        theirs = cost(open_theirs, proxy, repetitions)
        ours_region = cost(region_ours, proxy, repetitions)
        theirs_region = cost(region_theirs, proxy, repetitions)

    difference = np.abs(ours_region.result.astype(int) - theirs_region.result).max()
    rows = [
        [what, way, f"{1000 * found.seconds:,.0f}", int(found.requests),
         f"{found.received / 1e6:.2f}"]
        for what, way, found in (
            ("open", "xarray-dicom", ours),
            ("open", "highdicom", theirs),
            (f"region {side} x {side}", "xarray-dicom", ours_region),
            (f"region {side} x {side}", "highdicom", theirs_region),
        )
    ]  # fmt: skip
    title = f"Slide {size} x {size} over S3, {1000 * latency:.0f} ms latency"
    print_table(title, ["action", "with", "ms", "requests", "MB"], rows)
    limit = tile_rows + frames_nbytes / 1e6 + 2
    print(f"  open: {theirs.seconds / ours.seconds:.1f} times as fast (at least 8)")
    print(f"  region: {theirs_region.seconds / ours_region.seconds:.1f} times as fast (at least 4)")
    print(f"  region: {ours_region.requests:.0f} requests (at most {limit:.1f})")
    ratio = ours_region.received / frames_nbytes
    print(f"  region: {ratio:.3f} times the bytes of its frames (at most 1.15)")
    print(f"  largest difference of pixels: {difference} (at most 1)")
