"""Layouts → xarray objects."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray import conventions
from xarray.core import indexing
from xarray.indexes import PandasIndex

from xarray_dicom.frames.source import FrameSource
from xarray_dicom.indexes import frame_of_reference_coordinates, segment_coordinates
from xarray_dicom.layout.image import ImageLayout, Linear
from xarray_dicom.layout.segments import Segment
from xarray_dicom.pixels.transform import value_dtype
from xarray_dicom.reading.array import DicomArray

#: Decoded bytes of one preferred chunk: enough frames to merge their ranges, few enough to
#: keep many tasks in memory.
BLOCK_NBYTES = 16 * 2**20

#: Key of the variable's encoding under which the handle of the opened object travels.
HANDLE = "dicom"


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where the pixels of a variable lie along its spatial axes, as opened.

    Attributes
    ----------
    z
        Coordinate of every plane; empty where planes have none.
    y, x
        Coordinate of the first pixel, and spacing; None where the axis has no coordinate.
    """

    z: tuple[float, ...]
    y: tuple[float, float] | None
    x: tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Handle:
    """What the accessor needs of the object that a variable was opened from.

    It travels in the variable's encoding, so it is small and pickles without the header.

    Attributes
    ----------
    array
        The frames, as opened.
    sizes
        Length of each dimension, as opened.
    grid
        Where the pixels lie.
    linear
        The rescale that CF decoding applied, if any.
    segments
        Descriptions of the segments of a segmentation.
    labels
        Coordinate of each dimension that is not spatial, where it has one.
    """

    array: DicomArray
    sizes: dict[str, int]
    grid: Grid
    linear: Linear | None
    segments: tuple[Segment, ...]
    labels: dict[str, tuple[Any, ...]]

    @property
    def sources(self) -> tuple[FrameSource, ...]:
        """The instances, in the order of the variable's frames."""
        return self.array.frames.sources

    def __deepcopy__(self, memo: dict[int, Any]) -> Handle:
        return self


class LabelVariable(xr.Variable):
    """Labels of pixels, which are in memory and stay there.

    xarray wraps what a backend returns as if it were to be read lazily, and would then split
    labels into dask chunks of their own, which fit those of the pixels by chance.
    """

    __slots__ = ()

    @property
    def data(self) -> Any:
        """The labels."""
        return super().data

    @data.setter
    def data(self, data: Any) -> None:
        if isinstance(data, indexing.ExplicitlyIndexed):
            data = np.asarray(data)
        super(LabelVariable, type(self)).data.fset(self, data)  # type: ignore[attr-defined]


def to_dataset(
    layout: ImageLayout,
    *,
    mask_and_scale: bool | Mapping[str, bool] | None = None,
    decode_options: Mapping[str, Any] | None = None,
    drop_variables: str | Iterable[str] | None = None,
) -> xr.Dataset:
    """One image as a dataset, its pixels lazy.

    Parameters
    ----------
    layout
        What to present.
    mask_and_scale, decode_options, drop_variables
        As in `xarray.open_dataset`.
    """
    array = DicomArray(layout.frames)
    scaled = _for_variable(mask_and_scale, layout.name)
    attrs = {**layout.attrs, **_place(layout)}
    if layout.linear is not None:
        # float32 for both keeps CF decoding in float32; 32-bit integers need float64.
        exact = value_dtype(layout.frames.dtype).type
        attrs["scale_factor"] = exact(layout.linear.slope)
        attrs["add_offset"] = exact(layout.linear.intercept)
    encoding: dict[str, Any] = {
        "preferred_chunks": preferred_chunks(layout),
        "frame_shape": layout.frames.sources[0].format.shape,
        "source": layout.frames.sources[0].location,
        HANDLE: _handle(layout, array, scaled),
    }
    raw = xr.Variable(layout.dims, indexing.LazilyIndexedArray(array), attrs, encoding)
    variables, dataset_attrs, _ = conventions.decode_cf_variables(
        {layout.name: raw},
        layout.dataset_attrs,
        mask_and_scale=scaled,
        drop_variables=drop_variables,
        **(decode_options or {}),
    )
    dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
    variables = {name: variable for name, variable in variables.items() if name not in dropped}
    for variable in variables.values():
        # Left in place, these would make writing quantise to integers again and lose NaN.
        for key in ("scale_factor", "add_offset", "dtype", "_FillValue"):
            variable.encoding.pop(key, None)
    dataset = xr.Dataset(variables, coords=_coordinates(layout, dropped), attrs=dataset_attrs)
    for name in dataset.coords:
        if name not in dataset.xindexes:
            # No constructor keeps the type of a variable.
            dataset.variables[name].__class__ = LabelVariable
    dataset.encoding["source"] = layout.frames.sources[0].location
    return dataset


