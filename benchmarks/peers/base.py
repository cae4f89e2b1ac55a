"""The interface of a reader that is measured."""

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
    """A read of an object, or its opening.

    Attributes
    ----------
    action
        ``"open"``, ``"region"`` of a slide, ``"segment"`` of a segmentation, ``"volume"`` of a
        series, or ``"copy"`` of a slide to Zarr.
    target
        The object.
    rows, columns
        Half-open bounds of a region in pixels.
    segment
        Segment Number.
    opens
        True if the clock runs while the object is opened.
    stays_open
        True if the object is opened before all measurements and its reader caches no pixels;
        otherwise it is opened anew, off the clock, before each measurement.
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
        """Indices of the frames that are read, ascending, int64."""
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
        frames: NDArray[np.int64] = (down[:, None] * across + right).ravel()
        return frames


class Peer:
    """A reader: one module each, and a row in `benchmarks.peers.PEERS`.

    A measurement is `ready`, off the clock, then `act`, on the clock. Most readers define
    `open` and the methods named after the actions that they can do.

    Attributes
    ----------
    reads
        Actions by kind of object.
    local, remote
        True if it reads local files, and objects in a store.
    most_frames
        Frames of the largest object that it opens in less than minutes; None if any.
    """

    reads: ClassVar[Mapping[str, frozenset[str]]]
    local: bool = True
    remote: bool = True
    most_frames: int | None = None

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def refuses(self, task: Task, place: Place) -> str | None:
        """Return the reason why this reader is not measured in a task, or None."""
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
        """Run the action that is measured.

        Parameters
        ----------
        place
            Address of the object.
        task
            The action and its selection.
        subject
            The result of `ready`.

        Returns
        -------
        Any
            What the reader delivers; see `pixels`.
        """
        opened = self.open(place, task) if subject is None else subject
        return opened if task.action == "open" else getattr(self, task.action)(opened, task)

    def open(self, place: Place, task: Task) -> Any:
        """Open an object without reading pixels."""
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
        """Return the pixels of a result as y, x, c or ascending z, y, x; off the clock."""
        return None if task.action in ("open", "copy") else np.asarray(result)

    def close(self) -> None:
        """Release what stays between measurements."""
        self._opened.clear()
