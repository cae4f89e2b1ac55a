"""Where pixels are: plane geometry, axis coordinates, affines, and when two grids are one.

Lengths are millimetres, positions are pixel centres, array order is ``(z, y, x)``.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xarray_dicom.errors import CorruptDicomError, DicomError, DicomWarning

Floats = NDArray[np.float64]
Vector = tuple[float, float, float]

#: Two orientations are one when no direction cosine differs by more.
COSINE_TOLERANCE = 1e-4

#: Fraction of a pixel that positions may be off before it is said.
PIXEL_TOLERANCE = 0.01

#: On a slide z runs from the glass to the coverslip, against row × column.
SLIDE_Z: Vector = (0.0, 0.0, 1.0)

PATIENT_ORIENTATION = "Image Orientation (Patient) (0020,0037)"
SLIDE_ORIENTATION = "Image Orientation (Slide) (0048,0102)"
PIXEL_SPACING = "Pixel Spacing (0028,0030)"

#: How far from 1 the length of direction cosines, and from 0 their product, may be.
LENGTH_TOLERANCE = 1e-2
SKEW_TOLERANCE = 2e-3

_FRAME_OF_REFERENCE = re.compile(r"(?P<uid>\S+) \[(?P<cosines>[^\]]*)\]")
_AXES = "zyx"


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
        location: str = "",
        orientation_element: str = PATIENT_ORIENTATION,
    ) -> PlaneGeometry:
        """Build from the values of the elements, as they stand in the file.

        Parameters
        ----------
        orientation
            Six direction cosines, those of the rows first. Slightly non-unit ones are
            normalised.
        spacing
            Spacing of rows and of columns in mm.
        location
            The source, named in errors.
        orientation_element
            Name and tag of the orientation, named in errors.

        Raises
        ------
        CorruptDicomError
            If the directions are not two perpendicular unit vectors, or the spacing is not
            two positive numbers.
        """
        row, column = unit_directions(orientation, location=location, element=orientation_element)
        y, x = positive_spacing(spacing, location=location)
        return cls(_vector(row), _vector(column), (y, x))

    @property
    def normal(self) -> Vector:
        """Unit direction row × column: that of z for patients."""
        across = np.cross(self.row_cosines, self.column_cosines)
        return _vector(across / np.linalg.norm(across))

    @property
    def orientation(self) -> tuple[float, ...]:
        """The six direction cosines, those of the rows first."""
        return (*self.row_cosines, *self.column_cosines)

    @property
    def x_step(self) -> Floats:
        """From a pixel to the next in its row, shape ``(3,)``, mm."""
        return np.asarray(self.row_cosines) * self.spacing[1]

    @property
    def y_step(self) -> Floats:
        """From a pixel to the next in its column, shape ``(3,)``, mm."""
        return np.asarray(self.column_cosines) * self.spacing[0]

    def affine(self, origin: ArrayLike, z_step: ArrayLike | None = None) -> Floats:
        """Affine of planes whose first pixel lies at `origin`; see `affine`.

        Without `z_step` (one plane) the z column is `normal`.
        """
        return affine(origin, self.normal if z_step is None else z_step, self.y_step, self.x_step)

    def coordinates(self, origin: ArrayLike, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Coordinates along y and x of a plane of `shape` whose first pixel is at `origin`."""
        rows, columns = shape
        return (
            axis_coordinates(origin, self.column_cosines, self.spacing[0], rows),
            axis_coordinates(origin, self.row_cosines, self.spacing[1], columns),
        )


