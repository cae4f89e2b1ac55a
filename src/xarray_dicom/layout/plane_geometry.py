"""Geometry of parallel planes: orientation, spacing, axis coordinates and affines.

Lengths are millimetres, positions are pixel centres, array order is ``(z, y, x)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.datadict import dictionary_description
from pydicom.tag import Tag

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.warn import warn

Floats = NDArray[np.float64]
Vector = tuple[float, float, float]

#: Fraction of a pixel that positions may be off before it is said.
PIXEL_TOLERANCE = 0.01

#: On a slide z runs from the glass to the coverslip, against row × column.
SLIDE_Z: Vector = (0.0, 0.0, 1.0)

PATIENT_ORIENTATION = "ImageOrientationPatient"
SLIDE_ORIENTATION = "ImageOrientationSlide"
PIXEL_SPACING = "PixelSpacing"

#: How far from 1 the length of direction cosines, and from 0 their product, may be.
LENGTH_TOLERANCE = 1e-2
SKEW_TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True)
class PlaneGeometry:
    """Orientation and spacing that parallel planes share (PS3.3 C.7.6.2.1.1).

    Attributes
    ----------
    row_cosines
        Unit direction in which the column index increases: that of x.
    column_cosines
        Unit direction in which the row index increases: that of y.
    spacing
        Millimetres between rows (y) and between columns (x).
    """

    row_cosines: Vector
    column_cosines: Vector
    spacing: tuple[float, float]

    @classmethod
    def from_elements(
        cls,
        orientation: ArrayLike,
        spacing: ArrayLike,
        *,
        keyword: str = PATIENT_ORIENTATION,
    ) -> PlaneGeometry:
        """Make the geometry from the values of the elements, as they stand in the file.

        Parameters
        ----------
        orientation
            Six direction cosines, those of the rows first. Slightly non-unit ones are
            normalised.
        spacing
            Spacing of rows and of columns in mm.
        keyword
            Keyword of the orientation, for errors.

        Raises
        ------
        CorruptDicomError
            If the directions are not two perpendicular unit vectors, or the spacing is not
            two positive numbers.
        """
        row, column = unit_directions(orientation, keyword)
        y, x = positive_spacing(spacing)
        return cls(_vector(row), _vector(column), (y, x))

    @property
    def normal(self) -> Vector:
        """Unit direction row × column: that of z for patients."""
        (a, b, c), (d, e, f) = self.row_cosines, self.column_cosines
        # As `numpy.cross` does, but without its 20 µs for vectors of any shape.
        across = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
        return _vector(across / np.linalg.norm(across))

    @property
    def orientation(self) -> tuple[float, ...]:
        """Six direction cosines, those of the rows first."""
        return (*self.row_cosines, *self.column_cosines)

    @property
    def x_step(self) -> Floats:
        """Step from a pixel to the next in its row, shape ``(3,)``, mm."""
        return np.asarray(self.row_cosines) * self.spacing[1]

    @property
    def y_step(self) -> Floats:
        """Step from a pixel to the next in its column, shape ``(3,)``, mm."""
        return np.asarray(self.column_cosines) * self.spacing[0]

    def affine(self, origin: ArrayLike, z_step: ArrayLike | None = None) -> Floats:
        """Return the affine of planes whose first pixel lies at `origin`; see `affine`.

        Without `z_step` (one plane) the z column is `normal`.
        """
        return affine(origin, self.normal if z_step is None else z_step, self.y_step, self.x_step)

    def coordinates(self, origin: ArrayLike, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Return the coordinates along y and x of a plane whose first pixel is at `origin`."""
        rows, columns = shape
        return (
            axis_coordinates(origin, self.column_cosines, self.spacing[0], rows),
            axis_coordinates(origin, self.row_cosines, self.spacing[1], columns),
        )


