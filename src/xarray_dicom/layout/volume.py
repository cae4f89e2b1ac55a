"""Frames on planes: series of slices, enhanced multi-frame images, cine, single images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import keyword_for_tag

from xarray_dicom.errors import DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.attributes import dataset_attributes
from xarray_dicom.layout.dimensions import (
    CLASSIC_KEYWORDS,
    FRAME,
    SPATIAL,
    Arrangement,
    arrange,
    dimension_name,
)
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.frameset import FrameSet
from xarray_dicom.layout.image import Coordinate, ImageLayout, texts
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.placement import Placed
from xarray_dicom.layout.planes import PlaneLayout, no_planes, patient_planes, split_by
from xarray_dicom.layout.stack import split_stacks
from xarray_dicom.layout.tiled import frame_of_reference
from xarray_dicom.layout.values import COLOUR, ValuesOf, image_values

#: Units of the values along extra dimensions.
UNITS = {
    "echo_time": "ms",
    "trigger_time": "ms",
    "inversion_time": "ms",
    "repetition_time": "ms",
    "diffusion_b_value": "s/mm2",
    "flip_angle": "deg",
    "kvp": "kV",
}


def split_images(opened: Sequence[Instance]) -> list[FrameSet]:
    """Split frames into images: one size, one spacing, one orientation, one Stack ID each."""
    frames = FrameSet.of(opened)
    n = len(frames)
    sizes = np.repeat(
        [(f.rows, f.columns, f.samples) for f in (one.frames.format for one in frames.opened)],
        [one.frames.n_frames for one in frames.opened],
        axis=0,
    )
    keys: list[NDArray[Any]] = [sizes]
    spacing = frames.floats("PixelSpacing", 2)
    if spacing is not None:
        # Decimal strings of one scanner differ in their last digits.
        keys.append(np.round(spacing, 4))
    orientation = frames.floats("ImageOrientationPatient", 6)
    if orientation is not None:
        stacks = frames.columns(lambda one: one.column("StackID"))
        identifiers = None if stacks is None else stacks.values[:, 0]
        stack = np.zeros(n, np.int64)
        for number, members in enumerate(split_stacks(orientation, identifiers)):
            stack[members] = number
        keys.append(stack)
    groups = split_by(keys)
    return [frames] if len(groups) == 1 else [frames.subset(group) for group in groups]


def layout_frames(
    frames: FrameSet,
    options: LayoutOptions,
    *,
    single: bool = False,
    name: str = "image",
    values: ValuesOf = image_values,
) -> ImageLayout:
    """Present frames that share size and orientation.

    Parameters
    ----------
    frames
        What to present.
    options
        What the user asked for.
    single
        Whether this is one single-frame image, which has no dimension besides its plane.
    name
        Name of the variable.
    values
        What the pixels stand for.
    """
    _warn_of_mosaic(frames)
    planes = patient_planes(frames)
    if planes is None:
        planes = no_planes(frames.opened[0], np.arange(len(frames)), len(frames))
        arrangement = Arrangement(((FRAME, len(frames)),), (), (np.arange(len(frames)),), False)
        warn_without_position(frames)
    else:
        columns = extra_columns(frames) if len(frames) > 1 else {}
        arrangement = arrange(planes.index, columns)
        for warning in arrangement.warnings:
            warnings.warn(f"{frames.location}: {warning}", DicomWarning, stacklevel=2)
    outer = list(arrangement.dims)
    cell = np.zeros(len(frames), np.int64)
    for (_, size), index in zip(arrangement.dims, arrangement.cells, strict=True):
        cell = cell * size + index
    if arrangement.has_planes:
        outer.append(("z", planes.count))
        cell = cell * planes.count + planes.index
    coordinates = _coordinates(arrangement, planes)
    if single and outer and outer[-1][1] == 1 and len(outer) == 1:
        outer = []
        coordinates = {name: _without(c, ("z", FRAME)) for name, c in coordinates.items()}
    first = frames.opened[0]
    pixel_format = first.frames.format
    plane = (pixel_format.rows, pixel_format.columns)
    n_cells = int(np.prod([n for _, n in outer], dtype=np.int64))
    placement = Placed(frames.frames, cell, None, None, n_cells=n_cells, plane=plane, tile=plane)
    pixels = values(frames.opened, options, placement.complete)
    colour = pixel_format.samples > 1
    if colour:
        coordinates["c"] = COLOUR
    array = FrameArray(
        sources=frames.sources,
        outer_shape=tuple(n for _, n in outer),
        plane=plane,
        placement=placement,
        transform=pixels.transform,
        fill=pixels.fill,
        memory_budget=options.memory_budget,
        decoder=options.decoder,
    )
    return ImageLayout(
        name=name,
        dims=(*(dim for dim, _ in outer), "y", "x", *(["c"] if colour else [])),
        frames=array,
        coordinates=coordinates,
        attrs=pixels.attrs,
        dataset_attrs=dataset_attributes([one.dataset for one in frames.opened], first.conversions),
        coordinate_system=planes.coordinate_system,
        affine=planes.affine,
        frame_of_reference=frame_of_reference(first, planes.orientation),
        linear=pixels.linear,
    )


def warn_without_position(frames: FrameSet) -> None:
    """Say that instances of a series can't be sorted, since they have no positions."""
    if len(frames.opened) > 1:
        warnings.warn(
            f"{frames.location}: {len(frames.opened)} instances without Image Position (Patient) "
            "(0020,0032) are kept in the order given, along the dimension frame",
            DicomWarning,
            stacklevel=2,
        )


