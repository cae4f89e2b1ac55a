"""Whole-slide images: ``[optical_path] [z] y x [c]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError
from xarray_dicom.layout.attributes import dataset_attributes
from xarray_dicom.layout.concatenation import Whole
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.frameset import FrameSet
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.optical import OpticalPath, optical_paths, path_coordinates, told_apart
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.placement import Placement
from xarray_dicom.layout.tiled import (
    focal_planes,
    frame_of_reference,
    full_placement,
    is_full,
    matrix_geometry,
    matrix_size,
    placed_tiles,
    slide_height,
)
from xarray_dicom.layout.values import COLOUR, ValuesOf, image_values

Heights = NDArray[np.float64]
Int64s = NDArray[np.int64]

#: Heights closer than this, in mm, are one focal plane.
SAME_HEIGHT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """The planes of one file, or of the parts of one.

    Attributes
    ----------
    paths
        Optical paths.
    count, heights
        Number of focal planes, and their heights in mm where known.
    of_frames
        For sparse tiles the path and focal plane of each frame; None where every path is
        stored at every height, paths slowest.
    """

    paths: tuple[OpticalPath, ...]
    count: int
    heights: Heights | None
    of_frames: tuple[Int64s, Int64s] | None


def layout_slide(
    wholes: Sequence[Whole],
    options: LayoutOptions,
    *,
    name: str = "image",
    values: ValuesOf = image_values,
) -> ImageLayout:
    """Present the total pixel matrix of a tiled image.

    Parameters
    ----------
    wholes
        The image; or one for each of its channels or focal planes, all of one size.
    options
        What the user asked for.
    name
        Name of the variable.
    values
        What the pixels stand for.

    Raises
    ------
    CorruptDicomError
        If frames and tiles don't add up, a frame names an unknown optical path, or two
        files have the same plane.
    """
    planes = [_planes(whole) for whole in wholes]
    named = told_apart(path for own in planes for path in own.paths)
    paths = list(named.values())
    count, heights = _focal_planes(planes, wholes)
    opened = [part for whole in wholes for part in whole.parts]
    first = opened[0]
    cells = [
        _cells(own, [paths.index(named[path]) for path in own.paths], count, heights)
        for own in planes
    ]
    placement = _placement(wholes, planes, cells, len(paths) * count)
    geometry = matrix_geometry(first, heights if count > 1 else None)
    pixels = values(opened, options, placement.complete)
    outer = [("optical_path", len(paths))] if len(paths) > 1 else []
    outer += [("z", count)] if count > 1 else []
    coordinates = path_coordinates(paths, dimension=len(paths) > 1) | geometry.coordinates
    colour = first.frames.format.samples > 1
    if colour:
        coordinates["c"] = COLOUR
    frames = FrameArray(
        sources=tuple(one.frames for one in opened),
        outer_shape=tuple(size for _, size in outer),
        plane=matrix_size(first),
        placement=placement,
        transform=pixels.transform,
        fill=pixels.fill,
        memory_budget=options.memory_budget,
        decoder=options.decoder,
    )
    return ImageLayout(
        name=name,
        dims=(*(dim for dim, _ in outer), "y", "x", *(["c"] if colour else [])),
        frames=frames,
        coordinates=coordinates,
        attrs=pixels.attrs,
        dataset_attrs=dataset_attributes([one.dataset for one in opened]),
        coordinate_system=geometry.coordinate_system,
        affine=geometry.affine,
        frame_of_reference=frame_of_reference(first, geometry.orientation),
        linear=pixels.linear,
    )


def _planes(whole: Whole) -> _Planes:
    paths = optical_paths(whole.first)
    if is_full(whole.first):
        count, heights = focal_planes(whole.first, len(paths))
        return _Planes(paths, count, heights, None)
    heights, level = _sparse_heights(whole.frames)
    return _Planes(paths, len(heights), heights, (_sparse_paths(whole.frames, paths), level))


def _sparse_heights(frames: FrameSet) -> tuple[Heights, Int64s]:
    """Distinct heights of sparse tiles in mm, ascending, and which of them each frame has."""
    lowest = slide_height(frames.opened[0])
    offsets = frames.floats("ZOffsetInSlideCoordinateSystem", 1)
    if offsets is None:
        return np.asarray([lowest]), np.zeros(len(frames), np.int64)
    # The file has micrometres; a nanometre is far below any focus step.
    heights, level = np.unique(np.round(offsets[:, 0], 3), return_inverse=True)
    return heights / 1000 + lowest, level.reshape(-1).astype(np.int64)


def _sparse_paths(frames: FrameSet, paths: tuple[OpticalPath, ...]) -> Int64s:
    """The optical path of each sparse tile."""
    column = frames.columns(lambda one: one.column("OpticalPathIdentifier"))
    if column is None or len(paths) == 1:
        return np.zeros(len(frames), np.int64)
    found, which = np.unique(column.values[:, 0], return_inverse=True)
    identifiers = [path.identifier for path in paths]
    names = [value.decode(errors="replace").strip() for value in found.tolist()]
    unknown = sorted(set(names) - set(identifiers))
    if unknown:
        raise CorruptDicomError(
            f"{frames.location}: frames name the Optical Path Identifier {unknown[0]!r} "
            f"(0048,0106), but the Optical Path Sequence has {', '.join(identifiers)}"
        )
    numbers = np.asarray([identifiers.index(name) for name in names], np.int64)
    path: Int64s = numbers[which.reshape(-1)]
    return path


def _focal_planes(planes: Sequence[_Planes], wholes: Sequence[Whole]) -> tuple[int, Heights | None]:
    """Focal planes of all files together."""
    known = [own.heights for own in planes if own.heights is not None]
    if len(known) == len(planes):
        every = np.sort(np.concatenate(known))
        heights = every[np.append(True, np.diff(every) > SAME_HEIGHT)]
        return len(heights), heights
    counts = {own.count for own in planes}
    if len(counts) > 1:
        raise CorruptDicomError(
            f"{wholes[0].first.location}: files of one image have {sorted(counts)} focal planes of "
            "unknown height, which can't be matched"
        )
    return counts.pop(), None


def _cells(own: _Planes, paths: Sequence[int], count: int, heights: Heights | None) -> Int64s:
    """Cell of each plane of a file in the order stored; of each frame, for sparse tiles."""
    if heights is None or own.heights is None:
        levels = np.arange(own.count)
    else:
        levels = np.abs(heights[:, None] - own.heights).argmin(axis=0)
    which = np.asarray(paths, np.int64)
    if own.of_frames is None:
        return (which[:, None] * count + levels).reshape(-1)
    path, level = own.of_frames
    return which[path] * count + levels[level]


def _placement(
    wholes: Sequence[Whole], planes: Sequence[_Planes], cells: Sequence[Int64s], n_cells: int
) -> Placement:
    first = wholes[0].first
    sparse = [own.of_frames is not None for own in planes]
    if all(sparse):
        frames = FrameSet.of([part for whole in wholes for part in whole.parts])
        return placed_tiles(frames, np.concatenate(cells), n_cells)
    if any(sparse):
        raise UnsupportedDicomError(
            f"{first.location}: files of one image are tiled in different ways, TILED_FULL and "
            "sparse (0020,9311)"
        )
    stored = np.concatenate(cells)
    if len(np.unique(stored)) < len(stored):
        raise CorruptDicomError(
            f"{first.location}: two files have the same optical path at the same focal plane"
        )
    number = np.full(n_cells, -1, np.int64)
    number[stored] = np.arange(len(stored))
    return full_placement(wholes, number)
