"""Transforms of stored values to physical values, of a frame or of several at a time.

All transforms are small, immutable and picklable, and independent of data sets:
`xarray_dicom.pixels.modality` makes them from one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError

Values = NDArray[np.generic]
#: Number of all frames, shape ``()``, or of each frame, shape ``(frames,)``.
PerFrameNumber = NDArray[np.floating]
#: Index of a frame, or indices of several, shape ``(frames,)``.
FrameIndex = int | NDArray[np.int64]


@runtime_checkable
class Transform(Protocol):
    """Function of stored values that the reader applies to decoded frames."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the result."""
        ...

    def apply(self, stored: Values, frame: FrameIndex, out: Values | None = None) -> Values:
        """Transform one frame, or several at once.

        Parameters
        ----------
        stored
            Stored values, any shape; of several frames, ``(frames, …)``.
        frame
            Index of the frame in its array, from 0, or of each frame of `stored`.
        out
            Array of the same shape and of `dtype` to write to; may be strided.

        Returns
        -------
        numpy.ndarray
            `out` if it was given.
        """
        ...


def value_dtype(stored: np.dtype[np.generic]) -> np.dtype[np.floating]:
    """Return the type of modality and real-world values of pixels of a type.

    float32, but float64 where that would lose digits: 32- and 64-bit integers, float64.
    """
    wide = stored.itemsize == 8 or (stored.itemsize == 4 and stored.kind in "iu")
    return np.dtype(np.float64 if wide else np.float32)


def _select(number: PerFrameNumber, frame: FrameIndex, stored: Values) -> PerFrameNumber:
    """Return the number of a frame, or those of several so that they broadcast with `stored`."""
    if number.ndim == 0:
        return number
    selected = np.asarray(number[frame])
    if not isinstance(frame, np.ndarray):
        return selected
    return selected.reshape(-1, *[1] * (stored.ndim - 1))


def _linear(
    stored: Values, slope: PerFrameNumber, intercept: PerFrameNumber, out: Values | None
) -> Values:
    """Return `stored * slope + intercept`, rounded to the type of `slope` at each step.

    highdicom rounds likewise.
    """
    values = np.multiply(stored, slope, out=out, dtype=slope.dtype, casting="unsafe")
    added = intercept != 0
    if added.all():
        return np.add(values, intercept, out=values)
    # Adding 0 to -0 would give 0.
    return np.add(values, intercept, out=values, where=added) if added.any() else values


@dataclass(frozen=True, slots=True)
class Stored:
    """Identity: the stored values themselves."""

    dtype: np.dtype[np.generic]

    def apply(self, stored: Values, frame: FrameIndex, out: Values | None = None) -> Values:
        """Return `stored`, cast to `dtype` where that differs.

        Parameters
        ----------
        stored, frame, out
            As for `Transform.apply`.
        """
        if out is None:
            return stored.astype(self.dtype, copy=False)
        np.copyto(out, stored, casting="unsafe")
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Rescale:
    """Rescale Slope and Rescale Intercept (PS3.3 C.11.1.1.2).

    Attributes
    ----------
    slope, intercept
        float32, or float64 for 32-bit integers; shape ``()`` or ``(frames,)``.
    """

    slope: PerFrameNumber
    intercept: PerFrameNumber

    @classmethod
    def of(
        cls,
        slope: float | NDArray[np.floating],
        intercept: float | NDArray[np.floating],
        stored: np.dtype[np.generic],
    ) -> Rescale:
        """Return the transform for pixels of type `stored`.

        Parameters
        ----------
        slope, intercept
            Rescale Slope and Intercept, of all frames or of each.
        stored
            Type of the stored values.
        """
        dtype = value_dtype(stored)
        return cls(np.asarray(slope).astype(dtype), np.asarray(intercept).astype(dtype))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the result."""
        return self.slope.dtype

    @property
    def is_uniform(self) -> bool:
        """Return True if all frames share slope and intercept."""
        return self.slope.ndim == 0 and self.intercept.ndim == 0

    def apply(self, stored: Values, frame: FrameIndex, out: Values | None = None) -> Values:
        """Return ``stored * slope + intercept`` of this frame.

        Parameters
        ----------
        stored, frame, out
            As for `Transform.apply`.
        """
        slope, intercept = (
            _select(number, frame, stored) for number in (self.slope, self.intercept)
        )
        return _linear(stored, slope, intercept, out)


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """Modality LUT (PS3.3 C.11.1.1.1): values beyond the table take its nearest entry.

    Attributes
    ----------
    first_mapped
        Stored value of the table's first entry.
    table
        Results, shape ``(entries,)``.
    """

    first_mapped: int
    table: Values

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the result."""
        return self.table.dtype

    def apply(self, stored: Values, frame: FrameIndex, out: Values | None = None) -> Values:
        """Return the entry of each value.

        Parameters
        ----------
        stored, frame, out
            As for `Transform.apply`.
        """
        index = np.subtract(stored, self.first_mapped, dtype=np.int64, casting="unsafe")
        return _take(self.table, index, out)


