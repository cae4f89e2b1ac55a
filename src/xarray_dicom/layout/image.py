"""What a layout is: an array of frames with the names and places of its axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.segments import Segment

Affine = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Coordinate:
    """Labels along one or no dimension.

    Attributes
    ----------
    dims
        The dimension, or nothing for a scalar.
    values
        One value per position.
    attrs
        Attributes of the coordinate.
    """

    dims: tuple[str, ...]
    values: NDArray[Any]
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FrameOfReference:
    """What positions are relative to.

    Attributes
    ----------
    uid
        Frame of Reference UID; without one the SOP Instance UID stands for it.
    orientation
        Direction cosines of rows and columns.
    """

    uid: str
    orientation: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear rescale that every frame shares: ``stored × slope + intercept``."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, eq=False)
class ImageLayout:
    """One variable, before xarray.

    Attributes
    ----------
    name
        ``image``, ``segmentation`` or ``parametric_map``.
    dims
        Names of the axes of `frames`.
    frames
        The frame table.
    coordinates
        By name.
    attrs, dataset_attrs
        Attributes of the variable and of the dataset.
    coordinate_system
        ``patient``, ``slide`` or ``image``; None without spacing.
    affine
        Array index (z, y, x) → millimetres, pixel centres, 4 × 4; None without a position.
    frame_of_reference
        None where nothing is known of where the image lies.
    linear
        A rescale left to CF decoding; None where the array gives final values.
    segments
        Description of each segment, for segmentations.
    """

    name: str
    dims: tuple[str, ...]
    frames: FrameArray
    coordinates: dict[str, Coordinate]
    attrs: dict[str, Any]
    dataset_attrs: dict[str, Any]
    coordinate_system: str | None = None
    affine: Affine | None = None
    frame_of_reference: FrameOfReference | None = None
    linear: Linear | None = None
    segments: tuple[Segment, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each dimension."""
        return dict(zip(self.dims, self.frames.shape, strict=True))


def texts(values: Sequence[str]) -> NDArray[Any]:
    """Strings as an object array: fixed-width ones draw warnings when written to Zarr."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
