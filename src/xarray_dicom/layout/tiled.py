"""Tiled images: frames that make up a total pixel matrix (PS3.3 C.7.6.17.3, C.8.12.4)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.concatenation import Whole
from xarray_dicom.layout.frameset import FrameSet
from xarray_dicom.layout.geometry import (
    SLIDE_ORIENTATION,
    SLIDE_Z,
    PlaneGeometry,
    image_coordinates,
    known_spacing,
    slide_origin,
)
from xarray_dicom.layout.image import Affine, Coordinate, FrameOfReference
from xarray_dicom.layout.placement import Placed, Placement, TileGrid

MM = {"units": "mm"}

#: VL Whole Slide Microscopy Image Storage.
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"

Int64s = NDArray[np.int64]

#: Pixels of a total pixel matrix along a side, at most: a metre in steps of a quarter of a µm.
LONGEST_SIDE = 2**22

#: Planes that a part of a concatenation may be one frame of.
MOST_PLANES = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class MatrixGeometry:
    """Where a total pixel matrix lies.

    Attributes
    ----------
    coordinates
        Of y and x, and of z for focal planes, where they are known.
    coordinate_system
        ``slide`` with a position, ``image`` with spacing alone, None with neither.
    affine, orientation
        None without a position.
    """

    coordinates: dict[str, Coordinate]
    coordinate_system: str | None
    affine: Affine | None
    orientation: tuple[float, ...] | None


def is_tiled(opened: Instance) -> bool:
    """Whether the frames of an image are tiles of a total pixel matrix."""
    if opened.get("TotalPixelMatrixRows") and opened.get("TotalPixelMatrixColumns"):
        return True
    # Labels and overviews come without the size of a matrix that is one frame anyway.
    return str(opened.get("SOPClassUID")) == WHOLE_SLIDE and opened.frames.n_frames == 1


def matrix_size(opened: Instance) -> tuple[int, int]:
    """Rows and columns of the total pixel matrix.

    Raises
    ------
    CorruptDicomError
        If there are more than `LONGEST_SIDE`.
    """
    dataset, pixel_format = opened.dataset, opened.frames.format
    rows = int(dataset.get("TotalPixelMatrixRows") or pixel_format.rows)
    columns = int(dataset.get("TotalPixelMatrixColumns") or pixel_format.columns)
    if max(rows, columns) > LONGEST_SIDE:
        raise CorruptDicomError(
            f"{opened.location}: Total Pixel Matrix Rows (0048,0007) and Columns (0048,0006) are "
            f"{rows} × {columns}, but no slide has more than {LONGEST_SIDE} either way"
        )
    return rows, columns


def is_full(opened: Instance) -> bool:
    """Whether every tile is stored in raster order, so that none has a position of its own."""
    kind = opened.dataset.get("DimensionOrganizationType")
    if kind:
        return str(kind) == "TILED_FULL"
    return opened.column("RowPositionInTotalImagePixelMatrix") is None


def full_placement(wholes: Sequence[Whole], planes: Int64s) -> Placement:
    """The placement of TILED_FULL images, whose planes follow each other.

    Parameters
    ----------
    wholes
        The images; their planes (optical paths or segments, times focal planes) are counted
        from one to the next.
    planes
        The plane of each cell, -1 for a cell without one.

    Raises
    ------
    CorruptDicomError
        If Number of Frames isn't that of the tiles.
    """
    first = wholes[0].first
    rows, columns = matrix_size(first)
    pixel_format = first.frames.format
    grid = TileGrid(rows, columns, pixel_format.rows, pixel_format.columns, planes)
    tiles = prod(grid.grid)
    due = tiles * int((planes >= 0).sum())
    stored = sum(len(whole.frames) for whole in wholes)
    if stored == due:
        return grid
    if stored > due or all(len(whole.parts) == 1 for whole in wholes):
        raise CorruptDicomError(
            f"{first.location}: Number of Frames (0028,0008) is {stored}, but {rows} × {columns} "
            f"pixels in tiles of {grid.tile_rows} × {grid.tile_columns} on "
            f"{int((planes >= 0).sum())} planes make {due}"
        )
    return _without_missing(grid, np.concatenate([whole.numbers for whole in wholes]), due)


def _without_missing(grid: TileGrid, numbers: Int64s, due: int) -> Placed:
    """Tiles of a grid of which only the frames with these `numbers` are stored."""
    hits = grid.every()
    stored = np.full(due, -1, np.int64)
    stored[numbers] = np.arange(len(numbers))
    there = stored[hits.frame] >= 0
    return Placed(
        stored[hits.frame[there]],
        hits.cell[there],
        hits.y[there],
        hits.x[there],
        n_cells=len(grid.planes),
        plane=(grid.rows, grid.columns),
        tile=(grid.tile_rows, grid.tile_columns),
    )


def placed_tiles(frames: FrameSet, cell: Int64s, n_cells: int) -> Placement:
    """The placement of tiles that say where they are (PS3.3 C.8.12.4.1.1, TILED_SPARSE)."""
    top = frames.floats("RowPositionInTotalImagePixelMatrix", 1)
    left = frames.floats("ColumnPositionInTotalImagePixelMatrix", 1)
    if top is None or left is None:
        raise CorruptDicomError(
            f"{frames.location}: its tiles have no Row and Column Position In Total Image Pixel "
            "Matrix (0048,021F), (0048,021E)"
        )
    far = np.flatnonzero((np.abs(np.hstack([top, left])) > 2 * LONGEST_SIDE).any(axis=1))
    if len(far):
        raise CorruptDicomError(
            f"{frames.location}: frame {int(far[0]) + 1} lies at row {top[far[0], 0]:.0f} "
            f"(0048,021F), column {left[far[0], 0]:.0f} (0048,021E), far off any slide"
        )
    first = frames.opened[0]
    return Placed(
        np.arange(len(frames)),
        cell,
        top[:, 0].astype(np.int64) - 1,
        left[:, 0].astype(np.int64) - 1,
        n_cells=n_cells,
        plane=matrix_size(first),
        tile=(first.frames.format.rows, first.frames.format.columns),
    )


def focal_planes(opened: Instance, n_paths: int) -> tuple[int, NDArray[np.float64] | None]:
    """How many focal planes a TILED_FULL image has, and their heights in mm, if known.

    Frames run from the glass to the coverslip; their distance is Spacing Between Slices.
    """
    stated = opened.dataset.get("TotalPixelMatrixFocalPlanes")
    down, across = tile_grid_shape(opened)
    n_frames = opened.frames.n_frames
    count = int(stated or 0) or max(n_frames // (down * across * n_paths), 1)
    if count * n_paths > max(n_frames, MOST_PLANES):
        raise CorruptDicomError(
            f"{opened.location}: Total Pixel Matrix Focal Planes (0048,0303) is {count}, but "
            f"Number of Frames (0028,0008) is {n_frames}"
        )
    if count == 1:
        return 1, np.asarray([slide_height(opened)])
    spacing = opened.shared("SpacingBetweenSlices")
    if spacing is None:
        warnings.warn(
            f"{opened.location}: {count} focal planes without Spacing Between Slices (0018,0088), "
            "so z has no coordinate",
            DicomWarning,
            stacklevel=2,
        )
        return count, None
    heights = slide_height(opened) + np.arange(count, dtype=np.float64) * float(spacing)
    return count, heights


def tile_grid_shape(opened: Instance) -> tuple[int, int]:
    """Tiles down and across the total pixel matrix."""
    rows, columns = matrix_size(opened)
    pixel_format = opened.frames.format
    return -(-rows // pixel_format.rows), -(-columns // pixel_format.columns)


def slide_height(opened: Instance) -> float:
    """Height of the first focal plane above the glass in mm; the file has micrometres."""
    origin = opened.dataset.get("TotalPixelMatrixOriginSequence")
    height = origin[0].get("ZOffsetInSlideCoordinateSystem") if origin else None
    return 0.0 if height is None else float(height) / 1000


def matrix_geometry(opened: Instance, heights: NDArray[Any] | None) -> MatrixGeometry:
    """Coordinates of a total pixel matrix in slide coordinates (PS3.3 C.8.12.4.1.1).

    Parameters
    ----------
    opened
        The instance.
    heights
        Heights of its focal planes in mm, when they are a dimension.
    """
    rows, columns = matrix_size(opened)
    spacing = known_spacing(opened.shared("PixelSpacing"), location=opened.location)
    step = spacing or _spacing_from_extent(opened, rows, columns)
    if step is None:
        return MatrixGeometry({}, None, None, None)
    origin = opened.dataset.get("TotalPixelMatrixOriginSequence")
    orientation = opened.dataset.get("ImageOrientationSlide")
    offsets = (
        (
            origin[0].get("XOffsetInSlideCoordinateSystem"),
            origin[0].get("YOffsetInSlideCoordinateSystem"),
        )
        if origin
        else (None, None)
    )
    if orientation is None or offsets[0] is None or offsets[1] is None:
        names = {"long_name": "distance from the first pixel"}
        return MatrixGeometry(
            {
                "y": Coordinate(("y",), image_coordinates(step[0], rows), MM | names),
                "x": Coordinate(("x",), image_coordinates(step[1], columns), MM | names),
            },
            "image",
            None,
            None,
        )
    plane = PlaneGeometry.from_elements(
        orientation, step, location=opened.location, orientation_element=SLIDE_ORIENTATION
    )
    height = slide_height(opened) if heights is None else float(heights[0])
    first = slide_origin(offsets[0], offsets[1], height)
    y, x = plane.coordinates(first, (rows, columns))
    coordinates = {
        "y": Coordinate(("y",), y, MM | {"long_name": "position along the columns on the slide"}),
        "x": Coordinate(("x",), x, MM | {"long_name": "position along the rows on the slide"}),
    }
    z_step = None
    if heights is not None:
        coordinates["z"] = Coordinate(("z",), heights, MM | {"long_name": "height above the glass"})
        z_step = np.asarray(SLIDE_Z) * float(heights[1] - heights[0])
    affine = plane.affine(first, z_step)
    return MatrixGeometry(coordinates, "slide", affine, plane.orientation)


def _spacing_from_extent(opened: Instance, rows: int, columns: int) -> tuple[float, float] | None:
    """Spacing of slides that give only the extent imaged (PS3.3 C.8.12.4, mm)."""
    height = opened.dataset.get("ImagedVolumeHeight")
    width = opened.dataset.get("ImagedVolumeWidth")
    if not height or not width:
        return None
    return known_spacing((height / rows, width / columns), location=opened.location)


def frame_of_reference(opened: Instance, orientation: Sequence[float] | None) -> FrameOfReference:
    """What the positions of an image are relative to; the instance itself, if nothing else."""
    uid = opened.dataset.get("FrameOfReferenceUID")
    if orientation is None or not uid:
        uid = opened.dataset.get("SOPInstanceUID") or "unknown"
    cosines = tuple(float(v) for v in orientation or (1, 0, 0, 0, 1, 0))
    a, b, c, d, e, f = cosines
    return FrameOfReference(str(uid), (a, b, c, d, e, f))