@dataclass(frozen=True, slots=True, eq=False)
class RealWorldValue:
    """Linear Real World Value Mapping (PS3.3 C.7.6.16.2.11).

    Stored values outside the mapped range have no meaning: they become NaN.

    Attributes
    ----------
    slope, intercept
        As for `Rescale`.
    first, last
        First and last stored value that is mapped, float64, shape ``()`` or ``(frames,)``.
    """

    slope: PerFrameNumber
    intercept: PerFrameNumber
    first: PerFrameNumber
    last: PerFrameNumber

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the result."""
        return self.slope.dtype

    def apply(self, stored: Values, frame: FrameIndex, out: Values | None = None) -> Values:
        """Return ``stored * slope + intercept`` of this frame, NaN outside the range.

        Parameters
        ----------
        stored, frame, out
            As for `Transform.apply`.
        """
        slope, intercept, first, last = (
            _select(number, frame, stored)
            for number in (self.slope, self.intercept, self.first, self.last)
        )
        values = _linear(stored, slope, intercept, out)
        return _blank(values, np.less(stored, first) | np.greater(stored, last))


@dataclass(frozen=True, slots=True, eq=False)
class RealWorldTable:
    """Real World Value LUT Data (PS3.3 C.7.6.16.2.11); NaN outside the mapped range.

    Attributes
    ----------
    first_mapped
        Stored value of the table's first entry.
    table
        Results, shape ``(entries,)``.
    """

    first_mapped: int
    table: NDArray[np.floating]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the result."""
        return self.table.dtype

    def apply(self, stored: Values, frame: FrameIndex, out: Values | None = None) -> Values:
        """Return the entry of each value.

        Parameters
        ----------
        stored, frame, out
            As for `Transform.apply`.
        """
        index = np.subtract(stored, self.first_mapped, dtype=np.int64, casting="unsafe")
        return _blank(_take(self.table, index, out), (index < 0) | (index >= self.table.size))


@dataclass(frozen=True, slots=True)
class Fraction:
    """FRACTIONAL segmentation: 0 to Maximum Fractional Value becomes 0 to 1 (PS3.3 C.8.20.2.3)."""

    maximum: int

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the result."""
        return np.dtype(np.float32)

    def apply(self, stored: Values, frame: FrameIndex, out: Values | None = None) -> Values:
        """Return ``stored / maximum``.

        Parameters
        ----------
        stored, frame, out
            As for `Transform.apply`.

        Raises
        ------
        CorruptDicomError
            If a value is above the maximum.
        """
        if stored.size and stored.max() > np.int64(self.maximum):
            raise CorruptDicomError(
                f"it has values above {self.maximum}, its Maximum Fractional Value (0062,000E)",
                tag="MaximumFractionalValue",
            )
        return np.divide(stored, np.float32(self.maximum), out=out, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class PerFrame:
    """Several transforms of one result type, each for some of the frames.

    Attributes
    ----------
    transforms
        The different ones.
    choice
        Index into `transforms` of every frame.
    """

    transforms: tuple[Transform, ...]
    choice: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the result."""
        return self.transforms[0].dtype

    def apply(self, stored: Values, frame: FrameIndex, out: Values | None = None) -> Values:
        """Apply the transform of each frame.

        Parameters
        ----------
        stored, frame, out
            As for `Transform.apply`.
        """
        if not isinstance(frame, np.ndarray):
            return self.transforms[self.choice[frame]].apply(stored, frame, out)
        values = np.empty(stored.shape, self.dtype) if out is None else out
        for position, number in enumerate(frame.tolist()):
            self.transforms[self.choice[number]].apply(stored[position], number, values[position])
        return values


def _take(table: Values, index: NDArray[np.int64], out: Values | None) -> Values:
    # With mode "clip" take writes to `out` unbuffered, and negative indices mean the first.
    return np.take(table, index, mode="clip", out=out)


def _blank(values: Values, where: NDArray[np.bool_] | np.bool_) -> Values:
    if where.any():
        np.copyto(values, np.nan, where=where, casting="unsafe")
    return values
