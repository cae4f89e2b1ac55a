"""The output of a read, and how decoded frames come into it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import DicomError
from xarray_dicom.layout.frames import FrameArray
from xarray_dicom.reading.grid import Plan, Target

Pixels = NDArray[Any]


class Canvas:
    """The output of one read, with its outer axes flattened to rows.

    Parameters
    ----------
    array
        What is read.
    shape
        Shape of the output without samples: ``(rows, y, x)``, or ``(points,)``.
    channels
        Samples to keep, for colour.
    plan
        What will be placed.

    Attributes
    ----------
    pixels
        The output.
    is_blank
        Whether frames may be placed already, or `blank` must fill it first.
    """

    def __init__(
        self,
        array: FrameArray,
        shape: tuple[int, ...],
        channels: slice | NDArray[np.int64] | None,
        plan: Plan,
    ) -> None:
        self.array = array
        self.channels = channels
        fill = np.asarray(array.fill, dtype=array.dtype)
        spatial = shape
        if channels is not None:
            fill = np.broadcast_to(fill, (array.samples,))[channels]
            shape = (*shape, len(fill))
        covered = plan.covered and array.paint is None
        zero = not covered and not fill.any()
        # Made in one thread, for the allocator keeps what outputs leave behind by thread.
        self.pixels: Pixels = (np.zeros if zero else np.empty)(shape, array.dtype)
        self._fill = fill
        self.is_blank = covered or zero
        # Frames arrive in any order: each pixel remembers the last one shown, counted from 1.
        self._shown = np.zeros(spatial, np.int32) if plan.overlapping else None
        self._one_at_a_time = threading.Lock()

    def blank(self) -> None:
        """Fill the output with what is shown where no frame is."""
        self.pixels[...] = self._fill
        self.is_blank = True

    def place(self, target: Target, frame: Pixels) -> None:
        """Copy the picked part of one frame to where it goes."""
        picked = _pick(frame, target, bool(len(target.rows)))
        if self.channels is not None:
            picked = picked[..., self.channels]
        if self.array.paint is not None:
            with self._one_at_a_time:
                self._paint(target, picked)
        elif self._shown is not None:
            with self._one_at_a_time:
                for shown, plane, into in self._planes(target, self._shown):
                    later = shown[into] <= target.frame
                    shown[into] = np.where(later, target.frame + 1, shown[into])
                    plane[into] = np.where(_like(later, picked), picked, plane[into])
        else:
            for _, plane, into in self._planes(target, self.pixels):
                plane[into] = picked

    def _planes(self, target: Target, beside: Pixels) -> Iterator[tuple[Pixels, Pixels, Any]]:
        """The planes of `beside` and of the output that `target` fills, and where."""
        if not len(target.rows):
            yield beside, self.pixels, target.into_y
        for row in target.rows:
            yield beside[row], self.pixels[row], _into(target)

    def _paint(self, target: Target, mask: Pixels) -> None:
        paint = self.array.paint
        assert paint is not None
        label = paint.labels[target.frame]
        for _, plane, into in self._planes(target, self.pixels):
            before = plane[into]
            claimed = (before != 0) & (mask != 0) & (before != label)
            if paint.overlap == "error" and claimed.any():
                raise DicomError(
                    f"{self.array.instances[0].source.location}: segments "
                    f"{int(before[claimed][0])} and {label} overlap; choose overlap='first' or "
                    "'last', or fewer segments"
                )
            wins = (mask != 0) & (
                (before == 0) | (before > label if paint.overlap == "first" else before < label)
            )
            plane[into] = np.where(wins, label, before)


def _pick(frame: Pixels, target: Target, outer: bool) -> Pixels:
    from_y, from_x = target.from_y, target.from_x
    if isinstance(from_y, slice) and isinstance(from_x, slice):
        return frame[from_y, from_x]
    if outer:
        return frame[from_y][:, from_x]
    return frame[from_y, from_x]


def _like(mask: Pixels, pixels: Pixels) -> Pixels:
    """`mask` of places, for pixels that may have samples."""
    return mask if mask.ndim == pixels.ndim else mask[..., None]


def _into(target: Target) -> Any:
    into_y, into_x = target.into_y, target.into_x
    if isinstance(into_y, slice) or isinstance(into_x, slice):
        return into_y, into_x
    return np.ix_(into_y, into_x)
