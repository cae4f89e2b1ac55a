"""Affine and spacing of an array as it is now, from its own coordinates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_dicom.accessor.handle import handle_of
from xarray_dicom.dataset import HANDLE, Handle
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

    An axis without a coordinate (sheared planes have such) must be whole and in order: what
    selects all of it, reversed, can't be told from the opened one.

    Raises
    ------
    DicomError
        If the array has no position in a frame of reference, or no regular grid.
    """
    matrix = _opened_affine(array)
    if matrix is None:
        system = array.attrs.get("coordinate_system")
        why = (
            "only its spacing is known, not its position"
            if system == "image"
            else "its planes lie on no regular grid, or nothing is known of its position"
        )
        raise DicomError(f"{array.name!r} has no affine: {why}")
    if not array.size:
        raise DicomError(f"{array.name!r} is empty, so it has no affine")
    # What a coordinate projects on: planes may be sheared, but z runs along their normal.
    along = {dim: matrix[:3, axis] for axis, dim in enumerate(AXES)}
    normal = np.cross(along["x"], along["y"])
    along["z"] = normal * np.sign(normal @ along["z"])
    result = matrix.copy()
    for axis, dim in enumerate(AXES):
        if dim not in array.coords:
            _require_whole(array, dim)
            continue
        values = np.atleast_1d(np.asarray(array.coords[dim].values, np.float64))
        # Moves the origin along the column, until its projection is the first coordinate.
        unit = along[dim] / np.linalg.norm(along[dim])
        column = matrix[:3, axis] / (matrix[:3, axis] @ unit)
        result[:3, 3] += column * (values[0] - result[:3, 3] @ unit)
        if len(values) > 1:
            result[:3, axis] = column * _step(array, dim)
    return result


def _opened_affine(array: xr.DataArray) -> NDArray[np.float64] | None:
    """The affine as opened; None where there is none."""
    opened = array.attrs.get("affine")
    return None if opened is None else np.asarray(opened, np.float64).reshape(4, 4)


def _require_whole(array: xr.DataArray, dim: str) -> None:
    """Raise where a dimension without a coordinate is known not to be as it was opened."""
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
    """Signed distance of neighbours along `dim`."""
    if dim in array.coords:
        values = np.atleast_1d(np.asarray(array.coords[dim].values, np.float64))
        if len(values) > 1:
            steps = np.diff(values)
            mean = float((values[-1] - values[0]) / (len(values) - 1))
            if mean == 0 or np.abs(steps - mean).max() > EVEN * abs(mean):
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
