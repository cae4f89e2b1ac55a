"""wsidicom, on a local disk."""

from __future__ import annotations

from typing import Any

from wsidicom import WsiDicom

from benchmarks.peers.base import Peer, Task
from benchmarks.store import Place
from xarray_dicom.runtime import cpu_count


class Wsidicom(Peer):
    """``WsiDicom.open`` and ``read_region`` with a thread for each processor."""

    reads = {"slide": frozenset({"open", "region"})}  # noqa: RUF012
    remote = False
    most_frames = 200_000

    def open(self, place: Place, task: Task) -> WsiDicom:
        return WsiDicom.open(place.url)

    def region(self, opened: WsiDicom, task: Task) -> Any:
        (top, bottom), (left, right) = task.rows, task.columns
        return opened.read_region(
            (left, top), 0, (right - left, bottom - top), threads=cpu_count(), as_array=True
        )
