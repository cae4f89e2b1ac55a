"""Frames of some instances, and the values of header elements for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.instance import Instance
from xarray_dicom.layout.frame_array import frame_starts
from xarray_dicom.parsing.elements import Column

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet:
    """Some or all frames of some instances.

    Attributes
    ----------
    instances
        The instances; each has at least one frame in the set.
    frames
        Frame numbers, counted from 0 through all instances, ascending.
    """

    instances: tuple[Instance, ...]
    frames: Int64s

    @classmethod
    def of(cls, instances: Sequence[Instance]) -> FrameSet:
        """Return the set of all frames of `instances`."""
        total = sum(instance.frames.n_frames for instance in instances)
        return cls(tuple(instances), np.arange(total, dtype=np.int64))

    @property
    def location(self) -> str:
        """Location of the first instance."""
        return self.instances[0].location

    def __len__(self) -> int:
        return len(self.frames)

    def locate(self, position: int) -> tuple[str, int]:
        """Return the location of the frame at `position` in the set, and its number from 1."""
        starts = self._starts()
        home = int(np.searchsorted(starts, self.frames[position], "right")) - 1
        return self.instances[home].location, int(self.frames[position] - starts[home]) + 1

    def _starts(self) -> Int64s:
        return frame_starts([instance.frames for instance in self.instances])

    def subset(self, which: NDArray[np.integer[Any]]) -> FrameSet:
        """Return the frames at some positions of the set, without instances left with none."""
        chosen = np.sort(self.frames[which])
        starts = self._starts()
        home = np.searchsorted(starts, chosen, "right") - 1
        remaining = np.unique(home)
        moved = frame_starts([self.instances[i].frames for i in remaining])
        renumbered = chosen - starts[home] + moved[np.searchsorted(remaining, home)]
        return FrameSet(tuple(self.instances[i] for i in remaining), renumbered)

    def floats(self, keyword: str, width: int) -> NDArray[np.float64] | None:
        """Return the numbers of an element in every frame; None if any lacks it.

        Parameters
        ----------
        keyword
            Keyword of the element.
        width
            Number of values that it must have.

        Returns
        -------
        array or None
            Shape ``(frames, width)``.
        """
        parts = [
            values
            for values in (instance.floats(keyword, width) for instance in self.instances)
            if values is not None
        ]
        if len(parts) < len(self.instances):
            return None
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        # Frames ascend, so as many of them as there are values are all.
        return values if len(values) == len(self.frames) else values[self.frames]

    def columns(self, read: Callable[[Instance], Column | None]) -> Column | None:
        """Return the values of an element in every frame, where at least one frame has it.

        Parameters
        ----------
        read
            Returns the column of an instance; None where it has none.
        """
        parts = [read(instance) for instance in self.instances]
        present = [part for part in parts if part is not None]
        if not present:
            return None
        n = len(self.frames)
        if len(parts) == 1 and len(present[0].values) == n:
            return present[0]
        if len(present) == len(parts) and all(part is present[0] for part in present):
            # Instances of one frame that have the same bytes share a column.
            values, count = present[0].values[:1], present[0].count[:1]
            return Column(
                np.broadcast_to(values, (n, values.shape[1])), np.broadcast_to(count, (n,))
            )
        width = max(part.values.shape[1] for part in present)
        dtype = np.result_type(*(part.values.dtype for part in present))
        starts = self._starts()
        values = np.zeros((int(starts[-1]), width), dtype)
        if values.dtype.kind == "f":
            values[...] = np.nan
        count = np.zeros(len(values), np.int32)
        for start, part in zip(starts, parts, strict=False):
            if part is not None:
                rows = slice(start, start + len(part.values))
                values[rows, : part.values.shape[1]] = part.values
                count[rows] = part.count
        return Column(values[self.frames], count[self.frames])
