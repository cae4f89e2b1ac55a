"""What an accessor acts on: the image variable of a dataset or array, and its handle."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_dicom.dataset import HANDLE, Handle
from xarray_dicom.errors import DicomError

NAMES = ("image", "segmentation", "parametric_map")


def image_of(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """The image variable of `obj`.

    Raises
    ------
    DicomError
        If a dataset has none.
    """
    if isinstance(obj, xr.DataArray):
        return obj
    held = [name for name, variable in obj.data_vars.items() if HANDLE in variable.encoding]
    held = held or [name for name in NAMES if name in obj.data_vars]
    if not held:
        raise DicomError(
            "this dataset has no variable image, segmentation or parametric_map: ask the dataset "
            "that the engine opened"
        )
    return obj[held[0]]


def handle_of(array: xr.DataArray) -> Handle:
    """The handle of the object that `array` was opened from.

    Raises
    ------
    DicomError
        If an operation dropped it, or made an array that it can't describe.
    """
    handle = array.encoding.get(HANDLE)
    if not isinstance(handle, Handle):
        raise DicomError(
            f"{array.name!r} no longer knows the object it was opened from (arithmetic and the "
            "like drop it): ask the opened dataset"
        )
    strange = [
        f"{dim} {size}" for dim, size in array.sizes.items() if size > handle.sizes.get(str(dim), 0)
    ]
    if strange:
        raise DicomError(
            f"{array.name!r} has another shape than the object it was opened from "
            f"({', '.join(strange)}): ask the opened dataset"
        )
    return handle


def positions(array: xr.DataArray, handle: Handle, dim: str) -> slice | NDArray[np.int64] | int:
    """Which indices along `dim` of the opened array `array` has, told by its coordinates.

    Raises
    ------
    DicomError
        If the axis was cut and has no coordinate, or one that isn't the opened array's.
    """
    size = handle.sizes[dim]
    grid = handle.grid
    if dim not in array.coords:
        if array.sizes.get(dim) == size:
            return slice(None)
        raise DicomError(f"{dim} has no coordinate that tells which part of it is left")
    asked = np.asarray(array.coords[dim].values, np.float64)
    if dim == "z":
        known = np.asarray(grid.z)
        if not len(known):
            raise DicomError("z has no coordinate in the opened dataset")
        found = np.abs(known[:, None] - np.atleast_1d(asked)).argmin(axis=0)
        exact = known[found]
        step = float(np.diff(known).min()) if len(known) > 1 else 1.0
    else:
        axis = grid.y if dim == "y" else grid.x
        if axis is None:
            raise DicomError(f"{dim} has no coordinate in the opened dataset")
        first, step = axis
        found = np.rint((np.atleast_1d(asked) - first) / step).astype(np.int64)
        exact = first + found * step
    off = np.abs(exact - asked) > abs(step) / 100
    if off.any() or (found < 0).any() or (found >= size).any():
        raise DicomError(f"{dim} has coordinates that are not those of the opened dataset")
    if asked.ndim == 0:
        return int(found[0])
    return _as_slice(found)


def _as_slice(found: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """An arithmetic progression as a slice, which stays lazy and cheap."""
    if len(found) == 0:
        return slice(0, 0)
    steps = np.diff(found)
    step = int(steps[0]) if len(steps) else 1
    if step == 0 or (steps != step).any():
        return found
    stop = int(found[-1]) + (1 if step > 0 else -1)
    return slice(int(found[0]), stop if stop >= 0 else None, step)
