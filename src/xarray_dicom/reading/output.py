"""The output of a read, and how decoded frames come into it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import DicomError
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.pixels.transform import Stored
from xarray_dicom.reading.plan import Picks, Plan, Target, Targets

Pixels = NDArray[Any]


class Output:
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
    independent
        Whether no pixel is filled by more than one frame, so that frames may be placed in any
        order, and many at once.
    """

    def __init__(
        self,
        array: FrameArray,
        shape: tuple[int, ...],
        channels: slice | NDArray[np.int64] | None,
        plan: Plan,
    ) -> None:
        self.array = array
        fill = np.asarray(array.fill, dtype=array.dtype)
        spatial = shape
        if channels is not None:
            fill = np.broadcast_to(fill, (array.samples,))[channels]
            shape = (*shape, len(fill))
        whole = isinstance(channels, slice) and channels == slice(0, array.samples, 1)
        self.channels = None if whole else channels
        covered = plan.covered and array.paint is None
        zero = not covered and not fill.any()
        # Made in one thread, for the allocator keeps what outputs leave behind by thread.
        self.pixels: Pixels = (np.zeros if zero else np.empty)(shape, array.dtype)
        self._fill = fill
        self.is_blank = covered or zero
        # Frames arrive in any order: each pixel remembers the last one shown, counted from 1.
        self._shown = np.zeros(spatial, np.int32) if plan.overlapping else None
        self._one_at_a_time = threading.Lock()
        self.independent = array.paint is None and not plan.overlapping
        # A codec needs rows that follow each other without a gap.
        self._direct = (
            self.independent
            and self.channels is None
            and len(spatial) == 3
            and spatial[2] == array.tile[1]
            and isinstance(array.transform, Stored)
        )

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

    def direct(self, target: Target) -> Pixels | None:
        """The part of the output that is to be one whole frame as decoded, if it is contiguous."""
        if not self._direct or len(target.rows) != 1 or not _sliced(target.into_y, target.into_x):
            return None
        part: Pixels = self.pixels[target.rows[0], target.into_y, target.into_x]
        whole = part.shape[:2] == self.array.tile and part.flags.c_contiguous
        return part if whole else None

    def place_run(self, targets: Targets, first: int, frames: Pixels) -> None:
        """Transform stored `frames` into the output: the targets from `first`, all aligned.

        Parameters
        ----------
        targets
            Targets of frames that are `independent`.
        first
            The target of the first of `frames`.
        frames
            Stored values, shape ``(frames, rows, columns[, samples])``.
        """
        last = first + len(frames)
        numbers, rows = targets.frame[first:last], targets.rows_of(first, last)
        if len(rows) != len(frames):
            before = targets.ends[first - 1] if first else 0
            repeats = np.diff(targets.ends[first:last], prepend=before)
            frames, numbers = np.repeat(frames, repeats, 0), np.repeat(numbers, repeats)
        alike = targets[first]
        from_y, from_x = alike.from_y, alike.from_x
        picked = frames[:, from_y, from_x] if _sliced(from_y) else frames[:, from_y][:, :, from_x]
        where = _where(self.pixels.shape, _progression(rows), alike.into_y, alike.into_x)
        if self.channels is None and _sliced(*where):
            self.array.transform.apply(picked, numbers, self.pixels[where])
            return
        values = self.array.transform.apply(picked, numbers)
        self.pixels[where] = values if self.channels is None else values[..., self.channels]

    def _planes(self, target: Target, beside: Pixels) -> Iterator[tuple[Pixels, Pixels, Any]]:
        """The planes of `beside` and of the output that `target` fills, and where."""
        if not len(target.rows):
            yield beside, self.pixels, target.into_y
        for row in target.rows:
            plane = self.pixels[row]
            yield beside[row], plane, _where(plane.shape, target.into_y, target.into_x)

    def _paint(self, target: Target, mask: Pixels) -> None:
        paint = self.array.paint
        assert paint is not None
        label = paint.labels[target.frame]
        for _, plane, into in self._planes(target, self.pixels):
            before = plane[into]
            claimed = (before != 0) & (mask != 0) & (before != label)
            if paint.overlap == "error" and claimed.any():
                raise DicomError(
                    f"{self.array.sources[0].location}: segments "
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


def _where(shape: tuple[int, ...], *picks: Picks) -> Any:
    """An index that picks on each of the first axes of `shape` by itself."""
    if sum(not isinstance(pick, slice) for pick in picks) < 2:
        return picks
    return np.ix_(*(np.arange(size)[pick] for size, pick in zip(shape, picks, strict=False)))


def _sliced(*picks: Any) -> bool:
    return all(isinstance(pick, slice) for pick in picks)


def _progression(positions: NDArray[np.int64]) -> Picks:
    """Positions as a slice if they are evenly spaced, ascending or descending."""
    first, last = int(positions[0]), int(positions[-1])
    step = int(positions[1]) - first if len(positions) > 1 else 1
    if not step or (np.diff(positions) != step).any():
        return positions
    stop = last + (1 if step > 0 else -1)
    return slice(first, stop if stop >= 0 else None, step)
