"""Frames of one or more instances, and what the headers say of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.frames.source import FrameSource
from xarray_dicom.instance import Instance
from xarray_dicom.layout.frame_array import frame_starts
from xarray_dicom.parsing.elements import Column

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet:
    """Some or all frames of some instances.

    Attributes
    ----------
    opened
        The instances; each has at least one frame in the set.
    frames
        Frame numbers, counted from 0 through all instances, ascending.
    """

    opened: tuple[Instance, ...]
    frames: Int64s

    @classmethod
    def of(cls, opened: Sequence[Instance]) -> FrameSet:
        """All frames of `opened`."""
        total = sum(one.frames.n_frames for one in opened)
        return cls(tuple(opened), np.arange(total, dtype=np.int64))

    @property
    def sources(self) -> tuple[FrameSource, ...]:
        """What reading needs of each instance."""
        return tuple(one.frames for one in self.opened)

    @property
    def location(self) -> str:
        """Where the first instance lies."""
        return self.opened[0].location

    def __len__(self) -> int:
        return len(self.frames)

    def subset(self, which: NDArray[np.integer[Any]]) -> FrameSet:
        """Frames by position in the set, without the instances that then have none."""
        chosen = np.sort(self.frames[which])
        starts = frame_starts(self.sources)
        home = np.searchsorted(starts, chosen, "right") - 1
        kept = np.unique(home)
        moved = frame_starts([self.opened[i].frames for i in kept])
        renumbered = chosen - starts[home] + moved[np.searchsorted(kept, home)]
        return FrameSet(tuple(self.opened[i] for i in kept), renumbered)

    def floats(self, keyword: str, width: int) -> NDArray[np.float64] | None:
        """Numbers of an element in every frame, ``(frames, width)``; None if any lacks it."""
        parts = [one.floats(keyword, width) for one in self.opened]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        values = found[0] if len(found) == 1 else np.concatenate(found)
        # Frames ascend, so as many of them as there are values are all.
        return values if len(values) == len(self.frames) else values[self.frames]

    def columns(self, read: Callable[[Instance], Column | None]) -> Column | None:
        """Values of an element in every frame, where at least one frame has it."""
        parts = [read(one) for one in self.opened]
        found = [part for part in parts if part is not None]
        if not found:
            return None
        if len(parts) == 1 and len(found[0].values) == len(self.frames):
            return found[0]
        if len(found) == len(parts) and all(part is found[0] for part in found):
            # Instances of one frame that have the same bytes share a column.
            values, count = found[0].values[:1], found[0].count[:1]
            n = len(self.frames)
            return Column(
                np.broadcast_to(values, (n, values.shape[1])), np.broadcast_to(count, (n,))
            )
        width = max(part.values.shape[1] for part in found)
        kind = np.result_type(*(part.values.dtype for part in found))
        starts = frame_starts(self.sources)
        values = np.zeros((int(starts[-1]), width), kind)
        if values.dtype.kind == "f":
            values[...] = np.nan
        count = np.zeros(len(values), np.int32)
        for start, part in zip(starts, parts, strict=False):
            if part is not None:
                rows = slice(start, start + len(part.values))
                values[rows, : part.values.shape[1]] = part.values
                count[rows] = part.count
        return Column(values[self.frames], count[self.frames])
