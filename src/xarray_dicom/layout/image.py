"""Layout of an image: an array of frames, with names and coordinates of its axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xarray_dicom.layout.coordinate import Coordinate
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.image_geometry import Affine
from xarray_dicom.layout.segments import Segment


@dataclass(frozen=True, slots=True)
class FrameOfReference:
    """Coordinate system that the positions of an image are relative to.

    Attributes
    ----------
    uid
        Frame of Reference UID; the SOP Instance UID of an image without one.
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
        Coordinates by name.
    attrs, dataset_attrs
        Attributes of the variable and of the dataset.
    coordinate_system
        ``patient``, ``slide`` or ``image``; None without spacing.
    affine
        Array index (z, y, x) → millimetres, pixel centres, 4 × 4; None without a position.
    frame_of_reference
        None where no position is given.
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
