"""Datasets of layouts: named dimensions, coordinates, attributes and lazy pixels."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from xarray import conventions
from xarray.core import indexing
from xarray.indexes import PandasIndex

from xarray_dicom.frames.source import FrameSource
from xarray_dicom.indexes import FrameOfReferenceIndex, segment_index
from xarray_dicom.layout.image import ImageLayout, Linear
from xarray_dicom.layout.segments import Segment
from xarray_dicom.pixels.transform import value_dtype
from xarray_dicom.reading.array import DicomArray

#: Decoded bytes of one preferred chunk: enough frames to merge their ranges, few enough to
#: keep many tasks in memory.
BLOCK_NBYTES = 16 * 2**20

#: Key of a variable's encoding that holds the handle of the object it was opened from.
HANDLE = "dicom"

Variables = dict[Hashable, xr.Variable]
Indexes = dict[Hashable, xr.Index]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedGrid:
    """Coordinates of a variable along its spatial axes, as opened, in millimetres.

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
    """Object that a variable was opened from, as far as the accessor needs it.

    It lies in the variable's encoding, so it is small and pickles without the header.

    Attributes
    ----------
    array
        The frames, as opened.
    sizes
        Length of each dimension, as opened.
    grid
        Coordinates along z, y and x.
    linear
        The rescale that CF decoding applied, if any.
    segments
        Descriptions of the segments of a segmentation.
    labels
        Coordinate of each dimension that is not spatial, where it has one.
    """

    array: DicomArray
    sizes: dict[str, int]
    grid: OpenedGrid
    linear: Linear | None
    segments: tuple[Segment, ...]
    labels: dict[str, tuple[Any, ...]]

    @property
    def sources(self) -> tuple[FrameSource, ...]:
        """Frame sources of the instances, in the order in which frames are numbered."""
        return self.array.frames.sources

    @property
    def location(self) -> str:
        """Location of the first instance, fit to be shown."""
        return self.sources[0].location

    def __deepcopy__(self, memo: dict[int, Any]) -> Handle:
        return self


class LabelVariable(xr.Variable):
    """Coordinate without an index, which is in memory and stays there.

    `xarray.open_dataset` wraps every variable that has no index for reading it lazily, by
    assigning to `data`. A coordinate would then show no value in a repr, and with ``chunks=`` be
    split into dask chunks that differ from those of the pixels, or, with ``chunks="auto"``, fail
    where it holds texts.
    """

    __slots__ = ()

    def to_base_variable(self) -> LabelVariable:
        """Return a copy, of this class: `xarray.Coordinates` makes base variables of labels."""
        return self.copy(deep=False)

    @property
    def data(self) -> Any:
        """Values of the coordinate."""
        return super().data

    @data.setter
    def data(self, data: Any) -> None:
        if isinstance(data, indexing.ExplicitlyIndexed):
            # The same values, which xarray need not search for dates, 0.08 ms.
            self._data = np.asarray(data)
        else:
            super(LabelVariable, type(self)).data.fset(self, data)  # type: ignore[attr-defined]


def to_dataset(
    layout: ImageLayout,
    *,
    mask_and_scale: bool | Mapping[str, bool] | None = None,
    decode_options: Mapping[str, Any] | None = None,
    drop_variables: str | Iterable[str] | None = None,
) -> xr.Dataset:
    """Present one image as a dataset whose pixels are lazy.

    Parameters
    ----------
    layout
        Frames of the image, its dimensions and coordinates.
    mask_and_scale
        As in `xarray.open_dataset`: one value, or one for each variable by name.
    decode_options
        Further keywords of xarray's CF decoding.
    drop_variables
        Names of variables and coordinates to leave out.

    Returns
    -------
    Dataset
        One variable with the handle of its object in its encoding, and its coordinates.
    """
    scaled = _for_variable(mask_and_scale, layout.name)
    variables, dataset_attrs, _ = conventions.decode_cf_variables(
        {layout.name: _encoded_variable(layout, scaled)},
        layout.dataset_attrs,
        mask_and_scale=scaled,
        drop_variables=drop_variables,
        **(decode_options or {}),
    )
    dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
    variables = {name: variable for name, variable in variables.items() if name not in dropped}
    for variable in variables.values():
        # With these in the encoding, writing would quantise to integers again and lose NaN.
        for key in ("scale_factor", "add_offset", "dtype", "_FillValue"):
            variable.encoding.pop(key, None)
    coordinates, indexes = _coordinates(layout, dropped)
    # The pixels are a coordinate at first: `xarray.Dataset` would compare and align all variables
    # with each other, 0.3 ms, though they are of one array.
    dataset = xr.Coordinates({**variables, **coordinates}, indexes).to_dataset()
    dataset = dataset.reset_coords(list(variables))
    dataset.attrs = dataset_attrs
    dataset.encoding["source"] = layout.frames.sources[0].location
    return dataset


