"""Label map of a segmentation's masks, painted frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import xarray as xr

from xarray_dicom.accessor.handle import (
    handle_of,
    opened_positions,
    select_like,
    with_coordinates,
)
from xarray_dicom.accessor.lazy import lazy_variable
from xarray_dicom.dataset import Handle
from xarray_dicom.errors import DicomError
from xarray_dicom.layout.frame_array import FrameArray, LabelPaint, Overlap
from xarray_dicom.layout.placement import Placed
from xarray_dicom.layout.segmentation import DESCRIPTIONS, flags
from xarray_dicom.layout.segments import Segment
from xarray_dicom.reading.array import DicomArray

SPATIAL = ("z", "y", "x")
OVERLAPS = ("error", "first", "last")


def labelmap_of(
    array: xr.DataArray,
    segments: Sequence[int | str] | int | str | None = None,
    overlap: Overlap = "error",
) -> xr.DataArray:
    """Paint the masks of an array into one lazy label map.

    Parameters
    ----------
    array
        Masks of a BINARY segmentation, or a selection of them.
    segments, overlap
        As for `DicomAccessor.labelmap`.
    """
    handle = handle_of(array)
    if overlap not in OVERLAPS:
        raise DicomError(f"overlap is {overlap!r}, but must be one of {', '.join(OVERLAPS)}")
    if "segment" not in handle.sizes:
        raise DicomError(f"{array.name!r} has no masks by segment: it may be a label map already")
    if handle.sources[0].format.bits_allocated > 1:
        raise DicomError(
            "a FRACTIONAL segmentation has no label map: threshold it, then combine its segments"
        )
    painted = _painted_segments(array, handle, segments)
    frames = paint(handle.array.frames, handle.segments, painted, overlap)
    dims = tuple(dim for dim in handle.sizes if dim in (*SPATIAL, "frame"))
    attrs = {**array.attrs, **flags(painted, frames.dtype)}
    preferred = array.encoding.get("preferred_chunks", {})
    encoding = {
        "preferred_chunks": {dim: size for dim, size in preferred.items() if dim in dims},
        "source": array.encoding.get("source"),
    }
    opened = lazy_variable(DicomArray(frames), dims, attrs, encoding)
    part = select_like(opened, array, handle)
    return with_coordinates(part, "labelmap", _without_segments(array))


def _without_segments(array: xr.DataArray) -> xr.Coordinates:
    coords = array.coords.to_dataset()
    described = {"segment", "segment_label", *DESCRIPTIONS}
    along = {name for name, coord in coords.coords.items() if "segment" in coord.dims}
    return coords.drop_vars((described & set(coords.coords)) | along).coords


def _painted_segments(
    array: xr.DataArray,
    handle: Handle,
    segments: Sequence[int | str] | int | str | None,
) -> tuple[Segment, ...]:
    """Return the segments of an array that are named by number or label; all if none is.

    Raises
    ------
    KeyError
        If the array has no such segment.
    """
    positions = np.arange(len(handle.segments))[opened_positions(array, handle, "segment")]
    available = tuple(handle.segments[i] for i in sorted(np.atleast_1d(positions).tolist()))
    if segments is None:
        return available
    scalar = isinstance(segments, str) or np.ndim(segments) == 0
    requested = [segments] if scalar else list(cast("Sequence[int | str]", segments))
    names = {segment.number for segment in available} | {segment.label for segment in available}
    for name in requested:
        if name not in names:
            listed = ", ".join(f"{segment.number} {segment.label!r}" for segment in available)
            raise KeyError(f"no segment {name!r}; there are {listed}")
    return tuple(s for s in available if s.number in requested or s.label in requested)


def paint(
    frames: FrameArray,
    segments: tuple[Segment, ...],
    painted: tuple[Segment, ...],
    overlap: Overlap,
) -> FrameArray:
    """Return the frames of a label map: masks on planes that have no axis of segments.

    Parameters
    ----------
    frames
        Frames of the segmentation, whose first outer axis is that of segments.
    segments
        Segments along that axis.
    painted
        Segments to paint.
    overlap
        Label of a pixel that several of them claim.
    """
    n_planes = int(np.prod(frames.outer_shape[1:], dtype=np.int64))
    numbers = np.asarray([segment.number for segment in segments], np.int64)
    is_painted = np.isin(numbers, [segment.number for segment in painted])
    hits = frames.placement.every()
    segment, plane = np.divmod(hits.cell, n_planes)
    labels = np.zeros(int(frames.starts[-1]), np.int64)
    labels[hits.frame] = numbers[segment]
    shown = is_painted[segment]
    placement = Placed(
        hits.frame[shown],
        plane[shown],
        hits.y[shown],
        hits.x[shown],
        n_cells=n_planes,
        plane=frames.plane,
        tile=frames.tile,
    )
    largest = max((segment.number for segment in painted), default=0)
    return replace(
        frames,
        outer_shape=frames.outer_shape[1:],
        placement=placement,
        paint=LabelPaint(labels, overlap, np.dtype(np.min_scalar_type(largest))),
    )
