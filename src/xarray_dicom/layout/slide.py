"""Whole-slide images: ``[optical_path] [z] y x [c]``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.instance import OpenInstance
from xarray_dicom.layout.attributes import dataset_attributes
from xarray_dicom.layout.frames import FrameArray
from xarray_dicom.layout.image import Coordinate, ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.placement import Placement
from xarray_dicom.layout.tiled import (
    focal_planes,
    frame_of_reference,
    is_full,
    matrix_geometry,
    matrix_size,
    optical_paths,
    placed_tiles,
    slide_height,
    tile_grid,
)
from xarray_dicom.layout.values import COLOUR, ValuesOf, image_values

Heights = NDArray[np.float64]


def layout_slide(
    opened: OpenInstance,
    options: LayoutOptions,
    *,
    name: str = "image",
    values: ValuesOf = image_values,
) -> ImageLayout:
    """Present the total pixel matrix of a tiled image.

    Parameters
    ----------
    opened
        The instance.
    options
        What the user asked for.
    name
        Name of the variable.
    values
        What the pixels stand for.

    Raises
    ------
    CorruptDicomError
        If frames and tiles don't add up, or a frame names an unknown optical path.
    """
    paths, coordinates = optical_paths(opened)
    if is_full(opened):
        count, heights = focal_planes(opened, len(paths))
        n_planes = len(paths) * count
        placement: Placement = tile_grid(opened, n_planes, np.arange(n_planes))
    else:
        heights, level = _heights(opened)
        count = 1 if heights is None else len(heights)
        cell = _path_of_frames(opened, paths) * count + level
        placement = placed_tiles(opened, cell, len(paths) * count)
    geometry = matrix_geometry(opened, heights if count > 1 else None)
    pixels = values([opened], options, placement.complete)
    outer = []
    if len(paths) > 1:
        outer.append(("optical_path", len(paths)))
    else:
        coordinates = {key: c for key, c in coordinates.items() if key != "optical_path"}
        coordinates = {key: _scalar(c) for key, c in coordinates.items()}
    if count > 1:
        outer.append(("z", count))
    coordinates |= geometry.coordinates
    colour = opened.instance.format.samples > 1
    if colour:
        coordinates["c"] = COLOUR
    frames = FrameArray(
        instances=(opened.instance,),
        outer_shape=tuple(size for _, size in outer),
        plane=matrix_size(opened),
        placement=placement,
        transform=pixels.transform,
        fill=pixels.fill,
        memory_budget=options.memory_budget,
    )
    return ImageLayout(
        name=name,
        dims=(*(dim for dim, _ in outer), "y", "x", *(["c"] if colour else [])),
        frames=frames,
        coordinates=coordinates,
        attrs=pixels.attrs,
        dataset_attrs=dataset_attributes([opened.dataset]),
        coordinate_system=geometry.coordinate_system,
        affine=geometry.affine,
        frame_of_reference=frame_of_reference(opened, geometry.orientation),
        linear=pixels.linear,
    )


def _scalar(coordinate: Coordinate) -> Coordinate:
    return Coordinate((), np.asarray(coordinate.values[0]), coordinate.attrs)


def _heights(opened: OpenInstance) -> tuple[Heights | None, NDArray[np.int64]]:
    """Distinct heights of sparse tiles in mm, ascending, and which of them each frame has."""
    offsets = opened.floats("ZOffsetInSlideCoordinateSystem", 1)
    if offsets is None:
        return None, np.zeros(opened.instance.n_frames, np.int64)
    # The file has micrometres; a nanometre is far below any focus step.
    heights, level = np.unique(np.round(offsets[:, 0], 3), return_inverse=True)
    if len(heights) == 1:
        return None, level.astype(np.int64)
    return heights / 1000 + slide_height(opened), level.astype(np.int64)


def _path_of_frames(opened: OpenInstance, paths: list[str]) -> NDArray[np.int64]:
    column = opened.column("OpticalPathIdentifier")
    if column is None or len(paths) == 1:
        return np.zeros(opened.instance.n_frames, np.int64)
    found, which = np.unique(column.values[:, 0], return_inverse=True)
    names = [value.decode(errors="replace").strip() for value in found.tolist()]
    unknown = sorted(set(names) - set(paths))
    if unknown:
        raise CorruptDicomError(
            f"{opened.location}: frames name the Optical Path Identifier {unknown[0]!r} "
            f"(0048,0106), but the Optical Path Sequence has {', '.join(paths)}"
        )
    numbers = np.asarray([paths.index(name) for name in names], np.int64)
    path: NDArray[np.int64] = numbers[which.reshape(-1)]
    return path