def _encoded_variable(layout: ImageLayout, scaled: bool) -> xr.Variable:
    """Return the pixels before CF decoding, whose scale and offset are attributes.

    Parameters
    ----------
    layout
        The image.
    scaled
        True if CF decoding will apply them.
    """
    array = DicomArray(layout.frames)
    attrs = {**layout.attrs, **_position_attributes(layout)}
    if layout.linear is not None:
        # Both in the type of the result, which CF decoding takes from them: float32, or float64
        # for 32-bit integers.
        float_type = value_dtype(layout.frames.dtype).type
        attrs["scale_factor"] = float_type(layout.linear.slope)
        attrs["add_offset"] = float_type(layout.linear.intercept)
    encoding: dict[str, Any] = {
        "preferred_chunks": preferred_chunks(layout),
        "frame_shape": layout.frames.sources[0].format.shape,
        "source": layout.frames.sources[0].location,
        HANDLE: _handle(layout, array, scaled),
    }
    return xr.Variable(layout.dims, indexing.LazilyIndexedArray(array), attrs, encoding)


def _handle(layout: ImageLayout, array: DicomArray, scaled: bool) -> Handle:
    coordinates = layout.coordinates
    z = tuple(np.atleast_1d(coordinates["z"].values).tolist()) if "z" in coordinates else ()
    y, x = (
        _first_and_step(coordinates[dim].values) if dim in coordinates else None
        for dim in ("y", "x")
    )
    linear = layout.linear if scaled else None
    labels = {
        dim: tuple(coordinates[dim].values.tolist())
        for dim in layout.dims
        if dim in coordinates and dim not in ("z", "y", "x")
    }
    if "segment" in layout.dims:
        labels["segment"] = tuple(segment.number for segment in layout.segments)
    return Handle(array, layout.sizes, OpenedGrid(z, y, x), linear, layout.segments, labels)


def _first_and_step(values: NDArray[np.float64]) -> tuple[float, float]:
    step = float(values[1] - values[0]) if len(values) > 1 else 1.0
    return float(values[0]), step


def _position_attributes(layout: ImageLayout) -> dict[str, Any]:
    """Return the attributes that locate the pixels in a frame of reference."""
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


def _coordinates(layout: ImageLayout, dropped: set[str]) -> tuple[Variables, Indexes]:
    """Return the coordinates, those without an index first, and the indexes."""
    labels: Variables = {}
    variables: Variables = {}
    indexes: Indexes = {}
    for name, coordinate in layout.coordinates.items():
        if name in dropped:
            continue
        attrs = dict(coordinate.attrs)
        if coordinate.dims != (name,):
            # With fastpath xarray does not search texts for dates, 0.05 ms an array.
            labels[name] = LabelVariable(coordinate.dims, coordinate.values, attrs, fastpath=True)
            continue
        index = _dimension_index(name, coordinate.values)
        variables |= index.create_variables()
        variables[name].attrs = attrs
        indexes[name] = index
    for own in _own_indexes(layout, dropped):
        created = own.create_variables()
        variables.update(created)
        indexes.update(dict.fromkeys(created, own))
    return labels | variables, indexes


def _dimension_index(name: str, values: NDArray[Any]) -> PandasIndex:
    """Return the index of a dimension by its values; texts that are objects stay objects."""
    index = pd.Index(values, dtype=values.dtype if values.dtype == object else None, name=name)
    # With fastpath xarray does not search texts for dates, 0.04 ms for those of ``c``.
    return PandasIndex(index, name, values.dtype, fastpath=True)


def _own_indexes(layout: ImageLayout, dropped: set[str]) -> Iterator[xr.Index]:
    """Yield the indexes that are of this package."""
    if "segment" in layout.dims and not {"segment", "segment_label"} & dropped:
        numbers = [segment.number for segment in layout.segments]
        labels = [segment.label for segment in layout.segments]
        yield segment_index(numbers, labels)
    reference = layout.frame_of_reference
    if reference is not None and "frame_of_reference" not in dropped:
        yield FrameOfReferenceIndex(reference.uid, reference.orientation)


def preferred_chunks(layout: ImageLayout) -> dict[str, int]:
    """Return the chunk size along each dimension: whole frames, about 16 MB decoded.

    Chunks of tiled images are squares of tiles, those of stacks runs of planes; along every
    other dimension a chunk has one position.
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
