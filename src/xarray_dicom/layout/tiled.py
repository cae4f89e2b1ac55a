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
from xarray_dicom.instance import OpenInstance
from xarray_dicom.layout.geometry import (
    SLIDE_ORIENTATION,
    SLIDE_Z,
    PlaneGeometry,
    image_coordinates,
    positive_spacing,
    slide_origin,
)
from xarray_dicom.layout.image import Affine, Coordinate, FrameOfReference
from xarray_dicom.layout.placement import Placed, Placement, TileGrid

MM = {"units": "mm"}

Int64s = NDArray[np.int64]


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


def is_tiled(opened: OpenInstance) -> bool:
    """Whether the frames of an image are tiles of a total pixel matrix."""
    dataset = opened.dataset
    return bool(dataset.get("TotalPixelMatrixRows")) and bool(
        dataset.get("TotalPixelMatrixColumns")
    )


def matrix_size(opened: OpenInstance) -> tuple[int, int]:
    """Rows and columns of the total pixel matrix."""
    dataset = opened.dataset
    return int(dataset.TotalPixelMatrixRows), int(dataset.TotalPixelMatrixColumns)


def is_full(opened: OpenInstance) -> bool:
    """Whether every tile is stored in raster order, so that none has a position of its own."""
    kind = opened.dataset.get("DimensionOrganizationType")
    if kind:
        return str(kind) == "TILED_FULL"
    return opened.column("RowPositionInTotalImagePixelMatrix") is None


def tile_grid(opened: OpenInstance, n_planes: int, planes: Int64s) -> TileGrid:
    """The placement of a TILED_FULL image.

    Parameters
    ----------
    opened
        The instance.
    n_planes
        Planes that the image says it has: paths or segments times focal planes.
    planes
        The stored plane of each cell.

    Raises
    ------
    CorruptDicomError
        If Number of Frames isn't that of the tiles.
    """
    rows, columns = matrix_size(opened)
    pixel_format = opened.instance.format
    grid = TileGrid(rows, columns, pixel_format.rows, pixel_format.columns, planes)
    due = prod(grid.grid) * n_planes
    if due != opened.instance.n_frames:
        raise CorruptDicomError(
            f"{opened.location}: Number of Frames (0028,0008) is {opened.instance.n_frames}, but "
            f"{rows} × {columns} pixels in tiles of {grid.tile_rows} × {grid.tile_columns} on "
            f"{n_planes} planes make {due}"
        )
    return grid


def placed_tiles(opened: OpenInstance, cell: Int64s, n_cells: int) -> Placement:
    """The placement of tiles that say where they are (PS3.3 C.8.12.4.1.1, TILED_SPARSE)."""
    top = opened.floats("RowPositionInTotalImagePixelMatrix", 1)
    left = opened.floats("ColumnPositionInTotalImagePixelMatrix", 1)
    if top is None or left is None:
        raise CorruptDicomError(
            f"{opened.location}: its tiles have no Row and Column Position In Total Image Pixel "
            "Matrix (0048,021F), (0048,021E)"
        )
    pixel_format = opened.instance.format
    return Placed(
        np.arange(opened.instance.n_frames),
        cell,
        top[:, 0].astype(np.int64) - 1,
        left[:, 0].astype(np.int64) - 1,
        n_cells=n_cells,
        plane=matrix_size(opened),
        tile=(pixel_format.rows, pixel_format.columns),
    )


def optical_paths(opened: OpenInstance) -> tuple[list[str], dict[str, Coordinate]]:
    """Identifiers of the optical paths in file order, and coordinates that describe them."""
    items = list(opened.dataset.get("OpticalPathSequence") or [])
    if not items:
        count = opened.dataset.get("NumberOfOpticalPaths")
        identifiers = [str(number) for number in range(1, int(count or 1) + 1)]
        return identifiers, {}
    identifiers = [
        str(item.get("OpticalPathIdentifier") or number) for number, item in enumerate(items, 1)
    ]
    dims = ("optical_path",)
    coordinates = {"optical_path": Coordinate(dims, texts(identifiers))}
    descriptions = [str(item.get("OpticalPathDescription") or "") for item in items]
    if any(descriptions):
        coordinates["optical_path_description"] = Coordinate(dims, texts(descriptions))
    wavelengths = [float(item.get("IlluminationWaveLength") or np.nan) for item in items]
    if np.isfinite(wavelengths).any():
        coordinates["wavelength"] = Coordinate(dims, np.asarray(wavelengths), {"units": "nm"})
    return identifiers, coordinates


