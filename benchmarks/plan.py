"""Least bytes and requests of a read."""

from __future__ import annotations

from benchmarks.peers.base import Task
from benchmarks.store import Place
from xarray_dicom.storage import open_source
from xarray_dicom.storage.ranges import Merged, merge


def needed_nbytes(task: Task) -> int:
    """Return the stored bytes of the frames that a task reads."""
    return int(task.target.lengths[task.frames].sum())


def ideal_plan(task: Task, place: Place) -> Merged:
    """Return the merged byte ranges of those frames, all in one file, by the store's limits."""
    source = open_source(place.url, dict(place.storage_options) or None)
    frames = task.frames
    return merge(
        task.target.offsets[frames],
        task.target.lengths[frames],
        gap=source.request_sizing.gap,
        largest=source.request_sizing.largest,
    )
