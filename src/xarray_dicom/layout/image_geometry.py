"""Position of an image in space, as far as its header gives one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.layout.coordinate import Coordinate
from xarray_dicom.layout.plane_geometry import image_coordinates

Affine = NDArray[np.float64]

MM = {"units": "mm"}


@dataclass(frozen=True, slots=True, eq=False)
class ImageGeometry:
    """Coordinates of the spatial axes of an image, and its affine.

    Attributes
    ----------
    coordinates
        Coordinates of z, y and x, as far as they are given.
    coordinate_system
        ``patient`` or ``slide`` with a position, ``image`` with spacing alone, None with
        neither.
    affine
        Array index (z, y, x) → millimetres, pixel centres, 4 × 4; None without a position, or
        where planes lie on no regular grid.
    orientation
        Direction cosines of rows and columns; None without a position.
    """

    coordinates: dict[str, Coordinate]
    coordinate_system: str | None = None
    affine: Affine | None = None
    orientation: Sequence[float] | None = None


def axis(dimension: str, values: NDArray[np.float64], long_name: str) -> Coordinate:
    """Return the coordinate of a spatial dimension in millimetres.

    Parameters
    ----------
    dimension
        Name of the dimension.
    values
        Position of each pixel centre.
    long_name
        Description of the positions.
    """
    return Coordinate((dimension,), values, MM | {"long_name": long_name})


def without_position(spacing: tuple[float, float] | None, shape: tuple[int, int]) -> ImageGeometry:
    """Return the geometry of an image without a position: distances from its first pixel.

    Parameters
    ----------
    spacing
        Millimetres between rows and between columns; None if the file has none.
    shape
        Rows and columns.
    """
    if spacing is None:
        return ImageGeometry({})
    coordinates = {
        dimension: axis(dimension, image_coordinates(step, n), "distance from the first pixel")
        for dimension, step, n in zip(("y", "x"), spacing, shape, strict=True)
    }
    return ImageGeometry(coordinates, "image")
