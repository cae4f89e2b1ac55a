"""Planes of frames in space: by patient positions, or without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.frame_set import FrameSet
from xarray_dicom.layout.image_geometry import ImageGeometry, axis, without_position
from xarray_dicom.layout.plane_geometry import PlaneGeometry, unit_directions, usable_spacing
from xarray_dicom.layout.stack import arrange_planes, not_finite
from xarray_dicom.parsing.functional_groups import tag
from xarray_dicom.warn import warn

Int64s = NDArray[np.int64]

#: Descriptions of the coordinates of a patient's image.
LONG_NAMES = {
    "x": "position along the rows",
    "y": "position along the columns",
    "z": "position along the normal of the planes",
}


@dataclass(frozen=True, slots=True, eq=False)
class PlaneLayout:
    """Planes of an image, and the plane of each frame.

    Attributes
    ----------
    geometry
        Position of the planes.
    index
        The plane of each frame.
    count
        Number of planes.
    """

    geometry: ImageGeometry
    index: Int64s
    count: int


def patient_planes(frames: FrameSet) -> PlaneLayout | None:
    """Sort frames by patient position (PS3.3 C.7.6.2.1.1); None where they have none.

    All frames share orientation and size.

    Raises
    ------
    CorruptDicomError
        If an orientation or a position is wrong.

    Warns
    -----
    DicomWarning
        If planes are not evenly spaced, or drift, or pixel spacing is wrong.
    """
    orientation = frames.floats("ImageOrientationPatient", 6)
    positions = frame_positions(frames)
    if orientation is None or positions is None:
        return None
    spacings = frames.floats("PixelSpacing", 2)
    spacing = usable_spacing(None if spacings is None else spacings[0])
    plane = PlaneGeometry.from_elements(orientation[0], spacing or (1.0, 1.0))
    planes = arrange_planes(positions, plane)
    for warning in planes.warnings:
        warn(warning)
    pixel_format = frames.instances[0].frames.format
    y, x = plane.coordinates(planes.origins[0], (pixel_format.rows, pixel_format.columns))
    coordinates = {"z": axis("z", planes.z, LONG_NAMES["z"])}
    if spacing is not None and not planes.y_drifts:
        coordinates["y"] = axis("y", y, LONG_NAMES["y"])
    if spacing is not None and not planes.x_drifts:
        coordinates["x"] = axis("x", x, LONG_NAMES["x"])
    affine = None if spacing is None else planes.affine
    geometry = ImageGeometry(coordinates, "patient", affine, plane.orientation)
    return PlaneLayout(geometry, planes.plane.astype(np.int64), len(planes.z))


def frame_positions(frames: FrameSet) -> NDArray[np.float64] | None:
    """Return Image Position (Patient) of each frame, in mm, shape ``(frames, 3)``.

    Those of an RT dose are offset by its Grid Frame Offset Vector (PS3.3 C.8.8.3.2).

    Raises
    ------
    CorruptDicomError
        If a position is not finite, or there are fewer offsets than frames.
    """
    positions = frames.floats("ImagePositionPatient", 3)
    if positions is None:
        return None
    wrong = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if wrong.size:
        raise not_finite(*frames.locate(int(wrong[0])))
    first = frames.instances[0]
    offsets = first.get("GridFrameOffsetVector")
    if offsets is None or len(frames.instances) > 1:
        return positions
    heights = np.atleast_1d(np.asarray(offsets, np.float64))
    n_frames = first.frames.n_frames
    counts = f"Grid Frame Offset Vector (3004,000C) has {len(heights)} values for {n_frames} frames"
    if len(heights) < n_frames:
        raise CorruptDicomError(counts, tag="GridFrameOffsetVector")
    if len(heights) > n_frames:
        warn(f"{counts}; the last are passed over", tag="GridFrameOffsetVector")
        heights = heights[:n_frames]
    row, column = unit_directions(first.dataset.ImageOrientationPatient)
    normal = np.cross(row, column)
    # A first value other than 0 says that the values are positions, not offsets.
    start = positions[0] @ normal if heights[0] else 0.0
    moved: NDArray[np.float64] = positions + np.outer(heights - start, normal)[frames.frames]
    return moved


def no_planes(instance: Instance, index: Int64s, count: int) -> PlaneLayout:
    """Return frames without positions: millimetres from the first pixel, if there is a spacing.

    Parameters
    ----------
    instance
        Instance that has the spacing.
    index, count
        The plane of each frame, and the number of planes.
    """
    spacing = usable_spacing(instance.shared("PixelSpacing"))
    pixel_format = instance.frames.format
    shape = (pixel_format.rows, pixel_format.columns)
    return PlaneLayout(without_position(spacing, shape), index, count)


def frames_without_positions(instance: Instance, segment: Int64s) -> PlaneLayout:
    """Distinguish frames of one segment by the rest of their Dimension Index, else by order."""
    indices = instance.column("DimensionIndexValues")
    items = instance.items("DimensionIndexSequence")
    own = tag("ReferencedSegmentNumber")
    others = [i for i, item in enumerate(items) if item.get("DimensionIndexPointer") != own]
    if indices is not None and others and (indices.count == len(items)).all():
        rows = indices.values[:, others]
        _, index = np.unique(rows, axis=0, return_inverse=True)
        index = index.reshape(-1)
    else:
        index = occurrence(segment)
    return no_planes(instance, index.astype(np.int64), int(index.max(initial=0)) + 1)


def occurrence(values: Int64s) -> Int64s:
    """Return for each value how often it occurs before."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, np.diff(ordered) != 0))
    within = np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
    counted = np.empty(len(values), np.int64)
    counted[order] = within
    return counted


def split_by(keys: Sequence[NDArray[np.generic]]) -> list[Int64s]:
    """Return groups of frames that agree in every key, in order of first appearance."""
    codes = np.stack([np.unique(key, axis=0, return_inverse=True)[1].reshape(-1) for key in keys])
    _, first, group = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    return [np.flatnonzero(group == g) for g in np.argsort(first)]
