"""Segmentations, over volumes and over slides (PS3.3 C.8.20)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomWarning, UnsupportedDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.attributes import dataset_attributes
from xarray_dicom.layout.concatenation import Whole
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.frameset import FrameSet
from xarray_dicom.layout.image import Coordinate, ImageLayout, texts
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.placement import Placed, Placement
from xarray_dicom.layout.planes import PlaneLayout, frames_without_positions, patient_planes
from xarray_dicom.layout.segments import Segment, read_segments
from xarray_dicom.layout.tiled import (
    focal_planes,
    frame_of_reference,
    full_placement,
    is_full,
    is_tiled,
    matrix_geometry,
    matrix_size,
    placed_tiles,
)
from xarray_dicom.pixels.modality import fraction_transform
from xarray_dicom.pixels.transform import Stored, Transform

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
class _Place:
    """How the frames of a segmentation lie.

    Attributes
    ----------
    dimension
        Name of the dimension of planes; empty where there is none.
    plane
        Rows and columns of the array.
    planes
        Where the planes are.
    placement
        Which frame covers what.
    """

    dimension: str
    plane: tuple[int, int]
    planes: PlaneLayout
    placement: Placement


def is_segmentation(opened: Instance) -> bool:
    """Whether an object is a segmentation."""
    return str(opened.get("SOPClassUID")) in SOP_CLASSES


def layout_segmentation(whole: Whole, options: LayoutOptions) -> ImageLayout:
    """Present a segmentation: ``segment [z] y x``, label maps ``[z] y x``.

    Raises
    ------
    CorruptDicomError
        If a frame refers to no segment, or frames and tiles don't add up.
    UnsupportedDicomError
        If its Segmentation Type is none of the standard's.
    """
    first = whole.first
    dataset = first.dataset
    kind = str(dataset.get("SegmentationType") or "BINARY")
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise UnsupportedDicomError(f"{first.location}: Segmentation Type (0062,0001) {kind}")
    segments = read_segments(dataset, first.location)
    by_segment = kind != "LABELMAP"
    n_segments = len(segments) if by_segment else 1
    place = (_tiled if is_tiled(first) else _stacked)(whole, segments if by_segment else ())
    outer = [("segment", n_segments)] if by_segment else []
    outer += [(place.dimension, place.planes.count)] if place.dimension else []
    coordinates = dict(place.planes.coordinates)
    attrs: dict[str, Any] = {}
    transform: Transform = Stored(first.frames.format.dtype)
    if by_segment:
        for name, attribute in DESCRIPTIONS.items():
            described = texts([getattr(segment, attribute) for segment in segments])
            coordinates[name] = Coordinate(("segment",), described)
    else:
        attrs |= flags(segments, transform.dtype)
    if kind == "FRACTIONAL" and options.scale:
        try:
            transform = fraction_transform(dataset)
        except CorruptDicomError as error:
            raise CorruptDicomError(f"{first.location}: {error}") from error
    frames = FrameArray(
        sources=whole.frames.sources,
        outer_shape=tuple(size for _, size in outer),
        plane=place.plane,
        placement=place.placement,
        transform=transform,
        memory_budget=options.memory_budget,
        decoder=options.decoder,
    )
    return ImageLayout(
        name="segmentation",
        dims=(*(name for name, _ in outer), "y", "x"),
        frames=frames,
        coordinates=coordinates,
        attrs=attrs,
        dataset_attrs=dataset_attributes([part.dataset for part in whole.parts]),
        coordinate_system=place.planes.coordinate_system,
        affine=place.planes.affine,
        frame_of_reference=frame_of_reference(first, place.planes.orientation),
        segments=segments,
    )


def flags(segments: tuple[Segment, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    """CF attributes of a label map: values, and meanings joined by blanks (CF 3.5)."""
    numbers = [segment.number for segment in segments]
    meanings = [
        "_".join(segment.label.split()) or f"segment_{segment.number}" for segment in segments
    ]
    return {"flag_values": np.asarray(numbers, dtype), "flag_meanings": " ".join(meanings)}


def _segment_of_frames(frames: FrameSet, segments: Sequence[Segment]) -> Int64s:
    """Position of each frame's segment in `segments`; 0 for label maps, which have none."""
    if not segments:
        return np.zeros(len(frames), np.int64)
    numbers = np.asarray([segment.number for segment in segments])
    column = frames.columns(lambda one: one.column("ReferencedSegmentNumber"))
    if column is None:
        if len(segments) == 1:
            return np.zeros(len(frames), np.int64)
        raise CorruptDicomError(
            f"{frames.location}: its frames don't say which segment they belong to: Referenced "
            "Segment Number (0062,000B) is missing"
        )
    referenced = column.values[:, 0].astype(np.int64)
    position = np.minimum(np.searchsorted(numbers, referenced), len(numbers) - 1)
    unknown = np.flatnonzero((numbers[position] != referenced) | (column.count == 0))
    if len(unknown):
        raise CorruptDicomError(
            f"{frames.location}: frame {int(unknown[0]) + 1} refers to segment "
            f"{int(referenced[unknown[0]])} (0062,000B), which the Segment Sequence doesn't "
            "describe"
        )
    return position.astype(np.int64)


def _tiled(whole: Whole, segments: Sequence[Segment]) -> _Place:
    first = whole.first
    n_segments = max(len(segments), 1)
    if is_full(first):
        count, heights = focal_planes(first, n_segments)
        # Segments are stored by number, and `segments` are sorted by number.
        placement = full_placement([whole], np.arange(n_segments * count))
    else:
        count, heights = 1, None
        segment = _segment_of_frames(whole.frames, segments)
        placement = placed_tiles(whole.frames, segment, n_segments)
    geometry = matrix_geometry(first, heights if count > 1 else None)
    planes = PlaneLayout(
        coordinates=geometry.coordinates,
        coordinate_system=geometry.coordinate_system,
        affine=geometry.affine,
        orientation=geometry.orientation,
        index=np.zeros(len(whole.frames), np.int64),
        count=count,
    )
    return _Place("z" if count > 1 else "", matrix_size(first), planes, placement)


def _stacked(whole: Whole, segments: Sequence[Segment]) -> _Place:
    frames = whole.frames
    segment = _segment_of_frames(frames, segments)
    planes = patient_planes(frames)
    dimension = "z"
    if planes is None:
        planes = frames_without_positions(whole.first, segment)
        dimension = "frame" if planes.count > 1 else ""
    pixel_format = whole.first.frames.format
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
        warnings.warn(
            f"{whole.first.location}: several frames show one segment at one position; the last of "
            "them counts",
            DicomWarning,
            stacklevel=2,
        )
    return _Place(dimension, size, planes, placement)
