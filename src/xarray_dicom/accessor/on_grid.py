"""Padding, cropping and reversing of one image onto the grid of another."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
import xarray as xr

from xarray_dicom.accessor.affine import AXES, affine_of
from xarray_dicom.accessor.handle import image_of
from xarray_dicom.accessor.lazy import PlacedArray, as_slice, lazy_variable, source_positions
from xarray_dicom.dataset import HANDLE, Handle
from xarray_dicom.errors import DicomError
from xarray_dicom.layout.grid_match import AxisMatch, match_grids

Array = TypeVar("Array", bound=xr.Dataset | xr.DataArray)

#: Attributes of the grid, which the result takes from the other image.
GRID_ATTRIBUTES = ("affine", "coordinate_system", "frame_of_reference_uid", "origin_adjusted")


def on_grid_of(obj: Array, other: xr.Dataset | xr.DataArray) -> Array:
    """Pad, crop and reverse an image so that it lies on the grid of another.

    Parameters
    ----------
    obj
        The image to place.
    other
        The image whose grid it is placed on.

    Returns
    -------
    Dataset or DataArray
        As `obj` is, with the shape, coordinates and affine of `other` along z, y and x.

    Raises
    ------
    DicomError
        If the two have different frames of reference, or their grids differ by more than
        1 % of a pixel at a corner; names the difference.
    """
    image, target = image_of(obj), image_of(other)
    _require_one_frame_of_reference(image, target)
    for dim in AXES:
        if (dim in image.dims) != (dim in target.dims):
            flat, deep = (target, image) if dim in image.dims else (image, target)
            raise DicomError(
                f"{flat.name!r} has no dimension {dim}, and {deep.name!r} has one: select one "
                "place there, or keep the dimension by selecting a slice or a list"
            )
    shapes = [[array.sizes.get(dim, 1) for dim in AXES] for array in (target, image)]
    matches = match_grids(affine_of(target), affine_of(image), shapes[0], shapes[1])
    by_dim = dict(zip(AXES, matches, strict=True))
    for dim, match in by_dim.items():
        if dim not in image.dims and match.offset:
            raise DicomError(
                f"{image.name!r} and {target.name!r} are different planes along {dim}: "
                f"{match.offset} pixels apart"
            )
    placed = _place_variable(image, target, by_dim)
    spatial = {dim for dim in AXES if dim in image.dims}
    coords: dict[Any, Any] = {
        name: coordinate
        for name, coordinate in image.coords.items()
        if name not in (*AXES, "frame_of_reference") and not spatial & set(coordinate.dims)
    }
    result = xr.DataArray(placed, name=image.name)
    result = result.assign_coords(_other_coordinates(image, coords))
    result = result.assign_coords(_grid_coordinates(target))
    for key in GRID_ATTRIBUTES:
        result.attrs.pop(key, None)
    result.attrs |= {key: target.attrs[key] for key in GRID_ATTRIBUTES if key in target.attrs}
    if isinstance(obj, xr.Dataset):
        return cast(Array, result.to_dataset().assign_attrs(obj.attrs))
    return cast(Array, result)


def _require_one_frame_of_reference(image: xr.DataArray, target: xr.DataArray) -> None:
    uid, other_uid = (array.attrs.get("frame_of_reference_uid") for array in (image, target))
    if uid != other_uid:
        raise DicomError(
            f"{image.name!r} and {target.name!r} have different frames of reference, {uid} and "
            f"{other_uid}: positions in one mean nothing in the other"
        )


def _other_coordinates(image: xr.DataArray, coords: dict[Any, Any]) -> xr.Coordinates:
    return image.coords.to_dataset().drop_vars([n for n in image.coords if n not in coords]).coords


def _grid_coordinates(target: xr.DataArray) -> xr.Coordinates:
    names = [*AXES, "frame_of_reference"]
    return target.coords.to_dataset().drop_vars([n for n in target.coords if n not in names]).coords


def fill_value_of(image: xr.DataArray) -> Any:
    """Return the value of an image where it has no pixel: 0, NaN or white."""
    handle = image.encoding.get(HANDLE)
    if (
        isinstance(handle, Handle)
        and handle.linear is None
        and not isinstance(handle.array.frames.fill, tuple)
    ):
        return image.dtype.type(handle.array.frames.fill)
    if "c" in image.dims:
        return np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1.0
    return image.dtype.type(0) if image.dtype.kind in "iub" else np.nan


def _place_variable(
    image: xr.DataArray, target: xr.DataArray, matches: dict[str, AxisMatch]
) -> xr.Variable:
    sizes = {dim: target.sizes.get(dim, 1) for dim in AXES}
    fill = fill_value_of(image)
    if image.chunks is None:
        by_axis: tuple[AxisMatch | None, ...] = tuple(matches.get(str(d)) for d in image.dims)
        shape = tuple(sizes.get(str(dim), image.sizes[dim]) for dim in image.dims)
        placed = PlacedArray(image.variable, shape, by_axis, fill)
        return lazy_variable(placed, image.dims, dict(image.attrs))
    return _place_chunks(image.variable, sizes, matches, fill)


def _place_chunks(
    variable: xr.Variable, sizes: dict[str, int], matches: dict[str, AxisMatch], fill: Any
) -> xr.Variable:
    """Pad, crop and reverse a chunked variable, block by block."""
    attrs = variable.attrs
    for dim in (d for d in AXES if d in variable.dims):
        positions = source_positions(np.arange(sizes[dim]), matches[dim])
        inside = np.flatnonzero((positions >= 0) & (positions < variable.sizes[dim]))
        if not len(inside):
            return _filled(variable, sizes, fill)
        before, after = int(inside[0]), sizes[dim] - int(inside[-1]) - 1
        variable = variable.isel({dim: as_slice(positions[inside])})
        if before or after:
            variable = variable.pad({dim: (before, after)}, constant_values=fill)
    # xarray drops the encoding, and so the handle, only where it pads: it goes in either case.
    return xr.Variable(variable.dims, variable.data, attrs)


def _filled(variable: xr.Variable, sizes: dict[str, int], fill: Any) -> xr.Variable:
    """Return chunks of the fill value, for a variable without a pixel on the grid."""
    import dask.array

    shape = [sizes.get(str(dim), size) for dim, size in variable.sizes.items()]
    largest = [max(max(chunks), 1) for chunks in variable.chunks or ()]
    filled = dask.array.full(  # type: ignore[no-untyped-call]
        shape, fill, dtype=variable.dtype, chunks=largest
    )
    return xr.Variable(variable.dims, filled, variable.attrs)
