"""Frames on planes: series of slices, enhanced multi-frame images, cine, single images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import keyword_for_tag

from xarray_dicom.instance import Instance
from xarray_dicom.layout.assemble import assemble
from xarray_dicom.layout.coordinate import Coordinate, texts
from xarray_dicom.layout.dimension_names import CLASSIC_KEYWORDS, SPATIAL, dimension_name
from xarray_dicom.layout.dimensions import FRAME, Arrangement, arrange
from xarray_dicom.layout.frame_set import FrameSet
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.pixel_values import ValuesOf, image_values
from xarray_dicom.layout.placement import Placed
from xarray_dicom.layout.planes import PlaneLayout, no_planes, patient_planes, split_by
from xarray_dicom.layout.stack import split_stacks
from xarray_dicom.parsing.column_values import Column
from xarray_dicom.warn import warn

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


def split_images(instances: Sequence[Instance]) -> list[FrameSet]:
    """Split frames into images: one size, one spacing, one orientation, one Stack ID each."""
    frames = FrameSet.of(instances)
    n = len(frames)
    formats = [instance.frames.format for instance in frames.instances]
    sizes = np.repeat(
        [(f.rows, f.columns, f.samples) for f in formats],
        [instance.frames.n_frames for instance in frames.instances],
        axis=0,
    )
    keys: list[NDArray[Any]] = [sizes]
    spacing = frames.floats("PixelSpacing", 2)
    if spacing is not None:
        # Decimal strings of one scanner differ in their last digits.
        keys.append(np.round(spacing, 4))
    orientation = frames.floats("ImageOrientationPatient", 6)
    if orientation is not None:
        stacks = frames.columns(lambda instance: instance.column("StackID"))
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
        The frames.
    options
        Options of opening.
    single
        True for one single-frame image, which has no dimensions but those of its plane.
    name
        Name of the variable.
    values
        Chooses how pixel values are made.

    Warns
    -----
    DicomWarning
        If frames can't be arranged along dimensions, or planes are irregular.
    """
    _warn_of_mosaic(frames)
    planes, arrangement = _arranged(frames)
    outer = list(arrangement.dims)
    cell = np.zeros(len(frames), np.int64)
    for (_, size), index in zip(arrangement.dims, arrangement.cells, strict=True):
        cell = cell * size + index
    if arrangement.has_planes:
        outer.append(("z", planes.count))
        cell = cell * planes.count + planes.index
    coordinates = _coordinates(arrangement, planes)
    if single and len(outer) == 1 and outer[0][1] == 1:
        outer = []
        coordinates = {name: _without(c, ("z", FRAME)) for name, c in coordinates.items()}
    pixel_format = frames.instances[0].frames.format
    plane = (pixel_format.rows, pixel_format.columns)
    n_cells = int(np.prod([n for _, n in outer], dtype=np.int64))
    placement = Placed(frames.frames, cell, None, None, n_cells=n_cells, plane=plane, tile=plane)
    return assemble(
        name,
        frames.instances,
        options,
        outer=outer,
        placement=placement,
        coordinates=coordinates,
        geometry=planes.geometry,
        pixels=values(frames.instances, options, placement.complete),
    )


def _arranged(frames: FrameSet) -> tuple[PlaneLayout, Arrangement]:
    """Sort frames into planes, and those of one plane along further dimensions."""
    planes = patient_planes(frames)
    n = len(frames)
    if planes is None:
        planes = no_planes(frames.instances[0], np.arange(n), n)
        arrangement = Arrangement(((FRAME, n),), {}, (np.arange(n),), False)
        _warn_without_position(frames)
    else:
        arrangement = arrange(planes.index, extra_columns(frames) if n > 1 else {})
        for warning in arrangement.warnings:
            warn(warning)
    return planes, arrangement


def _warn_without_position(frames: FrameSet) -> None:
    """Warn that instances of a series can't be sorted, since they have no positions."""
    if len(frames.instances) > 1:
        warn(
            f"{len(frames.instances)} instances without Image Position (Patient) (0020,0032) are "
            "kept in the order given, along the dimension frame",
            tag="ImagePositionPatient",
        )


def _warn_of_mosaic(frames: FrameSet) -> None:
    """Warn that an image of many slices side by side, as Siemens scanners write, is left so."""
    mosaics = [i for i in frames.instances if "MOSAIC" in (i.get("ImageType") or ())]
    if mosaics:
        warn(
            "a Siemens mosaic, whose slices lie side by side in one plane; it is left as it is, "
            "and coordinates hold for none of them",
            location=mosaics[0].location,
        )


def extra_columns(frames: FrameSet) -> dict[str, NDArray[Any]]:
    """Return the attributes that may distinguish frames at one position, by dimension name.

    Enhanced objects name them (PS3.3 C.7.6.17, Dimension Index); classic ones, and the files
    of an enhanced series, have attributes that vary.
    """
    items = frames.instances[0].items("DimensionIndexSequence")
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
        has_values = _add(
            columns,
            frames,
            attribute,
            lambda instance, e=int(pointer), g=group: instance.pointed(e, g),
        )
        if not has_values:
            # A sequence, or a value that is missing: its ordinal stands for it.
            ordinals = frames.columns(lambda instance: instance.column("DimensionIndexValues"))
            if ordinals is not None and ordinals.values.shape[1] > position:
                columns[dimension_name(attribute)] = ordinals.values[:, position]
    # Channels of a parametric map need not be a dimension of its index (PS3.3 A.75.4).
    _add(columns, frames, "LUTLabel", lambda instance: instance.per_frame("LUTLabel"))
    if not items or len(frames.instances) > 1:
        for keyword in CLASSIC_KEYWORDS:
            _add(columns, frames, keyword, lambda instance, k=keyword: instance.column(k))
    return columns


def _add(
    columns: dict[str, NDArray[Any]],
    frames: FrameSet,
    attribute: str | int,
    read: Callable[..., Column | None],
) -> bool:
    """Add the values of an attribute to `columns`, one per frame; return False without values.

    Parameters
    ----------
    columns
        By dimension name; one that is there already stays.
    frames
        The frames.
    attribute
        Keyword or number of the attribute.
    read
        Returns the values of an instance's frames.
    """
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
    """Return the coordinates of planes and of further dimensions."""
    coordinates = dict(planes.geometry.coordinates)
    if not arrangement.has_planes and "z" in coordinates:
        z = coordinates["z"]
        coordinates["z"] = replace(z, dims=(FRAME,), values=z.values[planes.index])
    for name, coordinate in arrangement.coords.items():
        if name in coordinates:
            continue
        values: NDArray[Any] = coordinate.values
        if values.dtype.kind in "US":
            values = texts([str(v) for v in values.reshape(-1)]).reshape(values.shape)
        attrs = {"units": UNITS[name]} if name in UNITS else {}
        coordinates[name] = Coordinate(coordinate.dims, values, attrs)
    return coordinates


def _without(coordinate: Coordinate, dims: tuple[str, ...]) -> Coordinate:
    """Return a coordinate without its dimensions of length one."""
    if not set(coordinate.dims) & set(dims):
        return coordinate
    return replace(coordinate, dims=(), values=coordinate.values.reshape(()))