def unit_directions(
    orientation: ArrayLike, *, location: str = "", element: str = PATIENT_ORIENTATION
) -> tuple[Floats, Floats]:
    """Split and normalise six direction cosines; errors as in `PlaneGeometry.from_elements`."""
    cosines = _numbers(orientation, 6, element, location)
    row, column = cosines[:3], cosines[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > LENGTH_TOLERANCE:
        raise CorruptDicomError(
            f"{located(location)}{element} is {_listed(cosines)}, but direction cosines must have "
            f"length 1, not {lengths[0]:.4g} and {lengths[1]:.4g}"
        )
    row, column = row / lengths[0], column / lengths[1]
    if abs(row @ column) > SKEW_TOLERANCE:
        angle = np.degrees(np.arccos(np.clip(row @ column, -1, 1)))
        raise CorruptDicomError(
            f"{located(location)}{element} is {_listed(cosines)}, but rows and columns must be "
            f"perpendicular; here they meet at {angle:.2f} degrees"
        )
    return row, column


def positive_spacing(
    spacing: ArrayLike, *, location: str = "", element: str = PIXEL_SPACING
) -> tuple[float, float]:
    """Check a spacing ``(y, x)`` in mm; `CorruptDicomError` if it is not positive and finite."""
    y, x = _numbers(spacing, 2, element, location)
    if y <= 0 or x <= 0:
        raise CorruptDicomError(
            f"{located(location)}{element} is {_listed((y, x))}, but must be positive"
        )
    return float(y), float(x)


def known_spacing(spacing: ArrayLike | None, *, location: str) -> tuple[float, float] | None:
    """A spacing ``(y, x)`` in mm; None where there is none, with a warning if it can't be one.

    Some writers put zeros where they know no spacing; the pixels are good all the same.
    """
    if spacing is None:
        return None
    try:
        return positive_spacing(spacing)
    except CorruptDicomError as error:
        warnings.warn(
            f"{location}: {error}; so y and x have no coordinates", DicomWarning, stacklevel=2
        )
        return None


def axis_coordinates(origin: ArrayLike, direction: ArrayLike, spacing: float, n: int) -> Floats:
    """Coordinates of `n` pixel centres along a unit `direction`, mm, not rounded.

    Parameters
    ----------
    origin
        Position of the first pixel, shape ``(3,)``.
    direction
        Unit direction of the axis, shape ``(3,)``.
    spacing
        Distance of neighbours.
    """
    first = np.dot(np.asarray(origin, np.float64), np.asarray(direction, np.float64))
    return np.asarray(first + np.arange(n) * spacing, np.float64)


def image_coordinates(spacing: float, n: int) -> Floats:
    """Millimetres of `n` pixel centres from that of the first, where no position is known."""
    return np.asarray(np.arange(n) * spacing, np.float64)


def affine(origin: ArrayLike, z_step: ArrayLike, y_step: ArrayLike, x_step: ArrayLike) -> Floats:
    """The 4×4 matrix from array index ``(z, y, x, 1)`` to the position of that pixel's centre.

    Parameters
    ----------
    origin
        Position of pixel ``(0, 0, 0)``, mm.
    z_step, y_step, x_step
        From a pixel to the next along each axis, mm.
    """
    matrix = np.eye(4)
    matrix[:3] = np.stack(
        [np.asarray(column, np.float64) for column in (z_step, y_step, x_step, origin)], axis=1
    )
    return matrix


def slide_origin(x_offset: float, y_offset: float, z_offset: float = 0.0) -> Vector:
    """First pixel centre of a total pixel matrix in the slide's frame, mm (PS3.3 C.8.12.4.1.1).

    Parameters
    ----------
    x_offset, y_offset
        X and Y Offset in Slide Coordinate System of the Total Pixel Matrix Origin Sequence, mm.
    z_offset
        Height above the glass in **mm** (the per-frame Z Offset is in µm).
    """
    return (float(x_offset), float(y_offset), float(z_offset))


def frame_of_reference(uid: str, orientation: Sequence[float]) -> str:
    """Text of a frame of reference: its UID and the direction cosines to 1e-4.

    Examples
    --------
    >>> frame_of_reference("1.2.3", (1, 0, 0, 0, 1, -1e-9))
    '1.2.3 [1,0,0,0,1,0]'
    """
    # adding 0.0 turns -0.0 into 0.0
    cosines = (f"{round(float(value), 4) + 0.0:.4f}" for value in orientation)
    return f"{uid} [{','.join(text.rstrip('0').rstrip('.') for text in cosines)}]"


def parse_frame_of_reference(text: str) -> tuple[str, tuple[float, ...]]:
    """UID and six direction cosines of what `frame_of_reference` wrote.

    Raises
    ------
    DicomError
        If `text` is not of that form.
    """
    match = _FRAME_OF_REFERENCE.fullmatch(text)
    if match:
        try:
            cosines = tuple(float(value) for value in match["cosines"].split(","))
        except ValueError:
            cosines = ()
        if len(cosines) == 6 and np.isfinite(cosines).all():
            return match["uid"], cosines
    raise DicomError(
        f"{text!r} is not a frame of reference; "
        "it must be a UID and six direction cosines, like '1.2.3 [1,0,0,0,1,0]'"
    )


def same_orientation(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether no direction cosine differs by more than `COSINE_TOLERANCE`."""
    apart = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
    # the last digits of a decimal such as 0.9999 must not decide
    return bool(apart.max() <= COSINE_TOLERANCE * (1 + 1e-6))


@dataclass(frozen=True, slots=True)
class AxisMatch:
    """How an axis lies on the same axis of another grid.

    Attributes
    ----------
    offset
        Index there of the first pixel here; may be negative.
    flip
        Whether the index there falls as it rises here.
    """

    offset: int
    flip: bool


def match_grids(
    target: ArrayLike,
    affine: ArrayLike,
    target_shape: Sequence[int],
    shape: Sequence[int],
    tolerance: float = PIXEL_TOLERANCE,
) -> tuple[AxisMatch, AxisMatch, AxisMatch]:
    """Find how a grid lies on a target grid, if padding, cropping and reversing suffice.

    Parameters
    ----------
    target, affine
        4×4 affines of the target and of the grid to be placed on it.
    target_shape, shape
        Their ``(z, y, x)`` shapes. An axis of one pixel has no step of its own.
    tolerance
        Pixels of the target by which any corner may be off.

    Returns
    -------
    tuple of AxisMatch
        For z, y and x.

    Raises
    ------
    DicomError
        If a corner is off by more; names the axis and the difference in mm.
    """
    there, here = np.array(target, np.float64), np.array(affine, np.float64)
    for axis in range(3):
        if target_shape[axis] == 1 and shape[axis] > 1:
            there[:3, axis] = here[:3, axis]
    try:
        relative = np.linalg.solve(there, here)
    except np.linalg.LinAlgError as error:
        raise DicomError("the target's affine is singular: its axes are not independent") from error
    steps = np.where(np.diagonal(relative)[:3] < 0, -1.0, 1.0)
    steps[np.asarray(shape) == 1] = 1.0
    offsets = np.rint(relative[:3, 3])

    corners = np.array(list(itertools.product(*((0, max(n - 1, 0)) for n in shape))), np.float64)
    off = corners @ relative[:3, :3].T + relative[:3, 3] - (corners * steps + offsets)
    corner, axis = divmod(int(np.argmax(np.abs(off))), 3)
    if not np.isfinite(off).all() or abs(off[corner, axis]) > tolerance:
        millimetres = abs(off[corner, axis]) * np.linalg.norm(there[:3, axis])
        index = tuple(int(i) for i in corners[corner])
        raise DicomError(
            f"the grids differ along {_AXES[axis]} by {millimetres:.4g} mm "
            f"({abs(off[corner, axis]):.3g} pixels) at pixel {index}{_reason(there, here, shape)}; "
            "only padding, cropping and reversing are done, so resample first"
        )
    z, y, x = (AxisMatch(int(o), bool(s < 0)) for o, s in zip(offsets, steps, strict=True))
    return z, y, x


def _reason(there: Floats, here: Floats, shape: Sequence[int]) -> str:
    """What a user can recognise in grids that differ: other directions or other spacing."""
    lengths = np.linalg.norm(there[:3, :3], axis=0), np.linalg.norm(here[:3, :3], axis=0)
    cosines = np.abs(np.sum(there[:3, :3] * here[:3, :3], axis=0)) / (lengths[0] * lengths[1])
    for axis, name in enumerate(_AXES):
        if shape[axis] > 1 and cosines[axis] < 1 - 1e-6:
            return f": their {name} axes point in different directions"
    for axis, name in enumerate(_AXES):
        if shape[axis] > 1 and abs(lengths[1][axis] / lengths[0][axis] - 1) > 1e-6:
            return f": spacing along {name} is {lengths[1][axis]:.6g} and {lengths[0][axis]:.6g} mm"
    return ""


def _numbers(values: ArrayLike, count: int, element: str, location: str) -> Floats:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise CorruptDicomError(
            f"{located(location)}{element} is {values!r}, not numbers"
        ) from error
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise CorruptDicomError(
            f"{located(location)}{element} is {_listed(numbers.ravel()[:12])}, "
            f"but must be {count} finite numbers"
        )
    return numbers


def _vector(values: ArrayLike) -> Vector:
    # adding 0.0 turns -0.0 into 0.0
    x, y, z = (float(value) + 0.0 for value in np.asarray(values, np.float64))
    return (x, y, z)


def _listed(values: ArrayLike) -> str:
    return "\\".join(f"{value:.6g}" for value in np.asarray(values, np.float64))


def located(location: str) -> str:
    """How an error message begins: with the source, if there is one to name."""
    return f"{location}: " if location else ""
