"""What an accessor acts on: the image variable of a dataset or array, and its handle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xarray_dicom.accessor.lazy import as_slice
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


def dressed(variable: xr.Variable, name: Any, coords: xr.Coordinates) -> xr.DataArray:
    """`variable` with coordinates and their indexes, still lazy."""
    result = xr.DataArray(variable, name=name).assign_coords(coords)
    result.encoding = dict(variable.encoding)
    return result


def same_part(lazy: xr.Variable, array: xr.DataArray, handle: Handle) -> xr.Variable:
    """What `array` has of an opened variable, with its chunks and its order of dimensions.

    Parameters
    ----------
    lazy
        A variable of the opened dataset, or one like it; its dimensions are among those.
    array
        What was selected, in whatever way that kept the coordinates.
    handle
        Of `array`.

    Raises
    ------
    DicomError
        If the coordinates of `array` don't tell what it has.
    """
    dims = [str(dim) for dim in lazy.dims]
    part = lazy.isel({dim: positions(array, handle, dim) for dim in dims})
    if array.chunks is not None:
        chunks = {dim: size for dim, size in array.variable.chunksizes.items() if dim in part.dims}
        part = part.chunk(chunks)
    return part.transpose(*(dim for dim in array.dims if dim in part.dims))


def positions(array: xr.DataArray, handle: Handle, dim: str) -> slice | NDArray[np.int64] | int:
    """Which indices along `dim` of the opened array `array` has, told by its coordinates.

    Raises
    ------
    DicomError
        If the axis was cut and has no coordinate, or one that isn't the opened array's.
    """
    size = handle.sizes[dim]
    if dim not in array.coords:
        if array.sizes.get(dim) == size:
            return slice(None)
        raise DicomError(f"{dim} has no coordinate that tells which part of it is left")
    asked = np.asarray(array.coords[dim].values)
    found = (_by_place if dim in ("z", "y", "x") else _by_label)(handle, dim, np.atleast_1d(asked))
    if asked.ndim == 0:
        return int(found[0])
    return as_slice(found)


def _by_place(handle: Handle, dim: str, asked: NDArray[Any]) -> NDArray[np.int64]:
    """Indices of millimetres along a spatial axis."""
    places = asked.astype(np.float64)
    if dim == "z":
        known = np.asarray(handle.grid.z)
        if not len(known):
            raise DicomError("z has no coordinate in the opened dataset")
        found = pd.Index(known).get_indexer(places, method="nearest").astype(np.int64)
        exact = known[found]
        step = float(np.abs(np.diff(known)).min()) if len(known) > 1 else 1.0
    else:
        axis = handle.grid.y if dim == "y" else handle.grid.x
        if axis is None:
            raise DicomError(f"{dim} has no coordinate in the opened dataset")
        first, step = axis
        found = np.rint((places - first) / step).astype(np.int64)
        exact = np.asarray(first + found * step)
    off = np.abs(exact - places) > abs(step) / 100
    if off.any() or (found < 0).any() or (found >= handle.sizes[dim]).any():
        raise DicomError(f"{dim} has coordinates that are not those of the opened dataset")
    return np.asarray(found, np.int64)


def _by_label(handle: Handle, dim: str, asked: NDArray[Any]) -> NDArray[np.int64]:
    """Indices of labels along any other axis."""
    known = {label: index for index, label in enumerate(handle.labels.get(dim, ()))}
    if len(known) < handle.sizes[dim]:
        raise DicomError(f"{dim} has no labels, or equal ones, in the opened dataset")
    labels = asked.tolist()
    if not known.keys() >= set(labels):
        raise DicomError(f"{dim} has labels that are not those of the opened dataset")
    return np.asarray([known[label] for label in labels], np.int64)
