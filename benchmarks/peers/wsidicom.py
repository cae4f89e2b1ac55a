"""wsidicom on a local disk."""

from __future__ import annotations

from typing import Any

from wsidicom import WsiDicom
from wsidicom.config import Settings

from benchmarks.peers.base import Peer, Task
from benchmarks.store import Place
from xarray_dicom.decode_threads import cpu_count

#: Settings under which no frame is cached.
UNCACHED = Settings(decoded_frame_cache_size=0, encoded_frame_cache_size=0)


class Wsidicom(Peer):
    """``WsiDicom.open`` and ``read_region``.

    Parameters
    ----------
    threads
        Number of threads that read a region; by default one for each processor.
    """

    reads = {"slide": frozenset({"open", "region"})}  # noqa: RUF012
    remote = False
    most_frames = 200_000

    def __init__(self, *, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads or cpu_count()

    def open(self, place: Place, task: Task) -> WsiDicom:
        if task.stays_open:
            return WsiDicom.open(place.url, settings=UNCACHED)
        return WsiDicom.open(place.url)

    def region(self, opened: WsiDicom, task: Task) -> Any:
        (top, bottom), (left, right) = task.rows, task.columns
        return opened.read_region(
            (left, top), 0, (right - left, bottom - top), threads=self.threads, as_array=True
        )
