"""Affine and spacing of a selection, from its own coordinates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_dicom.accessor.handle import handle_of
from xarray_dicom.dataset import HANDLE, Handle
from xarray_dicom.errors import DicomError

AXES = ("z", "y", "x")

#: Fraction of the mean spacing by which the distance of two neighbours may differ from it.
TOLERANCE = 0.01


def spacing_of(array: xr.DataArray) -> dict[str, float]:
    """Return millimetres between pixel centres along each spatial dimension, by name.

    Raises
    ------
    DicomError
        If the spacing of a dimension is not even, or nothing states it.
    """
    return {dim: abs(_step(array, dim)) for dim in AXES if dim in array.dims}


def affine_of(array: xr.DataArray) -> NDArray[np.float64]:
    """Return the affine from index ``(z, y, x, 1)`` of an array to millimetres.

    Parameters
    ----------
    array
        An image as opened, or selected, reversed or transposed. An axis without a coordinate
        (that of sheared planes) must be whole, and is taken to be in its opened order.

    Returns
    -------
    ndarray
        4 × 4, float64, at pixel centres.

    Raises
    ------
    DicomError
        If the array has no position in a frame of reference, or no regular grid.
    """
    matrix = _opened_affine(array)
    if matrix is None:
        system = array.attrs.get("coordinate_system")
        reason = (
            "only its spacing is known, not its position"
            if system == "image"
            else "its planes lie on no regular grid, or nothing is known of its position"
        )
        raise DicomError(f"{array.name!r} has no affine: {reason}")
    if not array.size:
        raise DicomError(f"{array.name!r} is empty, so it has no affine")
    # Coordinates are projections on these directions; z on the normal, also of sheared planes.
    direction = {dim: matrix[:3, axis] for axis, dim in enumerate(AXES)}
    normal = np.cross(direction["x"], direction["y"])
    direction["z"] = normal * np.sign(normal @ direction["z"])
    result = matrix.copy()
    for axis, dim in enumerate(AXES):
        if dim not in array.coords:
            _require_whole(array, dim)
            continue
        values = np.atleast_1d(np.asarray(array.coords[dim].values, np.float64))
        # The origin moves along the column until its projection is the first coordinate.
        unit = direction[dim] / np.linalg.norm(direction[dim])
        column = matrix[:3, axis] / (matrix[:3, axis] @ unit)
        result[:3, 3] += column * (values[0] - result[:3, 3] @ unit)
        if len(values) > 1:
            result[:3, axis] = column * _step(array, dim)
    return result


def _opened_affine(array: xr.DataArray) -> NDArray[np.float64] | None:
    """Return the affine as opened; None where there is none."""
    opened = array.attrs.get("affine")
    return None if opened is None else np.asarray(opened, np.float64).reshape(4, 4)


def _require_whole(array: xr.DataArray, dim: str) -> None:
    """Raise where a dimension without a coordinate has been cut."""
    handle = array.encoding.get(HANDLE)
    if dim in array.dims:
        whole = handle_of(array).sizes[dim] == array.sizes[dim]
    elif dim == "z" and array.attrs.get("coordinate_system") == "slide":
        whole = not isinstance(handle, Handle) or handle.sizes.get(dim, 1) == 1
    else:
        whole = False
    if not whole:
        raise DicomError(f"{dim} has no coordinate that tells which part of it is left")


def _step(array: xr.DataArray, dim: str) -> float:
    """Return the signed distance of neighbours along a dimension, in millimetres."""
    if dim in array.coords:
        values = np.atleast_1d(np.asarray(array.coords[dim].values, np.float64))
        if len(values) > 1:
            steps = np.diff(values)
            mean = float((values[-1] - values[0]) / (len(values) - 1))
            if mean == 0 or np.abs(steps - mean).max() > TOLERANCE * abs(mean):
                raise DicomError(
                    f"{dim} is not evenly spaced: {np.abs(steps).min():g} to "
                    f"{np.abs(steps).max():g} mm"
                )
            return mean
    else:
        _require_whole(array, dim)
    opened = _opened_affine(array)
    if opened is None:
        raise DicomError(f"the spacing along {dim} is not known")
    return float(np.linalg.norm(opened[:3, AXES.index(dim)]))
