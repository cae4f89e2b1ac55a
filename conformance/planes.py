"""Planes of pixels by their place, and the comparison of two readers of one file by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset

Plane = NDArray[Any]


class Place(NamedTuple):
    """The place of a plane.

    Attributes
    ----------
    segment
        Segment Number; None where the planes are not those of one segment.
    path
        Optical Path Identifier; empty for a single path.
    z
        Position along the normal of the planes in mm, for slides the number of the focal
        plane; None where planes have no position.
    """

    segment: int | None
    path: str
    z: float | None


Planes = dict[Place, list[Plane]]

#: Coordinates that give the place of a plane.
_LABELS = ("z", "segment", "optical_path")


@dataclass(frozen=True)
class Difference:
    """The difference of two readings of one file.

    Attributes
    ----------
    levels
        The greatest difference of two values.
    message
        The difference in words; empty if values are equal within the limit.
    """

    levels: float
    message: str = ""


def is_tiled(header: Dataset) -> bool:
    """Return True if the frames make up a total pixel matrix."""
    return bool(header.get("TotalPixelMatrixRows"))


def planes_of_tree(tree: xr.DataTree, tiled: bool) -> Planes:
    """Return every plane of the engine's result, at the place that its labels give."""
    planes: Planes = {}
    for node in tree.subtree:
        for variable in node.data_vars.values():
            for place, plane in _planes_of(variable, tiled):
                planes.setdefault(place, []).append(plane)
    return planes


def _planes_of(variable: xr.DataArray, tiled: bool) -> Iterator[tuple[Place, Plane]]:
    colour = ["c"] if "c" in variable.dims else []
    outer = [dim for dim in variable.dims if dim not in ("y", "x", "c")]
    ordered = variable.transpose(*outer, "y", "x", *colour)
    values = ordered.values
    labels = {name: np.asarray(ordered[name]) for name in _LABELS if name in ordered.coords}
    for index in np.ndindex(*(variable.sizes[dim] for dim in outer)):
        at = dict(zip(outer, index, strict=True))
        z: float | None = float(at.get("z", 0)) if tiled else None
        if not tiled and "z" in labels:
            along = [at[dim] for dim in ordered.coords["z"].dims]
            z = round(float(labels["z"][tuple(along)]), 3)
        segment = int(labels["segment"][at["segment"]]) if "segment" in at else None
        path = str(labels["optical_path"][at["optical_path"]]) if "optical_path" in at else ""
        yield Place(segment, path, z), values[index]


def planes_of_frames(header: Dataset, frames: Sequence[Plane]) -> Planes:
    """Return frames, given in file order, at the places that the header gives."""
    if is_tiled(header):
        return _matrices(header, frames)
    planes: Planes = {}
    for number, frame in enumerate(frames):
        place = Place(_segment(header, number), "", _position(header, number))
        planes.setdefault(place, []).append(frame)
    return planes


def _matrices(header: Dataset, tiles: Sequence[Plane]) -> Planes:
    """Return total pixel matrices, assembled tile by tile, later tiles over earlier ones."""
    rows, columns = int(header.TotalPixelMatrixRows), int(header.TotalPixelMatrixColumns)
    matrices: Planes = {}
    for number, tile in enumerate(tiles):
        place, top, left = _tile_place(header, number, rows, columns)
        if place not in matrices:
            matrices[place] = [np.zeros((rows, columns, *tile.shape[2:]), tile.dtype)]
        (matrix,) = matrices[place]
        first_y, first_x = max(top, 0), max(left, 0)
        visible = tile[first_y - top : rows - top, first_x - left : columns - left]
        matrix[first_y : first_y + visible.shape[0], first_x : first_x + visible.shape[1]] = visible
    return matrices


