"""Frames with patient positions, sorted into parallel planes (PS3.3 C.7.6.2.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.layout.frame_of_reference import COSINE_TOLERANCE
from xarray_dicom.layout.plane_geometry import (
    PIXEL_TOLERANCE,
    Floats,
    PlaneGeometry,
)

Indices = NDArray[np.intp]

IMAGE_POSITION = "Image Position (Patient) (0020,0032)"


@dataclass(frozen=True, slots=True)
class Planes:
    """Parallel planes, in ascending order of n·position.

    Attributes
    ----------
    z
        Coordinate of each plane, shape ``(planes,)``, mm, not rounded.
    plane
        Plane of each frame, shape ``(frames,)``.
    origins
        Centre of the first pixel of each plane, shape ``(planes, 3)``, mm.
    y_drifts, x_drifts
        True if origins drift in-plane along that axis, so that it has no coordinate.
    affine
        4×4, index ``(z, y, x)`` to mm, with the shear of a constant drift; None where no
        affine holds because spacing is irregular or drift is not constant.
    warnings
        Texts of warnings.
    """

    z: Floats
    plane: Indices
    origins: Floats
    y_drifts: bool
    x_drifts: bool
    affine: Floats | None
    warnings: tuple[str, ...]


def arrange_planes(positions: ArrayLike, geometry: PlaneGeometry) -> Planes:
    """Sort frames into planes, and judge how regular these are.

    Frames belong to one plane when their distances along the normal differ by no more than
    1 % of a pixel or of the typical spacing of planes, whichever is more.

    Parameters
    ----------
    positions
        Image Position (Patient) of each frame, shape ``(frames, 3)``, mm.
    geometry
        Orientation and spacing that the frames share.

    Raises
    ------
    CorruptDicomError
        If a position is not three finite numbers.
    """
    at = np.asarray(positions, np.float64)
    if at.ndim != 2 or at.shape[1] != 3 or len(at) == 0:
        raise CorruptDicomError(
            f"{IMAGE_POSITION} must have three values per frame", tag="ImagePositionPatient"
        )
    if not np.isfinite(at).all():
        raise not_finite()
    distance = at @ np.asarray(geometry.normal)
    plane, first = _group(distance, PIXEL_TOLERANCE * min(geometry.spacing))
    origins = at[first]
    z = distance[first]

    # Shape (frames, 2), each axis in one run of memory.
    in_plane = np.stack([at @ geometry.column_cosines, at @ geometry.row_cosines]).T
    limits = PIXEL_TOLERANCE * np.asarray(geometry.spacing)
    drifts = np.ptp(in_plane, axis=0) > limits
    steady = _proportional(in_plane, distance, limits)
    gap = _irregularity(z)
    warnings = [
        *([gap] if gap else []),
        *(
            _drift_warning(name, in_plane[first, axis], bool(steady[axis]), not gap)
            for axis, name in enumerate("yx")
            if drifts[axis]
        ),
    ]
    matrix = None
    if not gap and steady.all():
        matrix = geometry.affine(origins[0], _z_step(origins, z, geometry, drifts))
    return Planes(z, plane, origins, bool(drifts[0]), bool(drifts[1]), matrix, tuple(warnings))


def not_finite(location: str | None = None, frame: int | None = None) -> CorruptDicomError:
    """Return the error about a position that is no point in space, of a frame from 1."""
    return CorruptDicomError(
        f"{IMAGE_POSITION} is not 3 finite numbers",
        location=location,
        frame=frame,
        tag="ImagePositionPatient",
    )


def split_stacks(
    orientations: ArrayLike, stack_ids: Sequence[object] | NDArray[np.generic] | None = None
) -> list[Indices]:
    """Split frames into stacks of one orientation and one Stack ID (0020,9056).

    Parameters
    ----------
    orientations
        Image Orientation (Patient) of each frame, shape ``(frames, 6)``. They are one
        when no cosine differs by more than 1e-4.
    stack_ids
        Stack ID of each frame, if there is one.

    Returns
    -------
    list of arrays
        Frame numbers (from 0, ascending) of each stack, in order of first appearance.
    """
    cosines = np.asarray(orientations, np.float64)
    distinct, which = np.unique(cosines, axis=0, return_inverse=True)
    key = _cluster(distinct)[which.reshape(-1)]
    if stack_ids is not None:
        _, stack = np.unique(np.asarray(stack_ids), return_inverse=True)
        key = key * (int(stack.max(initial=0)) + 1) + stack
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    by_group = np.argsort(group, kind="stable")
    stacks = np.split(by_group, np.cumsum(np.bincount(group))[:-1]) if len(group) else []
    return [stacks[i] for i in np.argsort(first)]


def _cluster(distinct: Floats) -> Indices:
    """Return the group of each orientation; rows ascend, so only a window of them can be near."""
    group = np.full(len(distinct), -1, np.intp)
    tolerance = COSINE_TOLERANCE * (1 + 1e-6)
    ends = np.searchsorted(distinct[:, 0], distinct[:, 0] + tolerance, side="right")
    for i, end in enumerate(ends):
        if group[i] < 0:
            near = np.abs(distinct[i:end] - distinct[i]).max(axis=1) <= tolerance
            window = group[i:end]
            window[(window < 0) & (near | (np.arange(end - i) == 0))] = i
    return group


def _group(distance: Floats, finest: float) -> tuple[Indices, Indices]:
    """Return the plane of each frame, and a frame of each plane.

    Gaps of up to `finest` mm never part planes.
    """
    order = np.argsort(distance, kind="stable")
    steps = np.diff(distance[order])
    between = steps[steps > finest]
    tolerance = finest
    if between.size:
        tolerance = max(tolerance, PIXEL_TOLERANCE * float(np.median(between)))
    starts = np.concatenate([[True], steps > tolerance])
    plane = np.empty(len(distance), np.intp)
    plane[order] = np.cumsum(starts) - 1
    return plane, order[starts]


def _proportional(in_plane: Floats, distance: Floats, limits: Floats) -> NDArray[np.bool_]:
    """Return which in-plane positions grow in proportion to the distance along the normal.

    Parameters
    ----------
    in_plane
        Positions along y and x, shape ``(frames, 2)``, mm.
    distance
        Distance along the normal of each frame, mm.
    limits
        Deviation along y and x that is no deviation, mm.
    """
    first, last = np.argmin(distance), np.argmax(distance)
    depth = distance - distance[first]
    slope = (in_plane[last] - in_plane[first]) / (depth[last] or 1.0)
    deviation = np.abs(in_plane.T - in_plane[first][:, None] - slope[:, None] * depth).max(axis=1)
    return np.asarray(deviation <= limits)


def _irregularity(z: Floats) -> str | None:
    """Return a sentence about planes not evenly spaced within 1 % of their spacing; else None."""
    if len(z) < 3:
        return None
    steps = np.diff(z)
    typical = float(np.sort(steps)[(len(steps) - 1) // 2])
    even = z[0] + np.arange(len(z)) * (z[-1] - z[0]) / (len(z) - 1)
    irregular = np.flatnonzero(np.abs(steps - typical) > PIXEL_TOLERANCE * typical)
    if irregular.size == 0 and np.abs(z - even).max() <= PIXEL_TOLERANCE * typical:
        return None
    if irregular.size == 1:
        i = int(irregular[0])
        where = f"planes {i} and {i + 1} are {_mm(steps[i])} mm apart, elsewhere {_mm(typical)} mm"
    else:
        where = (
            f"planes are between {_mm(steps.min())} and {_mm(steps.max())} mm apart, "
            f"mostly {_mm(typical)} mm"
        )
    return f"{where}; the z coordinate has the true positions and no affine holds"


def _drift_warning(axis: str, along: Floats, steady: bool, even: bool) -> str:
    """Return a sentence about planes that drift along an axis.

    Parameters
    ----------
    axis
        Name of the axis.
    along
        Position along the axis of the first pixel of each plane, mm.
    steady
        True if the drift is in proportion to the distance of planes.
    even
        True if planes are evenly spaced.
    """
    if len(along) < 2:
        return f"frames of one plane do not begin at the same {axis}, so it has no coordinate"
    if steady:
        per_plane = (along[-1] - along[0]) / (len(along) - 1)
        return (
            f"planes drift by {_mm(per_plane)} mm per plane along {axis} (gantry tilt or shear), "
            f"so {axis} has no coordinate{'; the affine carries the shear' if even else ''}"
        )
    return (
        f"planes drift unevenly along {axis}, by {_mm(np.ptp(along))} mm in all and up to "
        f"{_mm(np.abs(np.diff(along)).max())} mm per plane, so {axis} has no coordinate "
        "and no affine holds"
    )


def _z_step(
    origins: Floats, z: Floats, geometry: PlaneGeometry, drifts: NDArray[np.bool_]
) -> Floats | None:
    """Return the step from a plane to the next, in mm; None for one plane.

    Parameters
    ----------
    origins, z
        First pixel and coordinate of each plane, mm.
    geometry
        Orientation and spacing that planes share.
    drifts
        True for y and x where origins drift along it.
    """
    if len(z) < 2:
        return None
    step: Floats = (z[-1] - z[0]) / (len(z) - 1) * np.asarray(geometry.normal)
    between = (origins[-1] - origins[0]) / (len(z) - 1)
    for drifting, direction in zip(
        drifts, (geometry.column_cosines, geometry.row_cosines), strict=True
    ):
        if drifting:
            step = step + (between @ np.asarray(direction)) * np.asarray(direction)
    return step


def _mm(value: float) -> str:
    """Format millimetres with at least one decimal and at most four significant digits."""
    text = f"{value:.4g}"
    return text if "." in text or "e" in text else f"{text}.0"
