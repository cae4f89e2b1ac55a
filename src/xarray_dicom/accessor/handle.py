"""Image variable that an accessor acts on, and the handle of its object."""

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

#: Fraction of the spacing by which a coordinate may differ from the opened one.
TOLERANCE = 0.01


def image_of(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the image variable of a dataset; an array is one itself.

    Raises
    ------
    DicomError
        If a dataset has none.
    """
    if isinstance(obj, xr.DataArray):
        return obj
    names = [name for name, variable in obj.data_vars.items() if HANDLE in variable.encoding]
    names = names or [name for name in NAMES if name in obj.data_vars]
    if not names:
        raise DicomError(
            "this dataset has no variable image, segmentation or parametric_map: ask the dataset "
            "that the engine opened"
        )
    return obj[names[0]]


def handle_of(array: xr.DataArray) -> Handle:
    """Return the handle of the object that an array was opened from.

    Raises
    ------
    DicomError
        If an operation dropped it, or made an array that it does not describe.
    """
    handle = array.encoding.get(HANDLE)
    if not isinstance(handle, Handle):
        raise DicomError(
            f"{array.name!r} no longer knows the object it was opened from (arithmetic and the "
            "like drop it): ask the opened dataset"
        )
    grown = [
        f"{dim} {size}" for dim, size in array.sizes.items() if size > handle.sizes.get(str(dim), 0)
    ]
    if grown:
        raise DicomError(
            f"{array.name!r} has another shape than the object it was opened from "
            f"({', '.join(grown)}): ask the opened dataset"
        )
    return handle


def with_coordinates(variable: xr.Variable, name: Any, coords: xr.Coordinates) -> xr.DataArray:
    """Return an array of a variable, still lazy, with coordinates and their indexes.

    Parameters
    ----------
    variable
        Values, with the encoding of the result.
    name
        Name of the result.
    coords
        Coordinates whose dimensions `variable` has.
    """
    result = xr.DataArray(variable, name=name).assign_coords(coords)
    result.encoding = dict(variable.encoding)
    return result


def select_like(opened: xr.Variable, array: xr.DataArray, handle: Handle) -> xr.Variable:
    """Select from an opened variable the part that an array has.

    Parameters
    ----------
    opened
        A variable as opened, or one whose dimensions are among those.
    array
        A selection that has its coordinates.
    handle
        Handle of `array`.

    Returns
    -------
    Variable
        Lazy or chunked as `array`, with its order of dimensions.

    Raises
    ------
    DicomError
        If the coordinates of `array` do not say which part it has.
    """
    dims = [str(dim) for dim in opened.dims]
    part = opened.isel({dim: opened_positions(array, handle, dim) for dim in dims})
    if array.chunks is not None:
        chunks = {dim: size for dim, size in array.variable.chunksizes.items() if dim in part.dims}
        part = part.chunk(chunks)
    return part.transpose(*(dim for dim in array.dims if dim in part.dims))


def opened_positions(
    array: xr.DataArray, handle: Handle, dim: str
) -> slice | NDArray[np.int64] | int:
    """Return the indices along a dimension of the opened array that an array has.

    Parameters
    ----------
    array
        A selection with its coordinates.
    handle
        Handle of `array`.
    dim
        Name of a dimension of the opened array.

    Returns
    -------
    slice, array of int or int
        An int where the dimension was selected away.

    Raises
    ------
    DicomError
        If the axis was cut and has no coordinate, or another one than when it was opened.
    """
    size = handle.sizes[dim]
    if dim not in array.coords:
        if array.sizes.get(dim) == size:
            return slice(None)
        raise DicomError(f"{dim} has no coordinate that tells which part of it is left")
    labels = np.asarray(array.coords[dim].values)
    find = _indices_by_position if dim in ("z", "y", "x") else _indices_by_label
    indices = find(handle, dim, np.atleast_1d(labels))
    if labels.ndim == 0:
        return int(indices[0])
    return as_slice(indices)


def _indices_by_position(handle: Handle, dim: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return the indices of millimetres along a spatial axis."""
    positions = labels.astype(np.float64)
    if dim == "z":
        planes = np.asarray(handle.grid.z)
        if not len(planes):
            raise DicomError("z has no coordinate in the opened dataset")
        index = pd.Index(planes).get_indexer(positions, method="nearest").astype(np.int64)
        opened = planes[index]
        step = float(np.abs(np.diff(planes)).min()) if len(planes) > 1 else 1.0
    else:
        axis = handle.grid.y if dim == "y" else handle.grid.x
        if axis is None:
            raise DicomError(f"{dim} has no coordinate in the opened dataset")
        first, step = axis
        index = np.rint((positions - first) / step).astype(np.int64)
        opened = np.asarray(first + index * step)
    differs = np.abs(opened - positions) > abs(step) * TOLERANCE
    if differs.any() or (index < 0).any() or (index >= handle.sizes[dim]).any():
        raise DicomError(f"{dim} has coordinates that are not those of the opened dataset")
    return np.asarray(index, np.int64)


def _indices_by_label(handle: Handle, dim: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return the indices of labels along any other axis."""
    index = {label: position for position, label in enumerate(handle.labels.get(dim, ()))}
    if len(index) < handle.sizes[dim]:
        raise DicomError(f"{dim} has no labels, or equal ones, in the opened dataset")
    selected = labels.tolist()
    if not index.keys() >= set(selected):
        raise DicomError(f"{dim} has labels that are not those of the opened dataset")
    return np.asarray([index[label] for label in selected], np.int64)
