"""Affine and spacing of an array as it is now, from its own coordinates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_dicom.accessor.subject import handle_of
from xarray_dicom.errors import DicomError

AXES = ("z", "y", "x")

#: Fraction of the spacing by which steps may differ and still be one spacing.
EVEN = 0.01


def spacing_of(array: xr.DataArray) -> dict[str, float]:
    """Millimetres between pixel centres along each spatial dimension of `array`, by name.

    Raises
    ------
    DicomError
        If the spacing of a dimension is not even, or can't be known.
    """
    return {dim: abs(_step(array, dim)) for dim in AXES if dim in array.dims}


def affine_of(array: xr.DataArray) -> NDArray[np.float64]:
    """Affine from index ``(z, y, x, 1)`` of `array` to millimetres, 4 × 4, pixel centres.

    Raises
    ------
    DicomError
        If the array has no position in a frame of reference, or no regular grid.
    """
    opened = array.attrs.get("affine")
    if opened is None:
        system = array.attrs.get("coordinate_system")
        why = (
            "only its spacing is known, not its position"
            if system == "image"
            else "its planes lie on no regular grid, or nothing is known of its position"
        )
        raise DicomError(f"{array.name!r} has no affine: {why}")
    matrix = np.asarray(opened, np.float64).reshape(4, 4)
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    directions = matrix[:3, :3] / lengths
    result = np.eye(4)
    origin = matrix[:3, 3].copy()
    for axis, dim in enumerate(AXES):
        if dim not in array.coords:
            # Without a coordinate the axis can't tell that it was cut, so it must be whole.
            if dim in array.dims:
                _require_whole(array, dim)
            result[:3, axis] = matrix[:3, axis]
            continue
        values = np.atleast_1d(np.asarray(array.coords[dim].values, np.float64))
        if not len(values):
            raise DicomError(f"{array.name!r} is empty along {dim}, so it has no affine")
        direction = directions[:, axis]
        if dim == "z" and not _is_orthogonal(directions):
            # Sheared planes: z counts along the normal, the column runs along the shear.
            normal = np.cross(directions[:, 2], directions[:, 1])
            direction = directions[:, axis] / (directions[:, axis] @ normal)
            origin += direction * (values[0] - origin @ normal)
        else:
            origin += direction * (values[0] - origin @ direction)
        step = _step(array, dim) if len(values) > 1 else lengths[axis]
        result[:3, axis] = direction * step
    result[:3, 3] = origin
    return result


def _is_orthogonal(directions: NDArray[np.float64]) -> bool:
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() < 1e-3)


def _require_whole(array: xr.DataArray, dim: str) -> None:
    if handle_of(array).sizes[dim] != array.sizes[dim]:
        raise DicomError(f"{dim} has no coordinate that tells which part of it is left")


def _step(array: xr.DataArray, dim: str) -> float:
    """Signed distance of neighbours along `dim`."""
    if dim in array.coords:
        values = np.atleast_1d(np.asarray(array.coords[dim].values, np.float64))
        if len(values) > 1:
            steps = np.diff(values)
            mean = float((values[-1] - values[0]) / (len(values) - 1))
            if np.abs(steps - mean).max() > EVEN * abs(mean):
                raise DicomError(
                    f"{dim} is not evenly spaced: {np.abs(steps).min():g} to "
                    f"{np.abs(steps).max():g} mm"
                )
            return mean
    opened = array.attrs.get("affine")
    if opened is None:
        raise DicomError(f"the spacing along {dim} is not known")
    return float(np.linalg.norm(np.asarray(opened, np.float64).reshape(4, 4)[:3, AXES.index(dim)]))
