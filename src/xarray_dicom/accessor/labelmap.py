"""A label map of a segmentation's masks, built frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import xarray as xr

from xarray_dicom.accessor.handle import dressed, handle_of, positions, same_part
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
    """Paint the masks of `array` into one lazy label map; see `DicomAccessor.labelmap`."""
    handle = handle_of(array)
    if overlap not in OVERLAPS:
        raise DicomError(f"overlap is {overlap!r}, but must be one of {', '.join(OVERLAPS)}")
    if "segment" not in handle.sizes:
        raise DicomError(f"{array.name!r} has no masks by segment: it may be a label map already")
    if handle.sources[0].format.bits_allocated > 1:
        raise DicomError(
            "a FRACTIONAL segmentation has no label map: threshold it, then combine its segments"
        )
    chosen = _chosen(array, handle, segments)
    frames = paint(handle.array.frames, handle.segments, chosen, overlap)
    dims = tuple(dim for dim in handle.sizes if dim in (*SPATIAL, "frame"))
    attrs = {**array.attrs, **flags(chosen, frames.dtype)}
    encoding = {
        "preferred_chunks": {
            dim: size
            for dim, size in array.encoding.get("preferred_chunks", {}).items()
            if dim in dims
        },
        "source": array.encoding.get("source"),
    }
    opened = lazy_variable(DicomArray(frames), dims, attrs, encoding)
    return dressed(same_part(opened, array, handle), "labelmap", _without_segments(array))


def _without_segments(array: xr.DataArray) -> xr.Coordinates:
    coords = array.coords.to_dataset()
    described = {"segment", "segment_label", *DESCRIPTIONS}
    along = {name for name, coord in coords.coords.items() if "segment" in coord.dims}
    return coords.drop_vars((described & set(coords.coords)) | along).coords


def _chosen(
    array: xr.DataArray,
    handle: Handle,
    segments: Sequence[int | str] | int | str | None,
) -> tuple[Segment, ...]:
    held = np.arange(len(handle.segments))[positions(array, handle, "segment")]
    known = tuple(handle.segments[i] for i in sorted(np.atleast_1d(held).tolist()))
    if segments is None:
        return known
    one_only = isinstance(segments, str) or np.ndim(segments) == 0
    asked = [segments] if one_only else list(cast("Sequence[int | str]", segments))
    names = {segment.number for segment in known} | {segment.label for segment in known}
    for one in asked:
        if one not in names:
            listed = ", ".join(f"{segment.number} {segment.label!r}" for segment in known)
            raise KeyError(f"no segment {one!r}; there are {listed}")
    return tuple(s for s in known if s.number in asked or s.label in asked)


def paint(
    frames: FrameArray,
    known: tuple[Segment, ...],
    chosen: tuple[Segment, ...],
    overlap: Overlap,
) -> FrameArray:
    """The frame table of the label map: the masks of `chosen` on planes without segments."""
    n_planes = int(np.prod(frames.outer_shape[1:], dtype=np.int64))
    wanted = np.isin([s.number for s in known], [s.number for s in chosen])
    placed = frames.placement.every()
    segment, plane = np.divmod(placed.cell, n_planes)
    kept = wanted[segment]
    numbers = np.asarray([s.number for s in known], np.int64)
    labels = np.zeros(int(frames.starts[-1]), np.int64)
    labels[placed.frame] = numbers[segment]
    placement = Placed(
        placed.frame[kept],
        plane[kept],
        placed.y[kept],
        placed.x[kept],
        n_cells=n_planes,
        plane=frames.plane,
        tile=frames.tile,
    )
    largest = max((s.number for s in chosen), default=0)
    return replace(
        frames,
        outer_shape=frames.outer_shape[1:],
        placement=placement,
        paint=LabelPaint(labels, overlap, np.dtype(np.min_scalar_type(largest))),
    )