def _warn_of_mosaic(frames: FrameSet) -> None:
    """Say that an image of many slices side by side, as Siemens scanners write, is left so."""
    mosaics = [one for one in frames.opened if "MOSAIC" in (one.get("ImageType") or ())]
    if mosaics:
        warnings.warn(
            f"{mosaics[0].location}: a Siemens mosaic, whose slices lie side by side in one "
            "plane; it is left as it is, and coordinates hold for none of them",
            DicomWarning,
            stacklevel=2,
        )


def extra_columns(frames: FrameSet) -> dict[str, NDArray[Any]]:
    """What may tell frames at one position apart, by dimension name.

    Enhanced objects say so themselves (PS3.3 C.7.6.17, Dimension Index); classic ones, and
    the files of an enhanced series, have attributes that vary.
    """
    items = list(frames.opened[0].dataset.get("DimensionIndexSequence") or [])
    columns: dict[str, NDArray[Any]] = {}
    for position, item in enumerate(items):
        pointer = item.get("DimensionIndexPointer")
        if pointer is None:
            continue
        attribute: str | int = keyword_for_tag(pointer) or int(pointer)
        if attribute in SPATIAL:
            continue
        group = item.get("FunctionalGroupPointer")
        group = None if group is None else int(group)
        added = _add(
            columns,
            frames,
            attribute,
            lambda one, e=int(pointer), g=group: one.pointed(e, g),
        )
        if not added:
            # A sequence, or a value that isn't there: its ordinal has to do.
            ordinals = frames.columns(lambda one: one.column("DimensionIndexValues"))
            if ordinals is not None and ordinals.values.shape[1] > position:
                columns[dimension_name(attribute)] = ordinals.values[:, position]
    # Channels of a parametric map need not be a dimension of its index (PS3.3 A.75.4).
    _add(columns, frames, "LUTLabel", lambda one: one.per_frame("LUTLabel"))
    if not items or len(frames.opened) > 1:
        for keyword in CLASSIC_KEYWORDS:
            _add(columns, frames, keyword, lambda one, k=keyword: one.column(k))
    return columns


def _add(
    columns: dict[str, NDArray[Any]], frames: FrameSet, attribute: str | int, read: Any
) -> bool:
    column = frames.columns(read)
    name = dimension_name(attribute)
    if column is None or name in columns:
        return column is not None
    values = column.values
    if values.dtype.kind == "S":
        parts = [
            b"\\".join(row).decode("utf-8", "replace").rstrip("\\ ") for row in values.tolist()
        ]
        columns[name] = np.asarray(parts)
    elif values.shape[1] == 1:
        columns[name] = values[:, 0]
    else:
        columns[name] = np.asarray(["\\".join(f"{v:g}" for v in row) for row in values.tolist()])
    return True


def _coordinates(arrangement: Arrangement, planes: PlaneLayout) -> dict[str, Coordinate]:
    coordinates = dict(planes.coordinates)
    if not arrangement.has_planes and "z" in coordinates:
        z = coordinates["z"]
        coordinates["z"] = replace(z, dims=(FRAME,), values=z.values[planes.index])
    for found in arrangement.coords:
        if found.name in coordinates:
            continue
        values: NDArray[Any] = found.values
        if values.dtype.kind in "US":
            values = texts([str(v) for v in values.reshape(-1)]).reshape(values.shape)
        attrs = {"units": UNITS[found.name]} if found.name in UNITS else {}
        coordinates[found.name] = Coordinate(found.dims, values, attrs)
    return coordinates


def _without(coordinate: Coordinate, dims: tuple[str, ...]) -> Coordinate:
    """A coordinate without dimensions of length one."""
    if not set(coordinate.dims) & set(dims):
        return coordinate
    return replace(coordinate, dims=(), values=coordinate.values.reshape(()))
