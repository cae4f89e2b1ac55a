"""Open a remote slide and read a region: the engine against highdicom's guide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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
from generate.slide import big_slide_repeating, slide
from proxy import LatencyProxy

#: What highdicom's guide to remote files recommends.
BLOCK_SIZE = 500_000

#: Rows and columns of a slide of real size.
REAL_SIZE = 60_000


@dataclass(frozen=True)
class Case:
    """A slide to be read.

    Attributes
    ----------
    name
        Of its file, without the suffix.
    title
        What is particular about it.
    size, tile
        Rows and columns of the slide and of a tile.
    write
        Writes it to a path.
    scanned
        Whether its tiles are found by a scan, once, so that a next region costs less.
    """

    name: str
    title: str
    size: int
    tile: int
    write: Callable[[Path], Dataset]
    scanned: bool = False


def cases(size: int) -> list[Case]:
    """What highdicom writes, what most slides of the public archives are, and a large one.

    Parameters
    ----------
    size
        Rows and columns of the first two.
    """
    shape = (size, size)
    return [
        Case(
            "eot",
            "Extended Offset Table",
            size,
            256,
            lambda path: slide(path, shape=shape, tile=256),
        ),
        Case(
            "none",
            "no offset table",
            size,
            256,
            lambda path: slide(path, shape=shape, tile=256, offset_table="none"),
            scanned=True,
        ),
        Case(
            "large",
            "Extended Offset Table",
            REAL_SIZE,
            512,
            lambda path: big_slide_repeating(path, shape=(REAL_SIZE, REAL_SIZE), tile=512),
        ),
    ]


def needed(header: Dataset, square: slice, tile: int) -> int:
    """Bytes of the frames that a square region meets."""
    across = math.ceil(header.TotalPixelMatrixColumns / tile)
    met = np.arange(square.start // tile, math.ceil(square.stop / tile))
    frames = (met[:, None] * across + met).ravel()
    if "ExtendedOffsetTableLengths" in header:
        return int(np.frombuffer(header.ExtendedOffsetTableLengths, "<u8")[frames].sum())
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
        Rows and columns of the slides but the large one, and of the region.
    latency
        Round-trip time in seconds.
    repetitions
        Each figure is the median of so many, after one to warm up.
    """
    (folder / BUCKET).mkdir()
    for case in cases(size):
        start = (case.size - side) // 2 // case.tile * case.tile
        square = slice(start, start + side)
        path = folder / BUCKET / f"{case.name}.dcm"
        header = case.write(path)
        with local_store(folder, latency=latency) as proxy:
            costs = _costs(case, path.name, square, proxy, repetitions)
        path.unlink()
        size_told = f"{case.size} x {case.size}, tiles of {case.tile}"
        print(f"\nSlide {size_told} over S3, {1000 * latency:.0f} ms latency, {case.title}")
        _report(costs, needed(header, square, case.tile), math.ceil(side / case.tile))


def _costs(
    case: Case, name: str, square: slice, proxy: LatencyProxy, repetitions: int
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

    def used_ours() -> xr.Dataset:
        opened = open_ours()
        opened.image[0, 0].values  # noqa: B018 - finds the tiles
        return opened

    def used_theirs() -> highdicom.Image:
        opened = open_theirs()
        opened.get_frame(1, apply_icc_profile=False)
        return opened

    costs: dict[tuple[str, str], Cost[object]] = {
        ("open", "xarray-dicom"): cost(open_ours, proxy, repetitions, nothing),
        ("open", "highdicom"): cost(open_theirs, proxy, repetitions, nothing),
        ("region", "xarray-dicom"): cost(region_ours, proxy, repetitions, open_ours),
        ("region", "highdicom"): cost(region_theirs, proxy, repetitions, open_theirs),
    }
    if case.scanned:
        costs |= {
            ("next region", "xarray-dicom"): cost(region_ours, proxy, repetitions, used_ours),
            ("next region", "highdicom"): cost(region_theirs, proxy, repetitions, used_theirs),
        }
    return costs


def _report(costs: dict[tuple[str, str], Cost[object]], frames_nbytes: int, tile_rows: int) -> None:
    rows = [
        [action, package, f"{1000 * found.seconds:,.0f}", f"{found.requests:.0f}",
         f"{found.received / 1e6:.2f}"]
        for (action, package), found in costs.items()
    ]  # fmt: skip
    print_table(["action", "with", "ms", "requests", "MB"], rows)
    open_ours, open_theirs, ours, theirs, *later = costs.values()
    print(f"  open: {open_theirs.seconds / open_ours.seconds:.1f} times as fast")
    print(f"  region: {theirs.seconds / ours.seconds:.1f} times as fast")
    both = (open_theirs.seconds + theirs.seconds) / (open_ours.seconds + ours.seconds)
    print(f"  open and region: {both:.1f} times as fast")
    limit = tile_rows + frames_nbytes / 1e6 + 2
    for name, found in {"region": ours, **dict(zip(["next region"], later, strict=False))}.items():
        print(f"  {name}: {found.requests:.0f} requests; tile rows + MB + 2 is {limit:.0f}")
        print(f"  {name}: {found.received / frames_nbytes:.3f} times the bytes of its frames")
    if later:
        scan = (ours.received - later[0].received) / 1e6
        print(f"  finding the tiles, once: {scan:.2f} MB")
    difference = np.abs(np.subtract(ours.result, theirs.result, dtype=np.int16)).max()
    print(f"  pixels differ by at most {difference}")
