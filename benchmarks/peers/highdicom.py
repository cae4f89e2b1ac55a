"""highdicom, over s3fs as its guide to remote files recommends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from numpy.typing import NDArray
from s3fs.core import S3FileSystem

from benchmarks.peers.base import Peer, Task
from benchmarks.store import Place

#: Bytes of a block of s3fs, as the guide recommends.
BLOCK_SIZE = 500_000

#: Files of a series that are read at a time; the guide reads one after another.
THREADS = 16


class Highdicom(Peer):
    """``highdicom.imread`` and ``segread`` with lazy frame retrieval."""

    reads = {  # noqa: RUF012
        "slide": frozenset({"open", "region"}),
        "segmentation": frozenset({"open", "segment"}),
        "series": frozenset({"open", "volume"}),
    }
    most_frames = 10_000

    def open(self, place: Place, task: Task) -> Any:
        path = place.url.removeprefix("s3://")
        if task.target.kind == "series":
            return _read_series(path, place)
        file: Any = path
        if place.remote:
            filesystem = S3FileSystem(**place.storage_options)
            filesystem.invalidate_cache()
            file = filesystem.open(path, "rb", block_size=BLOCK_SIZE)
        read = highdicom.seg.segread if task.target.kind == "segmentation" else highdicom.imread
        return read(file, lazy_frame_retrieval=True)

    def region(self, opened: highdicom.Image, task: Task) -> NDArray[np.uint8]:
        # highdicom counts rows and columns from 1.
        pixels: NDArray[np.uint8] = opened.get_total_pixel_matrix(
            row_start=task.rows[0] + 1,
            row_end=task.rows[1] + 1,
            column_start=task.columns[0] + 1,
            column_end=task.columns[1] + 1,
            dtype=np.uint8,
            apply_icc_profile=False,
        )
        return pixels

    def segment(self, opened: highdicom.seg.Segmentation, task: Task) -> highdicom.Volume:
        return opened.get_volume(segment_numbers=[task.segment])

    def volume(self, opened: list[pydicom.Dataset], task: Task) -> highdicom.Volume:
        return highdicom.get_volume_from_series(
            opened, dtype=np.float32, apply_presentation_lut=False
        )

    def pixels(self, result: Any, task: Task) -> NDArray[Any] | None:
        if task.action not in ("segment", "volume"):
            return super().pixels(result, task)
        # highdicom stacks volumes downwards, with segments on the last axis.
        planes: NDArray[Any] = result.array[::-1]
        return planes[..., 0] if task.action == "segment" else planes


def _read_series(folder: str, place: Place) -> list[pydicom.Dataset]:
    files: list[Any] = []
    if place.remote:
        filesystem = S3FileSystem(**place.storage_options)
        filesystem.invalidate_cache()
        for name in filesystem.ls(folder, detail=False):
            files.append(filesystem.open(name, "rb", block_size=BLOCK_SIZE))
    else:
        files += Path(folder).iterdir()
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(pydicom.dcmread, files))
