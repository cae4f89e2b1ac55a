"""Whole-slide images: ``[optical_path] [z] y x [c]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError
from xarray_dicom.layout.assemble import assemble
from xarray_dicom.layout.concatenation import JoinedInstance
from xarray_dicom.layout.frame_set import FrameSet
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.optical import (
    OpticalPath,
    distinct_identifiers,
    optical_paths,
    path_coordinates,
)
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.pixel_values import ValuesOf, image_values
from xarray_dicom.layout.placement import Placement
from xarray_dicom.layout.tiled import (
    focal_planes,
    full_placement,
    is_full,
    matrix_geometry,
    placed_tiles,
    slide_height,
)

Heights = NDArray[np.float64]
Int64s = NDArray[np.int64]

#: Heights closer than this, in mm, are one focal plane.
SAME_HEIGHT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """The planes of one file, or of the parts of a concatenation.

    Attributes
    ----------
    paths
        Optical paths.
    count, heights
        Number of focal planes, and their heights in mm, None where they are not given.
    of_frames
        For sparse tiles the path and focal plane of each frame; None where every path is
        stored at every height, paths slowest.
    """

    paths: tuple[OpticalPath, ...]
    count: int
    heights: Heights | None
    of_frames: tuple[Int64s, Int64s] | None


def layout_slide(
    images: Sequence[JoinedInstance],
    options: LayoutOptions,
    *,
    name: str = "image",
    values: ValuesOf = image_values,
) -> ImageLayout:
    """Present the total pixel matrix of a tiled image.

    Parameters
    ----------
    images
        The image; or one for each of its channels or focal planes, all of one size.
    options
        Options of opening.
    name
        Name of the variable.
    values
        Chooses how pixel values are made.

    Raises
    ------
    CorruptDicomError
        If frames and tiles don't add up, a frame names an optical path that is not described,
        or two files have the same plane.
    UnsupportedDicomError
        If some files are TILED_FULL and others sparse.
    """
    planes = [_planes(image) for image in images]
    named = distinct_identifiers(path for own in planes for path in own.paths)
    paths = list(named.values())
    count, heights = _focal_planes(planes)
    cells = [
        _cells(own, [paths.index(named[path]) for path in own.paths], count, heights)
        for own in planes
    ]
    placement = _placement(images, planes, cells, len(paths) * count)
    geometry = matrix_geometry(images[0].first, heights if count > 1 else None)
    instances = [part for image in images for part in image.parts]
    outer = [("optical_path", len(paths))] if len(paths) > 1 else []
    outer += [("z", count)] if count > 1 else []
    return assemble(
        name,
        instances,
        options,
        outer=outer,
        placement=placement,
        coordinates=path_coordinates(paths, dimension=len(paths) > 1) | geometry.coordinates,
        geometry=geometry,
        pixels=values(instances, options, placement.complete),
    )


def _planes(image: JoinedInstance) -> _Planes:
    paths = optical_paths(image.first)
    if is_full(image.first):
        count, heights = focal_planes(image.first, len(paths))
        return _Planes(paths, count, heights, None)
    heights, level = _sparse_heights(image.frames)
    return _Planes(paths, len(heights), heights, (_sparse_paths(image.frames, paths), level))


def _sparse_heights(frames: FrameSet) -> tuple[Heights, Int64s]:
    """Return the heights of sparse tiles in mm, distinct and ascending, and each tile's index."""
    lowest = slide_height(frames.instances[0])
    offsets = frames.floats("ZOffsetInSlideCoordinateSystem", 1)
    if offsets is None:
        return np.asarray([lowest]), np.zeros(len(frames), np.int64)
    # Z Offset is in micrometres; a nanometre is far below any focus step.
    heights, level = np.unique(np.round(offsets[:, 0], 3), return_inverse=True)
    return heights / 1000 + lowest, level.reshape(-1).astype(np.int64)


def _sparse_paths(frames: FrameSet, paths: tuple[OpticalPath, ...]) -> Int64s:
    """Return the position in `paths` of each sparse tile's optical path."""
    column = frames.columns(lambda instance: instance.column("OpticalPathIdentifier"))
    if column is None or len(paths) == 1:
        return np.zeros(len(frames), np.int64)
    distinct, which = np.unique(column.values[:, 0], return_inverse=True)
    identifiers = [path.identifier for path in paths]
    names = [value.decode(errors="replace").strip() for value in distinct.tolist()]
    unknown = sorted(set(names) - set(identifiers))
    if unknown:
        raise CorruptDicomError(
            f"frames name the Optical Path Identifier {unknown[0]!r} (0048,0106), but the "
            f"Optical Path Sequence has {', '.join(identifiers)}",
            location=frames.location,
            tag="OpticalPathIdentifier",
        )
    numbers = np.asarray([identifiers.index(name) for name in names], np.int64)
    path: Int64s = numbers[which.reshape(-1)]
    return path


def _focal_planes(planes: Sequence[_Planes]) -> tuple[int, Heights | None]:
    """Return the number of focal planes of all files together, and their heights in mm."""
    heights_of_files = [own.heights for own in planes if own.heights is not None]
    if len(heights_of_files) == len(planes):
        ascending = np.sort(np.concatenate(heights_of_files))
        heights = ascending[np.append(True, np.diff(ascending) > SAME_HEIGHT)]
        return len(heights), heights
    counts = {own.count for own in planes}
    if len(counts) > 1:
        raise CorruptDicomError(
            f"files of one image have {sorted(counts)} focal planes of unknown height, which "
            "can't be matched"
        )
    return counts.pop(), None


def _cells(own: _Planes, paths: Sequence[int], count: int, heights: Heights | None) -> Int64s:
    """Return the cell of each plane of a file in the order stored; for sparse tiles, of each tile.

    Parameters
    ----------
    own
        The planes of the file.
    paths
        Position of each of its optical paths among those of all files.
    count, heights
        Number and heights of the focal planes of all files.
    """
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
    images: Sequence[JoinedInstance],
    planes: Sequence[_Planes],
    cells: Sequence[Int64s],
    n_cells: int,
) -> Placement:
    """Place the tiles of all files.

    Parameters
    ----------
    images, planes, cells
        The files, and the planes of each and their cells.
    n_cells
        Number of cells of the array.
    """
    sparse = [own.of_frames is not None for own in planes]
    if all(sparse):
        frames = FrameSet.of([part for image in images for part in image.parts])
        return placed_tiles(frames, np.concatenate(cells), n_cells)
    if any(sparse):
        raise UnsupportedDicomError(
            "files of one image are tiled in different ways, TILED_FULL and sparse (0020,9311)",
            tag="DimensionOrganizationType",
        )
    stored = np.concatenate(cells)
    if len(np.unique(stored)) < len(stored):
        raise CorruptDicomError("two files have the same optical path at the same focal plane")
    number = np.full(n_cells, -1, np.int64)
    number[stored] = np.arange(len(stored))
    return full_placement(images, number)