def focal_planes(opened: OpenInstance, n_planes_of_tiles: int) -> tuple[int, NDArray[Any] | None]:
    """How many focal planes a TILED_FULL image has, and their heights in mm, if known.

    Frames run from the glass to the coverslip; their distance is Spacing Between Slices.
    """
    count = int(opened.dataset.get("TotalPixelMatrixFocalPlanes") or 1)
    if not opened.dataset.get("TotalPixelMatrixFocalPlanes"):
        down, across = tile_grid_shape(opened)
        tiles = down * across * n_planes_of_tiles
        count = max(opened.instance.n_frames // tiles, 1) if tiles else 1
    if count == 1:
        return 1, None
    spacing = opened.shared("SpacingBetweenSlices")
    if spacing is None:
        warnings.warn(
            f"{opened.location}: {count} focal planes without Spacing Between Slices (0018,0088), "
            "so z has no coordinate",
            DicomWarning,
            stacklevel=2,
        )
        return count, None
    return count, slide_height(opened) + np.arange(count) * float(spacing)


def tile_grid_shape(opened: OpenInstance) -> tuple[int, int]:
    """Tiles down and across the total pixel matrix."""
    rows, columns = matrix_size(opened)
    pixel_format = opened.instance.format
    return -(-rows // pixel_format.rows), -(-columns // pixel_format.columns)


def slide_height(opened: OpenInstance) -> float:
    """Height of the first focal plane above the glass in mm; the file has micrometres."""
    origin = opened.dataset.get("TotalPixelMatrixOriginSequence")
    height = origin[0].get("ZOffsetInSlideCoordinateSystem") if origin else None
    return 0.0 if height is None else float(height) / 1000


def matrix_geometry(opened: OpenInstance, heights: NDArray[Any] | None) -> MatrixGeometry:
    """Coordinates of a total pixel matrix in slide coordinates (PS3.3 C.8.12.4.1.1).

    Parameters
    ----------
    opened
        The instance.
    heights
        Heights of its focal planes in mm, when they are a dimension.
    """
    rows, columns = matrix_size(opened)
    spacing = opened.shared("PixelSpacing")
    if spacing is None:
        spacing = _spacing_from_extent(opened, rows, columns)
    if spacing is None:
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
    step = positive_spacing(spacing, location=opened.location)
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
        orientation, spacing, location=opened.location, orientation_element=SLIDE_ORIENTATION
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


def _spacing_from_extent(opened: OpenInstance, rows: int, columns: int) -> list[float] | None:
    """Spacing of slides that give only the extent imaged (PS3.3 C.8.12.4, mm)."""
    height = opened.dataset.get("ImagedVolumeHeight")
    width = opened.dataset.get("ImagedVolumeWidth")
    if not height or not width:
        return None
    return [float(height) / rows, float(width) / columns]


def frame_of_reference(
    opened: OpenInstance, orientation: Sequence[float] | None
) -> FrameOfReference:
    """What the positions of an image are relative to; the instance itself, if nothing else."""
    uid = opened.dataset.get("FrameOfReferenceUID")
    if orientation is None or not uid:
        uid = opened.dataset.get("SOPInstanceUID") or "unknown"
    cosines = tuple(float(v) for v in orientation or (1, 0, 0, 0, 1, 0))
    a, b, c, d, e, f = cosines
    return FrameOfReference(str(uid), (a, b, c, d, e, f))


def texts(values: Sequence[str]) -> NDArray[Any]:
    """Strings as an object array: fixed-width ones draw warnings when written to Zarr."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
