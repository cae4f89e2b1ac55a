"""Segmentations, over volumes and over slides (PS3.3 C.8.20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.assemble import assemble
from xarray_dicom.layout.concatenation import JoinedInstance
from xarray_dicom.layout.coordinate import Coordinate, texts
from xarray_dicom.layout.frame_set import FrameSet
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.image_geometry import ImageGeometry
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.pixel_values import PixelValues
from xarray_dicom.layout.placement import Placed, Placement
from xarray_dicom.layout.planes import frames_without_positions, patient_planes
from xarray_dicom.layout.segments import Segment, read_segments
from xarray_dicom.layout.tiled import (
    focal_planes,
    full_placement,
    is_full,
    is_tiled,
    matrix_geometry,
    placed_tiles,
)
from xarray_dicom.pixels.modality import fraction_transform
from xarray_dicom.pixels.transform import Stored, Transform
from xarray_dicom.warn import warn

Int64s = NDArray[np.int64]

SOP_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation Storage
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation Storage
    }
)

#: Segment attributes shown as coordinates, by coordinate name.
DESCRIPTIONS = {
    "segment_category": "category",
    "segment_type": "type",
    "segment_algorithm_type": "algorithm_type",
    "tracking_uid": "tracking_uid",
}


@dataclass(frozen=True, slots=True, eq=False)
class _MaskPlanes:
    """Planes of a segmentation, and the places of its frames on them.

    Attributes
    ----------
    dimension
        Name of the dimension of planes; empty where there is none.
    count
        Number of planes.
    geometry
        Position of the planes.
    placement
        Places of the frames; cells are planes, or segments times planes.
    """

    dimension: str
    count: int
    geometry: ImageGeometry
    placement: Placement


def is_segmentation(instance: Instance) -> bool:
    """Return True if an object is a segmentation."""
    return str(instance.get("SOPClassUID")) in SOP_CLASSES


def layout_segmentation(image: JoinedInstance, options: LayoutOptions) -> ImageLayout:
    """Present a segmentation: ``segment [z] y x``, label maps ``[z] y x``.

    Raises
    ------
    CorruptDicomError
        If a frame refers to no segment, or frames and tiles don't add up.
    UnsupportedDicomError
        If its Segmentation Type is none of the standard's.
    """
    first = image.first
    segmentation_type = str(first.get("SegmentationType") or "BINARY")
    if segmentation_type not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise UnsupportedDicomError(
            f"Segmentation Type (0062,0001) {segmentation_type}",
            location=first.location,
            tag="SegmentationType",
        )
    segments = read_segments(first.dataset)
    by_segment = segmentation_type != "LABELMAP"
    planes = (_tiled if is_tiled(first) else _stacked)(image, segments if by_segment else ())
    outer = [("segment", len(segments))] if by_segment else []
    outer += [(planes.dimension, planes.count)] if planes.dimension else []
    coordinates = dict(planes.geometry.coordinates)
    attrs: dict[str, Any] = {}
    transform: Transform = Stored(first.frames.format.dtype)
    if by_segment:
        for name, attribute in DESCRIPTIONS.items():
            described = texts([getattr(segment, attribute) for segment in segments])
            coordinates[name] = Coordinate(("segment",), described)
    else:
        attrs |= flags(segments, transform.dtype)
    if segmentation_type == "FRACTIONAL" and options.scale:
        transform = fraction_transform(first.dataset)
    return assemble(
        "segmentation",
        image.parts,
        options,
        outer=outer,
        placement=planes.placement,
        coordinates=coordinates,
        geometry=planes.geometry,
        pixels=PixelValues(transform, None, 0, attrs),
        segments=segments,
    )


def flags(segments: tuple[Segment, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the CF attributes of a label map: values, and meanings joined by blanks (CF 3.5)."""
    numbers = [segment.number for segment in segments]
    meanings = [
        "_".join(segment.label.split()) or f"segment_{segment.number}" for segment in segments
    ]
    return {"flag_values": np.asarray(numbers, dtype), "flag_meanings": " ".join(meanings)}


def _segment_of_frames(frames: FrameSet, segments: Sequence[Segment]) -> Int64s:
    """Return the position in `segments` of each frame's; 0 for label maps, which have none."""
    if not segments:
        return np.zeros(len(frames), np.int64)
    numbers = np.asarray([segment.number for segment in segments])
    column = frames.columns(lambda instance: instance.column("ReferencedSegmentNumber"))
    if column is None:
        if len(segments) == 1:
            return np.zeros(len(frames), np.int64)
        raise CorruptDicomError(
            "its frames don't say which segment they belong to: Referenced Segment Number "
            "(0062,000B) is missing",
            location=frames.location,
            tag="ReferencedSegmentNumber",
        )
    referenced = column.values[:, 0].astype(np.int64)
    position = np.minimum(np.searchsorted(numbers, referenced), len(numbers) - 1)
    unknown = np.flatnonzero((numbers[position] != referenced) | (column.count == 0))
    if len(unknown):
        location, frame = frames.locate(int(unknown[0]))
        raise CorruptDicomError(
            f"refers to segment {int(referenced[unknown[0]])} (0062,000B), which the Segment "
            "Sequence doesn't describe",
            location=location,
            frame=frame,
            tag="ReferencedSegmentNumber",
        )
    return position.astype(np.int64)


def _tiled(image: JoinedInstance, segments: Sequence[Segment]) -> _MaskPlanes:
    """Place the masks of a slide."""
    first = image.first
    n_segments = max(len(segments), 1)
    count, heights = 1, None
    placement: Placement
    if is_full(first):
        count, heights = focal_planes(first, n_segments)
        # Masks are stored by Segment Number, and `segments` are sorted by it.
        placement = full_placement([image], np.arange(n_segments * count))
    else:
        segment = _segment_of_frames(image.frames, segments)
        placement = placed_tiles(image.frames, segment, n_segments)
    geometry = matrix_geometry(first, heights if count > 1 else None)
    return _MaskPlanes("z" if count > 1 else "", count, geometry, placement)


def _stacked(image: JoinedInstance, segments: Sequence[Segment]) -> _MaskPlanes:
    """Place the masks of a volume."""
    frames = image.frames
    segment = _segment_of_frames(frames, segments)
    planes = patient_planes(frames)
    dimension = "z"
    if planes is None:
        planes = frames_without_positions(image.first, segment)
        dimension = "frame" if planes.count > 1 else ""
    pixel_format = image.first.frames.format
    size = (pixel_format.rows, pixel_format.columns)
    placement = Placed(
        frames.frames,
        segment * planes.count + planes.index,
        None,
        None,
        n_cells=max(len(segments), 1) * planes.count,
        plane=size,
        tile=size,
    )
    if placement.overlapping:
        warn(
            "several frames show one segment at one position; the last of them counts",
            location=image.location,
        )
    return _MaskPlanes(dimension, planes.count, planes.geometry, placement)
