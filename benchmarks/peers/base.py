"""What a reader must answer to be measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.objects import Object
from benchmarks.store import Place


@dataclass(frozen=True)
class Task:
    """What is read of an object.

    Attributes
    ----------
    action
        ``"open"``, ``"region"`` of a slide, ``"segment"`` of a segmentation, ``"volume"`` of a
        series, or ``"copy"`` of a slide to Zarr.
    target
        The object.
    rows, columns
        Half-open bounds of a region.
    segment
        Its number.
    opens
        Whether opening is part of it.
    stays_open
        Whether the object is opened before all measurements, its reader's caches of pixels
        switched off; else it is opened anew, off the clock, before each.
    """

    action: str
    target: Object
    rows: tuple[int, int] = (0, 0)
    columns: tuple[int, int] = (0, 0)
    segment: int = 1
    opens: bool = False
    stays_open: bool = False

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames that are needed, ascending."""
        if self.action == "open":
            return np.empty(0, np.int64)
        if self.action == "segment":
            planes = self.target.frames // self.target.segments
            return np.arange(planes, dtype=np.int64) + (self.segment - 1) * planes
        if self.action in ("volume", "copy"):
            return np.arange(self.target.frames, dtype=np.int64)
        tile = self.target.tile
        across = math.ceil(self.target.shape[1] / tile)
        down, right = (
            np.arange(start // tile, math.ceil(stop / tile), dtype=np.int64)
            for start, stop in (self.rows, self.columns)
        )
        met: NDArray[np.int64] = (down[:, None] * across + right).ravel()
        return met


class Peer:
    """A reader; one file each, and a row in `benchmarks.peers.PEERS`.

    A measurement is `ready`, off the clock, then `act`, on it. Most readers only say what
    they do with what they opened.
    """

    #: Actions by kind of object; what is not here is not asked of it.
    reads: ClassVar[Mapping[str, frozenset[str]]]
    #: Which links it is for.
    local: bool = True
    remote: bool = True
    #: Where it takes minutes to open more.
    most_frames: int | None = None

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def refuses(self, task: Task, place: Place) -> str | None:
        """Why a task is not for this reader, if it is not."""
        if task.action not in self.reads.get(task.target.kind, frozenset()):
            return f"has no way to do {task.action!r} for a {task.target.kind}"
        if not (self.remote if place.remote else self.local):
            return "is not for this link"
        if self.most_frames is not None and task.target.frames > self.most_frames:
            return f"takes minutes for more than {self.most_frames:,} frames"
        return None

    def ready(self, place: Place, task: Task) -> Any:
        """Return what `act` starts from: an open object, or None if it opens one itself."""
        if task.action == "open" or task.opens:
            return None
        if not task.stays_open:
            return self.open(place, task)
        if place.url not in self._opened:
            self._opened[place.url] = self.open(place, task)
        return self._opened[place.url]

    def act(self, place: Place, task: Task, subject: Any) -> Any:
        """Do what is measured."""
        opened = self.open(place, task) if subject is None else subject
        return opened if task.action == "open" else getattr(self, task.action)(opened, task)

    def open(self, place: Place, task: Task) -> Any:
        """Open an object, its pixels unread."""
        raise NotImplementedError

    def region(self, opened: Any, task: Task) -> Any:
        """Read a rectangle of a slide."""
        raise NotImplementedError

    def segment(self, opened: Any, task: Task) -> Any:
        """Read one segment on all planes."""
        raise NotImplementedError

    def volume(self, opened: Any, task: Task) -> Any:
        """Read all planes of a series."""
        raise NotImplementedError

    def pixels(self, result: Any, task: Task) -> NDArray[Any] | None:
        """What was read, as others have it: y, x, c or ascending z, y, x; off the clock."""
        return None if task.action in ("open", "copy") else np.asarray(result)

    def close(self) -> None:
        """Release what stays between measurements."""
        self._opened.clear()