def _handle(layout: ImageLayout, array: DicomArray, scaled: bool) -> Handle:
    known = layout.coordinates
    z = tuple(np.atleast_1d(known["z"].values).tolist()) if "z" in known else ()
    y, x = (_first_and_step(known[dim].values) if dim in known else None for dim in ("y", "x"))
    linear = layout.linear if scaled else None
    labels = {
        dim: tuple(known[dim].values.tolist())
        for dim in layout.dims
        if dim in known and dim not in ("z", "y", "x")
    }
    if "segment" in layout.dims:
        labels["segment"] = tuple(segment.number for segment in layout.segments)
    return Handle(array, layout.sizes, Grid(z, y, x), linear, layout.segments, labels)


def _first_and_step(values: NDArray[np.float64]) -> tuple[float, float]:
    step = float(values[1] - values[0]) if len(values) > 1 else 1.0
    return float(values[0]), step


def _place(layout: ImageLayout) -> dict[str, Any]:
    """Attributes that say where the pixels are."""
    attrs: dict[str, Any] = {}
    if layout.coordinate_system is not None:
        attrs["coordinate_system"] = layout.coordinate_system
    if layout.affine is not None:
        attrs["affine"] = [float(value) for value in layout.affine.ravel()]
    if layout.frame_of_reference is not None:
        attrs["frame_of_reference_uid"] = layout.frame_of_reference.uid
    return attrs


def _for_variable(option: bool | Mapping[str, bool] | None, name: str) -> bool:
    if isinstance(option, Mapping):
        return bool(option.get(name, True))
    return option is None or bool(option)


def _coordinates(layout: ImageLayout, dropped: set[str]) -> xr.Coordinates:
    variables: dict[Hashable, xr.Variable] = {}
    indexes: dict[Hashable, xr.Index] = {}
    for name, coordinate in layout.coordinates.items():
        if name in dropped:
            continue
        variable = xr.Variable(coordinate.dims, coordinate.values, copy.copy(coordinate.attrs))
        variables[name] = variable
        if coordinate.dims == (name,):
            index = PandasIndex.from_variables({name: variable}, options={})
            variables.update(index.create_variables({name: variable}))
            indexes[name] = index
    for own in _own_indexes(layout, dropped):
        variables.update(own.variables)
        indexes.update(own.xindexes)
    # In one go: to merge coordinates takes longer than to make them.
    return xr.Coordinates(variables, indexes)


def _own_indexes(layout: ImageLayout, dropped: set[str]) -> Iterator[xr.Coordinates]:
    """Coordinates whose indexes are of this package."""
    if "segment" in layout.dims and not {"segment", "segment_label"} & dropped:
        numbers = [segment.number for segment in layout.segments]
        labels = [segment.label for segment in layout.segments]
        yield segment_coordinates(numbers, labels)
    reference = layout.frame_of_reference
    if reference is not None and "frame_of_reference" not in dropped:
        yield frame_of_reference_coordinates(reference.uid, reference.orientation)


def preferred_chunks(layout: ImageLayout) -> dict[str, int]:
    """Whole frames that make about 16 MB decoded, by dimension.

    Tiles grow into squares, frames that are whole planes into runs along the dimension
    before y; all other dimensions are taken one by one.
    """
    frames = layout.frames
    sizes = layout.sizes
    chunks = dict.fromkeys(layout.dims, 1)
    stored = layout.frames.dtype
    value_nbytes = (stored if layout.linear is None else value_dtype(stored)).itemsize
    if frames.samples > 1:
        chunks["c"] = frames.samples
        value_nbytes *= frames.samples
    if frames.tile[0] >= frames.plane[0] and frames.tile[1] >= frames.plane[1]:
        chunks["y"], chunks["x"] = frames.plane
        stack = [dim for dim in layout.dims if dim in ("z", "frame")]
        if stack:
            run = BLOCK_NBYTES // max(prod(frames.plane) * value_nbytes, 1)
            chunks[stack[-1]] = min(max(run, 1), max(sizes[stack[-1]], 1))
        return chunks
    side = (BLOCK_NBYTES / value_nbytes) ** 0.5
    for dim, tile, size in zip(("y", "x"), frames.tile, frames.plane, strict=True):
        chunks[dim] = min(max(int(side // tile), 1) * tile, size)
    return chunks
