"""Segmentations, over volumes and over slides (PS3.3 C.8.20)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError
from xarray_dicom.instance import OpenInstance
from xarray_dicom.layout.attributes import dataset_attributes
from xarray_dicom.layout.frames import FrameArray
from xarray_dicom.layout.frameset import FrameSet
from xarray_dicom.layout.image import Coordinate, ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.placement import Placed, Placement
from xarray_dicom.layout.planes import PlaneLayout, frames_without_positions, patient_planes
from xarray_dicom.layout.segments import Segment, read_segments
from xarray_dicom.layout.tiled import (
    focal_planes,
    frame_of_reference,
    is_full,
    is_tiled,
    matrix_geometry,
    matrix_size,
    placed_tiles,
    texts,
    tile_grid,
)
from xarray_dicom.pixels.transform import Fraction, Stored, Transform

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


def is_segmentation(opened: OpenInstance) -> bool:
    """Whether an object is a segmentation."""
    return str(opened.dataset.get("SOPClassUID")) in SOP_CLASSES


def layout_segmentation(opened: OpenInstance, options: LayoutOptions) -> ImageLayout:
    """Present a segmentation: ``segment [z] y x``, label maps ``[z] y x``.

    Raises
    ------
    CorruptDicomError
        If a frame refers to no segment, or frames and tiles don't add up.
    """
    dataset = opened.dataset
    kind = str(dataset.get("SegmentationType") or "BINARY")
    segments = read_segments(dataset, opened.location)
    n_segments = 1 if kind == "LABELMAP" else len(segments)
    segment = (
        np.zeros(opened.instance.n_frames, np.int64)
        if kind == "LABELMAP"
        else _segment_of_frames(opened, segments)
    )
    layout = (
        _tiled(opened, segment, n_segments)
        if is_tiled(opened)
        else _stacked(opened, segment, n_segments)
    )
    outer, plane, placement, planes = layout
    dims = [name for name, _ in outer]
    shape = [size for _, size in outer]
    coordinates = dict(planes.coordinates)
    attrs: dict[str, Any] = {}
    transform: Transform = Stored(opened.instance.format.dtype)
    if kind == "LABELMAP":
        attrs |= flags(segments, transform.dtype)
    else:
        dims.insert(0, "segment")
        shape.insert(0, n_segments)
        for name, attribute in DESCRIPTIONS.items():
            described = texts([getattr(s, attribute) for s in segments])
            coordinates[name] = Coordinate(("segment",), described)
    if kind == "FRACTIONAL":
        maximum = dataset.get("MaximumFractionalValue")
        if not maximum:
            raise CorruptDicomError(
                f"{opened.location}: a FRACTIONAL segmentation needs Maximum Fractional Value "
                "(0062,000E)"
            )
        if options.scale:
            transform = Fraction(int(maximum))
    elif kind not in ("BINARY", "LABELMAP"):
        raise UnsupportedDicomError(f"{opened.location}: Segmentation Type (0062,0001) {kind}")
    frames = FrameArray(
        instances=(opened.instance,),
        outer_shape=tuple(shape),
        plane=plane,
        placement=placement,
        transform=transform,
        memory_budget=options.memory_budget,
    )
    return ImageLayout(
        name="segmentation",
        dims=(*dims, "y", "x"),
        frames=frames,
        coordinates=coordinates,
        attrs=attrs,
        dataset_attrs=dataset_attributes([dataset]),
        coordinate_system=planes.coordinate_system,
        affine=planes.affine,
        frame_of_reference=frame_of_reference(opened, planes.orientation),
        segments=segments,
    )


def flags(segments: tuple[Segment, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    """CF attributes of a label map: values, and meanings joined by blanks (CF 3.5)."""
    numbers = [segment.number for segment in segments]
    meanings = [
        "_".join(segment.label.split()) or f"segment_{segment.number}" for segment in segments
    ]
    return {"flag_values": np.asarray(numbers, dtype), "flag_meanings": " ".join(meanings)}


def _segment_of_frames(opened: OpenInstance, segments: tuple[Segment, ...]) -> Int64s:
    """Position of each frame's segment in `segments`."""
    numbers = np.asarray([segment.number for segment in segments])
    column = opened.column("ReferencedSegmentNumber")
    if column is None:
        per_segment, rest = divmod(opened.instance.n_frames, len(segments))
        if rest or (not (is_tiled(opened) and is_full(opened)) and len(segments) > 1):
            raise CorruptDicomError(
                f"{opened.location}: its frames don't say which segment they belong to: Referenced "
                "Segment Number (0062,000B) is missing"
            )
        return np.repeat(np.arange(len(segments)), per_segment)
    referenced = column.values[:, 0].astype(np.int64)
    position = np.minimum(np.searchsorted(numbers, referenced), len(numbers) - 1)
    unknown = np.flatnonzero((numbers[position] != referenced) | (column.count == 0))
    if len(unknown):
        raise CorruptDicomError(
            f"{opened.location}: frame {int(unknown[0]) + 1} refers to segment "
            f"{int(referenced[unknown[0]])} (0062,000B), which the Segment Sequence doesn't "
            "describe"
        )
    return position.astype(np.int64)


def _tiled(
    opened: OpenInstance, segment: Int64s, n_segments: int
) -> tuple[list[tuple[str, int]], tuple[int, int], Placement, PlaneLayout]:
    if is_full(opened):
        count, heights = focal_planes(opened, n_segments)
        n_planes = n_segments * count
        # Segments are stored by number, and `segments` are sorted by number.
        placement: Placement = tile_grid(opened, n_planes, np.arange(n_planes))
    else:
        count, heights = 1, None
        placement = placed_tiles(opened, segment, n_segments)
    geometry = matrix_geometry(opened, heights if count > 1 else None)
    outer = [("z", count)] if count > 1 else []
    planes = PlaneLayout(
        coordinates=geometry.coordinates,
        coordinate_system=geometry.coordinate_system,
        affine=geometry.affine,
        orientation=geometry.orientation,
        index=np.zeros(opened.instance.n_frames, np.int64),
        count=count,
    )
    return outer, matrix_size(opened), placement, planes


def _stacked(
    opened: OpenInstance, segment: Int64s, n_segments: int
) -> tuple[list[tuple[str, int]], tuple[int, int], Placement, PlaneLayout]:
    planes = patient_planes(FrameSet.of([opened]))
    if planes is not None:
        outer = [("z", planes.count)]
    else:
        planes = frames_without_positions(opened, segment)
        outer = [("frame", planes.count)] if planes.count > 1 else []
    pixel_format = opened.instance.format
    size = (pixel_format.rows, pixel_format.columns)
    placement = Placed(
        np.arange(opened.instance.n_frames),
        segment * planes.count + planes.index,
        None,
        None,
        n_cells=n_segments * planes.count,
        plane=size,
        tile=size,
    )
    return outer, size, placement, planes
