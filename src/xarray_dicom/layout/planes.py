"""Frames as planes in space: patient positions, or none."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.frameset import FrameSet
from xarray_dicom.layout.geometry import (
    PlaneGeometry,
    image_coordinates,
    known_spacing,
    unit_directions,
)
from xarray_dicom.layout.image import Affine, Coordinate
from xarray_dicom.layout.stack import arrange_planes
from xarray_dicom.parsing.functional import tag

Int64s = NDArray[np.int64]

MM = {"units": "mm"}

#: What the axes of a patient's image run along.
LONG_NAMES = {
    "x": "position along the rows",
    "y": "position along the columns",
    "z": "position along the normal of the planes",
}


@dataclass(frozen=True, slots=True, eq=False)
class PlaneLayout:
    """How frames lie on planes, and where those are.

    Attributes
    ----------
    coordinates
        Of z, y and x, where they are known.
    coordinate_system, affine, orientation
        As in `ImageLayout`; orientation is None without a position.
    index
        The plane of each frame.
    count
        Number of planes.
    """

    coordinates: dict[str, Coordinate]
    coordinate_system: str | None
    affine: Affine | None
    orientation: tuple[float, ...] | None
    index: Int64s
    count: int


def patient_planes(frames: FrameSet) -> PlaneLayout | None:
    """Sort frames by patient position (PS3.3 C.7.6.2.1.1); None where they have none.

    All frames share orientation and size.
    """
    orientation = frames.floats("ImageOrientationPatient", 6)
    positions = frame_positions(frames)
    if orientation is None or positions is None:
        return None
    spacings = frames.floats("PixelSpacing", 2)
    spacing = known_spacing(None if spacings is None else spacings[0], location=frames.location)
    geometry = PlaneGeometry.from_elements(
        orientation[0], spacing or (1.0, 1.0), location=frames.location
    )
    planes = arrange_planes(positions, geometry, location=frames.location)
    for warning in planes.warnings:
        warnings.warn(f"{frames.location}: {warning}", DicomWarning, stacklevel=2)
    pixel_format = frames.opened[0].frames.format
    y, x = geometry.coordinates(planes.origins[0], (pixel_format.rows, pixel_format.columns))
    coordinates = {"z": _axis("z", planes.z)}
    if spacing is not None and not planes.y_drifts:
        coordinates["y"] = _axis("y", y)
    if spacing is not None and not planes.x_drifts:
        coordinates["x"] = _axis("x", x)
    return PlaneLayout(
        coordinates,
        "patient",
        None if spacing is None else planes.affine,
        geometry.orientation,
        planes.plane.astype(np.int64),
        len(planes.z),
    )


def frame_positions(frames: FrameSet) -> NDArray[np.float64] | None:
    """Image Position (Patient) of each frame; an RT dose adds its offsets (PS3.3 C.8.8.3.2)."""
    positions = frames.floats("ImagePositionPatient", 3)
    dataset = frames.opened[0].dataset
    offsets = dataset.get("GridFrameOffsetVector")
    if positions is None or offsets is None or len(frames.opened) > 1:
        return positions
    heights = np.atleast_1d(np.asarray(offsets, np.float64))
    n_frames = frames.opened[0].frames.n_frames
    counts = (
        f"{frames.location}: Grid Frame Offset Vector (3004,000C) has {len(heights)} values for "
        f"{n_frames} frames"
    )
    if len(heights) < n_frames:
        raise CorruptDicomError(counts)
    if len(heights) > n_frames:
        warnings.warn(f"{counts}; the last are passed over", DicomWarning, stacklevel=2)
        heights = heights[:n_frames]
    row, column = unit_directions(dataset.ImageOrientationPatient, location=frames.location)
    normal = np.cross(row, column)
    # A first value other than 0 says that the values are positions, not offsets.
    start = positions[0] @ normal if heights[0] else 0.0
    moved: NDArray[np.float64] = positions + np.outer(heights - start, normal)[frames.frames]
    return moved


def no_planes(opened: Instance, index: Int64s, count: int) -> PlaneLayout:
    """Frames without positions: millimetres from the first pixel, if there is a spacing."""
    spacing = known_spacing(opened.shared("PixelSpacing"), location=opened.location)
    if spacing is None:
        return PlaneLayout({}, None, None, None, index, count)
    y, x = spacing
    pixel_format = opened.frames.format
    long_name = {"long_name": "distance from the first pixel"}
    coordinates = {
        "y": Coordinate(("y",), image_coordinates(y, pixel_format.rows), MM | long_name),
        "x": Coordinate(("x",), image_coordinates(x, pixel_format.columns), MM | long_name),
    }
    return PlaneLayout(coordinates, "image", None, None, index, count)


def frames_without_positions(opened: Instance, segment: Int64s) -> PlaneLayout:
    """Tell frames of one segment apart by the rest of their Dimension Index, else by order."""
    indices = opened.column("DimensionIndexValues")
    items = list(opened.dataset.get("DimensionIndexSequence") or [])
    own = tag("ReferencedSegmentNumber")
    others = [i for i, item in enumerate(items) if item.get("DimensionIndexPointer") != own]
    if indices is not None and others and (indices.count == len(items)).all():
        rows = indices.values[:, others]
        _, index = np.unique(rows, axis=0, return_inverse=True)
        index = index.reshape(-1)
    else:
        index = occurrence(segment)
    return no_planes(opened, index.astype(np.int64), int(index.max(initial=0)) + 1)


def occurrence(values: Int64s) -> Int64s:
    """For each value, how often it stood before."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, np.diff(ordered) != 0))
    within = np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
    counted = np.empty(len(values), np.int64)
    counted[order] = within
    return counted


def split_by(keys: Sequence[NDArray[np.generic]]) -> list[Int64s]:
    """Groups of frames that agree in every key, in order of first appearance."""
    codes = np.stack([np.unique(key, axis=0, return_inverse=True)[1].reshape(-1) for key in keys])
    _, first, group = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    return [np.flatnonzero(group == g) for g in np.argsort(first)]


def _axis(name: str, values: NDArray[np.float64]) -> Coordinate:
    return Coordinate((name,), values, MM | {"long_name": LONG_NAMES[name]})
