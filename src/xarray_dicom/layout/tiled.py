"""Tiled images: frames that make up a total pixel matrix (PS3.3 C.7.6.17.3, C.8.12.4)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.concatenation import JoinedInstance
from xarray_dicom.layout.frame_set import FrameSet
from xarray_dicom.layout.image_geometry import ImageGeometry, axis, without_position
from xarray_dicom.layout.placement import Placed, Placement, TileGrid
from xarray_dicom.layout.plane_geometry import (
    SLIDE_ORIENTATION,
    SLIDE_Z,
    PlaneGeometry,
    slide_origin,
    usable_spacing,
)
from xarray_dicom.warn import warn

#: VL Whole Slide Microscopy Image Storage.
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"

Int64s = NDArray[np.int64]

#: Pixels of a total pixel matrix along a side, at most: a metre in steps of a quarter of a µm.
LONGEST_SIDE = 2**22

_ORIGIN = "TotalPixelMatrixOriginSequence"

#: Planes that a part of a concatenation may be one frame of.
MOST_PLANES = 10_000


def is_tiled(instance: Instance) -> bool:
    """Return True if the frames of an image are tiles of a total pixel matrix."""
    if instance.get("TotalPixelMatrixRows") and instance.get("TotalPixelMatrixColumns"):
        return True
    # Labels and overviews come without the size of a matrix that is one frame anyway.
    return str(instance.get("SOPClassUID")) == WHOLE_SLIDE and instance.frames.n_frames == 1


def matrix_size(instance: Instance) -> tuple[int, int]:
    """Return the rows and columns of the total pixel matrix.

    Raises
    ------
    CorruptDicomError
        If there are more than `LONGEST_SIDE`.
    """
    pixel_format = instance.frames.format
    rows = int(instance.get("TotalPixelMatrixRows") or pixel_format.rows)
    columns = int(instance.get("TotalPixelMatrixColumns") or pixel_format.columns)
    if max(rows, columns) > LONGEST_SIDE:
        raise CorruptDicomError(
            f"Total Pixel Matrix Rows (0048,0007) and Columns (0048,0006) are {rows} × {columns}, "
            f"but no slide has more than {LONGEST_SIDE} either way",
            location=instance.location,
            tag="TotalPixelMatrixRows",
        )
    return rows, columns


def is_full(instance: Instance) -> bool:
    """Return True if tiles are stored in raster order, and none has a position of its own."""
    organization = instance.get("DimensionOrganizationType")
    if organization:
        return str(organization) == "TILED_FULL"
    return instance.column("RowPositionInTotalImagePixelMatrix") is None


def full_placement(images: Sequence[JoinedInstance], planes: Int64s) -> Placement:
    """Place the tiles of TILED_FULL images, whose planes follow each other.

    Parameters
    ----------
    images
        The images; their planes (optical paths or segments, times focal planes) are counted
        from one to the next.
    planes
        The plane of each cell, -1 for a cell without one.

    Raises
    ------
    CorruptDicomError
        If Number of Frames isn't that of the tiles.
    """
    first = images[0].first
    rows, columns = matrix_size(first)
    pixel_format = first.frames.format
    grid = TileGrid(rows, columns, pixel_format.rows, pixel_format.columns, planes)
    tiles = prod(grid.grid)
    expected = tiles * int((planes >= 0).sum())
    stored = sum(len(image.frames) for image in images)
    if stored == expected:
        return grid
    if stored > expected or all(len(image.parts) == 1 for image in images):
        raise CorruptDicomError(
            f"Number of Frames (0028,0008) is {stored}, but {rows} × {columns} pixels in tiles of "
            f"{grid.tile_rows} × {grid.tile_columns} on {int((planes >= 0).sum())} planes make "
            f"{expected}",
            location=first.location,
            tag="NumberOfFrames",
        )
    numbers = np.concatenate([image.numbers for image in images])
    return _without_missing(grid, numbers, expected)


def _without_missing(grid: TileGrid, numbers: Int64s, expected: int) -> Placed:
    """Place the frames with some numbers, the only ones of `expected` tiles that are stored.

    Parameters
    ----------
    grid
        The tiles as they would be if all were stored.
    numbers
        Number in `grid` of each frame that is stored, in the order stored.
    expected
        Number of tiles of the grid.
    """
    hits = grid.every()
    stored = np.full(expected, -1, np.int64)
    stored[numbers] = np.arange(len(numbers))
    exists = stored[hits.frame] >= 0
    return Placed(
        stored[hits.frame[exists]],
        hits.cell[exists],
        hits.y[exists],
        hits.x[exists],
        n_cells=len(grid.planes),
        plane=(grid.rows, grid.columns),
        tile=(grid.tile_rows, grid.tile_columns),
    )


def placed_tiles(frames: FrameSet, cell: Int64s, n_cells: int) -> Placement:
    """Place tiles that have positions of their own (PS3.3 C.8.12.4.1.1, TILED_SPARSE).

    Parameters
    ----------
    frames
        The tiles.
    cell
        Cell of each tile.
    n_cells
        Number of cells of the array.

    Raises
    ------
    CorruptDicomError
        If tiles have no position, or one far off any slide.
    """
    top = frames.floats("RowPositionInTotalImagePixelMatrix", 1)
    left = frames.floats("ColumnPositionInTotalImagePixelMatrix", 1)
    if top is None or left is None:
        raise CorruptDicomError(
            "its tiles have no Row and Column Position In Total Image Pixel Matrix (0048,021F), "
            "(0048,021E)",
            location=frames.location,
            tag="RowPositionInTotalImagePixelMatrix",
        )
    far = np.flatnonzero((np.abs(np.hstack([top, left])) > 2 * LONGEST_SIDE).any(axis=1))
    if len(far):
        location, frame = frames.locate(int(far[0]))
        raise CorruptDicomError(
            f"lies at row {top[far[0], 0]:.0f} (0048,021F), column {left[far[0], 0]:.0f} "
            "(0048,021E), far off any slide",
            location=location,
            frame=frame,
            tag="RowPositionInTotalImagePixelMatrix",
        )
    first = frames.instances[0]
    return Placed(
        np.arange(len(frames)),
        cell,
        top[:, 0].astype(np.int64) - 1,
        left[:, 0].astype(np.int64) - 1,
        n_cells=n_cells,
        plane=matrix_size(first),
        tile=(first.frames.format.rows, first.frames.format.columns),
    )


def focal_planes(instance: Instance, n_paths: int) -> tuple[int, NDArray[np.float64] | None]:
    """Return the number of focal planes of a TILED_FULL image, and their heights in mm.

    Frames run from the glass to the coverslip; their distance is Spacing Between Slices,
    without which heights are None, with a warning.
    """
    stated = instance.get("TotalPixelMatrixFocalPlanes")
    down, across = tile_grid_shape(instance)
    n_frames = instance.frames.n_frames
    count = int(stated or 0) or max(n_frames // (down * across * n_paths), 1)
    if count * n_paths > max(n_frames, MOST_PLANES):
        raise CorruptDicomError(
            f"Total Pixel Matrix Focal Planes (0048,0303) is {count}, but Number of Frames "
            f"(0028,0008) is {n_frames}",
            location=instance.location,
            tag="TotalPixelMatrixFocalPlanes",
        )
    if count == 1:
        return 1, np.asarray([slide_height(instance)])
    spacing = instance.shared("SpacingBetweenSlices")
    if spacing is None:
        warn(
            f"{count} focal planes without Spacing Between Slices (0018,0088), so z has no "
            "coordinate",
            location=instance.location,
            tag="SpacingBetweenSlices",
        )
        return count, None
    heights = slide_height(instance) + np.arange(count, dtype=np.float64) * float(spacing)
    return count, heights


def tile_grid_shape(instance: Instance) -> tuple[int, int]:
    """Return the number of tiles down and across the total pixel matrix."""
    rows, columns = matrix_size(instance)
    pixel_format = instance.frames.format
    return -(-rows // pixel_format.rows), -(-columns // pixel_format.columns)


def slide_height(instance: Instance) -> float:
    """Return the height of the first focal plane above the glass in mm; the file has µm."""
    height = instance.get("ZOffsetInSlideCoordinateSystem", _ORIGIN)
    return 0.0 if height is None else float(height) / 1000


def matrix_geometry(instance: Instance, heights: NDArray[Any] | None) -> ImageGeometry:
    """Return the geometry of a total pixel matrix on the slide (PS3.3 C.8.12.4.1.1).

    Parameters
    ----------
    instance
        The instance.
    heights
        Heights of its focal planes in mm, where they are a dimension.
    """
    shape = matrix_size(instance)
    spacing = usable_spacing(instance.shared("PixelSpacing")) or _spacing_from_extent(instance)
    if spacing is None:
        return ImageGeometry({})
    orientation = instance.get("ImageOrientationSlide")
    x_offset, y_offset = (
        instance.get(f"{name}OffsetInSlideCoordinateSystem", _ORIGIN) for name in "XY"
    )
    if orientation is None or x_offset is None or y_offset is None:
        return without_position(spacing, shape)
    plane = PlaneGeometry.from_elements(orientation, spacing, keyword=SLIDE_ORIENTATION)
    height = slide_height(instance) if heights is None else float(heights[0])
    first = slide_origin(x_offset, y_offset, height)
    y, x = plane.coordinates(first, shape)
    coordinates = {
        "y": axis("y", y, "position along the columns on the slide"),
        "x": axis("x", x, "position along the rows on the slide"),
    }
    z_step = None
    if heights is not None:
        coordinates["z"] = axis("z", heights, "height above the glass")
        z_step = np.asarray(SLIDE_Z) * float(heights[1] - heights[0])
    return ImageGeometry(coordinates, "slide", plane.affine(first, z_step), plane.orientation)


def _spacing_from_extent(instance: Instance) -> tuple[float, float] | None:
    """Return the spacing of slides that give only the extent imaged (PS3.3 C.8.12.4, mm)."""
    height = instance.get("ImagedVolumeHeight")
    width = instance.get("ImagedVolumeWidth")
    if not height or not width:
        return None
    rows, columns = matrix_size(instance)
    return usable_spacing((height / rows, width / columns))
