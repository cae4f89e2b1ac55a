"""openslide on a local disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from openslide import OpenSlide as Slide
from openslide import OpenSlideCache

from benchmarks.peers.base import Peer, Task
from benchmarks.store import Place

#: Codings that openslide reads: of colour only.
CODECS = ("jpeg-ybr422", "jpeg-rgb", "j2k", "native")


class OpenSlide(Peer):
    """``openslide.OpenSlide`` and ``read_region``."""

    reads = {"slide": frozenset({"open", "region"})}  # noqa: RUF012
    remote = False
    most_frames = 200_000

    def refuses(self, task: Task, place: Place) -> str | None:
        if task.target.codec not in CODECS:
            return "does not read this coding"
        return super().refuses(task, place)

    def open(self, place: Place, task: Task) -> Slide:
        slide = Slide(place.url)
        if task.stays_open:
            slide.set_cache(OpenSlideCache(0))
        return slide

    def region(self, opened: Slide, task: Task) -> Any:
        (top, bottom), (left, right) = task.rows, task.columns
        return opened.read_region((left, top), 0, (right - left, bottom - top))

    def pixels(self, result: Any, task: Task) -> NDArray[Any] | None:
        # openslide adds an alpha channel.
        return None if task.action == "open" else np.asarray(result)[..., :3]
