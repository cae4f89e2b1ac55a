"""What a read needs at least: bytes of its frames, and requests that fetch them."""

from __future__ import annotations

from benchmarks.peers.base import Task
from benchmarks.store import Place
from xarray_dicom.storage import open_source
from xarray_dicom.storage.ranges import Merged, merge


def needed_nbytes(task: Task) -> int:
    """Bytes of the frames that a task meets, as they are stored."""
    return int(task.target.lengths[task.frames].sum())


def ideal_plan(task: Task, place: Place) -> Merged:
    """The requests that fetch them, merged as is best for the store; not for a series."""
    source = open_source(place.url, dict(place.storage_options) or None)
    frames = task.frames
    return merge(
        task.target.offsets[frames],
        task.target.lengths[frames],
        gap=source.request_sizing.gap,
        largest=source.request_sizing.largest,
    )