def _tile_place(header: Dataset, number: int, rows: int, columns: int) -> tuple[Place, int, int]:
    segments = _segment_numbers(header)
    position = group_of(header, number, "PlanePositionSlideSequence")
    if position is None or header.get("DimensionOrganizationType") == "TILED_FULL":
        down, across = -(-rows // int(header.Rows)), -(-columns // int(header.Columns))
        rest, column = divmod(number, across)
        rest, row = divmod(rest, down)
        focal_planes = int(header.get("TotalPixelMatrixFocalPlanes") or 1)
        outermost, focal = divmod(rest, focal_planes)
        segment = segments[outermost] if segments else None
        paths = path_identifiers(header)
        place = Place(segment, paths[outermost] if paths else "", float(focal))
        return place, row * int(header.Rows), column * int(header.Columns)
    named = group_of(header, number, "OpticalPathIdentificationSequence")
    path = ""
    if named is not None and path_identifiers(header):
        path = str(named.OpticalPathIdentifier)
    return (
        Place(_segment(header, number), path, float(_focal_plane(header, position))),
        int(position.RowPositionInTotalImagePixelMatrix) - 1,
        int(position.ColumnPositionInTotalImagePixelMatrix) - 1,
    )


def path_identifiers(header: Dataset) -> list[str]:
    """Return identifiers of the optical paths in file order; empty for a single path."""
    paths = [str(item.OpticalPathIdentifier) for item in header.get("OpticalPathSequence") or []]
    return paths if len(paths) > 1 else []


def _focal_plane(header: Dataset, position: Dataset) -> int:
    heights = {
        round(float(item.PlanePositionSlideSequence[0].get("ZOffsetInSlideCoordinateSystem", 0)), 3)
        for item in header.get("PerFrameFunctionalGroupsSequence") or []
        if item.get("PlanePositionSlideSequence")
    }
    own = round(float(position.get("ZOffsetInSlideCoordinateSystem", 0)), 3)
    return sorted(heights | {own}).index(own)


def group_of(header: Dataset, number: int, group: str) -> Dataset | None:
    """Return the item of a functional group that applies to a frame, or None.

    Parameters
    ----------
    header
        The data set.
    number
        Index of the frame, from 0.
    group
        Keyword of the functional group.
    """
    frames = header.get("PerFrameFunctionalGroupsSequence")
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for place in [*([frames[number]] if frames else []), *shared]:
        if place.get(group):
            item: Dataset = place[group].value[0]
            return item
    return None


def _segment_numbers(header: Dataset) -> list[int]:
    if header.get("SegmentationType") in (None, "LABELMAP"):
        return []
    return sorted(int(item.SegmentNumber) for item in header.SegmentSequence)


def _segment(header: Dataset, number: int) -> int | None:
    if header.get("SegmentationType") in (None, "LABELMAP"):
        return None
    group = group_of(header, number, "SegmentIdentificationSequence")
    return int(group.ReferencedSegmentNumber) if group is not None else None


def _position(header: Dataset, number: int) -> float | None:
    place = group_of(header, number, "PlanePositionSequence") or header
    plane = group_of(header, number, "PlaneOrientationSequence") or header
    position = place.get("ImagePositionPatient")
    orientation = plane.get("ImageOrientationPatient")
    if not position or not orientation:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    offsets = header.get("GridFrameOffsetVector")
    extra = 0.0 if offsets is None else float(np.atleast_1d(offsets)[number])
    return round(float(np.dot(normal / np.linalg.norm(normal), position)) + extra, 3)


def difference(presented: Planes, expected: Planes, limit: float) -> Difference:
    """Compare planes with those expected.

    Parameters
    ----------
    presented
        Planes of the engine; those for which no frame is stored are blank.
    expected
        Planes of another reader.
    limit
        Levels that values may differ by.
    """
    missing = sorted(set(expected) - set(presented), key=str)
    if missing:
        places = sorted(presented, key=str)
        return Difference(np.inf, f"no planes at {missing[:3]}; there are {places[:3]}")
    worst = 0.0
    for place, planes in presented.items():
        remaining = list(expected.get(place, []))
        for plane in planes:
            levels = [_levels(plane, other) for other in remaining]
            nearest = int(np.argmin(levels)) if levels else -1
            if levels and levels[nearest] <= limit:
                worst = max(worst, levels[nearest])
                remaining.pop(nearest)
            elif not _is_blank(plane):
                least = min(levels, default=np.inf)
                return Difference(least, f"a plane at {place} differs by {least:g}")
        if remaining:
            return Difference(np.inf, f"{len(remaining)} frames at {place} are lost")
    return Difference(worst)


def _levels(a: Plane, b: Plane) -> float:
    """Return the greatest difference of two planes; infinite if their shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(wide_a) & np.isnan(wide_b))
    return float(np.where(same, 0, np.abs(wide_a - wide_b)).max(initial=0))


def _is_blank(plane: Plane) -> bool:
    return bool((plane == 0).all() or (plane.dtype.kind == "f" and np.isnan(plane).all()))