def unit_directions(
    orientation: ArrayLike, keyword: str = PATIENT_ORIENTATION
) -> tuple[Floats, Floats]:
    """Split and normalise six direction cosines; errors as in `PlaneGeometry.from_elements`."""
    cosines = _numbers(orientation, 6, keyword)
    row, column = cosines[:3], cosines[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > LENGTH_TOLERANCE:
        raise CorruptDicomError(
            f"{_description(keyword)} is {_listed(cosines)}, but direction cosines must have "
            f"length 1, not {lengths[0]:.4g} and {lengths[1]:.4g}",
            tag=keyword,
        )
    row, column = row / lengths[0], column / lengths[1]
    if abs(row @ column) > SKEW_TOLERANCE:
        angle = np.degrees(np.arccos(np.clip(row @ column, -1, 1)))
        raise CorruptDicomError(
            f"{_description(keyword)} is {_listed(cosines)}, but rows and columns must be "
            f"perpendicular; here they meet at {angle:.2f} degrees",
            tag=keyword,
        )
    return row, column


def positive_spacing(spacing: ArrayLike) -> tuple[float, float]:
    """Check Pixel Spacing ``(y, x)`` in mm; `CorruptDicomError` if not positive and finite."""
    y, x = _numbers(spacing, 2, PIXEL_SPACING)
    if y <= 0 or x <= 0:
        raise CorruptDicomError(
            f"{_description(PIXEL_SPACING)} is {_listed((y, x))}, but must be positive",
            tag=PIXEL_SPACING,
        )
    return float(y), float(x)


def usable_spacing(spacing: ArrayLike | None) -> tuple[float, float] | None:
    """Return Pixel Spacing ``(y, x)`` in mm; None without one, or with a warning if it is wrong.

    Some writers put zeros where they know no spacing; the pixels are good all the same.
    """
    if spacing is None:
        return None
    try:
        return positive_spacing(spacing)
    except CorruptDicomError as error:
        warn(f"{error.message}; so y and x have no coordinates", tag=PIXEL_SPACING)
        return None


def axis_coordinates(origin: ArrayLike, direction: ArrayLike, spacing: float, n: int) -> Floats:
    """Return coordinates of `n` pixel centres along a unit direction, mm, not rounded.

    Parameters
    ----------
    origin
        Position of the first pixel, shape ``(3,)``.
    direction
        Unit direction of the axis, shape ``(3,)``.
    spacing
        Distance of neighbours.
    n
        Number of pixels.
    """
    first = np.dot(np.asarray(origin, np.float64), np.asarray(direction, np.float64))
    return np.asarray(first + np.arange(n) * spacing, np.float64)


def image_coordinates(spacing: float, n: int) -> Floats:
    """Return the distances in mm of `n` pixel centres from the first."""
    return np.asarray(np.arange(n) * spacing, np.float64)


def affine(origin: ArrayLike, z_step: ArrayLike, y_step: ArrayLike, x_step: ArrayLike) -> Floats:
    """Return the 4×4 matrix from array index ``(z, y, x, 1)`` to that pixel's centre.

    Parameters
    ----------
    origin
        Position of pixel ``(0, 0, 0)``, mm.
    z_step, y_step, x_step
        Step from a pixel to the next along each axis, mm.
    """
    matrix = np.eye(4)
    for number, column in enumerate((z_step, y_step, x_step, origin)):
        matrix[:3, number] = column
    return matrix


def slide_origin(x_offset: float, y_offset: float, z_offset: float = 0.0) -> Vector:
    """Return the first pixel centre of a total pixel matrix on the slide, mm.

    See PS3.3 C.8.12.4.1.1.

    Parameters
    ----------
    x_offset, y_offset
        X and Y Offset in Slide Coordinate System of the Total Pixel Matrix Origin Sequence, mm.
    z_offset
        Height above the glass in **mm** (the per-frame Z Offset is in µm).
    """
    return (float(x_offset), float(y_offset), float(z_offset))


def _numbers(values: ArrayLike, count: int, keyword: str) -> Floats:
    """Return the `count` numbers of an element; `CorruptDicomError` if they are none.

    Parameters
    ----------
    values
        Values of the element.
    count
        Number of values that it must have.
    keyword
        Keyword of the element, for errors.
    """
    name = _description(keyword)
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise CorruptDicomError(f"{name} is {values!r}, not numbers", tag=keyword) from error
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise CorruptDicomError(
            f"{name} is {_listed(numbers.ravel()[:12])}, but must be {count} finite numbers",
            tag=keyword,
        )
    return numbers


@cache
def _description(keyword: str) -> str:
    """Return the name of an element with its tag."""
    return f"{dictionary_description(keyword)} {Tag(keyword)}"


def _vector(values: ArrayLike) -> Vector:
    # Adding 0.0 turns -0.0 into 0.0
    x, y, z = (float(value) + 0.0 for value in np.asarray(values, np.float64))
    return (x, y, z)


def _listed(values: ArrayLike) -> str:
    return "\\".join(f"{value:.6g}" for value in np.asarray(values, np.float64))
