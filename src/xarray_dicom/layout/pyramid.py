"""Levels of a slide: by resolution, with origins that agree (PS3.3 C.8.12.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.layout.concatenation import JoinedInstance
from xarray_dicom.layout.coordinate import Coordinate
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.tiled import matrix_size

#: Origins closer than this, in mm, are the same.
SAME_ORIGIN = 1e-6

#: Image Type value 3 of the images that accompany the levels, and their names in a tree.
ASSOCIATED = {"OVERVIEW": "overview", "THUMBNAIL": "thumbnail", "LABEL": "label"}


def associated_name(image: JoinedInstance) -> str:
    """Return the name in a tree of an image that accompanies the levels; empty for a level."""
    values = image.first.get("ImageType") or []
    flavor = str(values[2]) if not isinstance(values, str) and len(values) > 2 else ""
    return ASSOCIATED.get(flavor, "")


def split_pyramids(images: Sequence[JoinedInstance]) -> list[list[list[JoinedInstance]]]:
    """Group the levels of a series into pyramids, and each pyramid by size, finest first.

    Levels belong together by Pyramid UID (0008,0019), else by extent: one is the other at a
    coarser resolution, within a pixel of the coarser one.
    """
    sizes: dict[tuple[str, tuple[int, int]], list[JoinedInstance]] = {}
    for image in images:
        uid = str(image.first.get("PyramidUID") or "")
        sizes.setdefault((uid, matrix_size(image.first)), []).append(image)
    ordered = sorted(sizes.items(), key=lambda item: -item[0][1][0] * item[0][1][1])
    pyramids: list[tuple[str, tuple[int, int], list[list[JoinedInstance]]]] = []
    for (uid, size), level in ordered:
        for pyramid_uid, finest, levels in pyramids:
            if pyramid_uid == uid and (uid or _same_extent(finest, size)):
                levels.append(level)
                break
        else:
            pyramids.append((uid, size, [level]))
    return [levels for _, _, levels in pyramids]


def _same_extent(finest: tuple[int, int], coarse: tuple[int, int]) -> bool:
    factors = [fine / few for fine, few in zip(finest, coarse, strict=True)]
    factor = min(factors)
    return all(
        abs(fine - few * factor) <= factor + 1e-9 for fine, few in zip(finest, coarse, strict=True)
    )


def share_origin(levels: Sequence[ImageLayout]) -> list[ImageLayout]:
    """Place the levels of one pyramid, finest first, so that their outer edges coincide.

    Most writers repeat the origin of the finest level, which is the centre of its first
    pixel, in all levels: a coarser one is then shifted by half the difference of the
    spacings. A level with an origin of its own is left there.
    """
    finest = levels[0]
    placed = [finest]
    for level in levels[1:]:
        if _is_own_reference(level) and _is_own_reference(finest):
            level = replace(level, frame_of_reference=finest.frame_of_reference)
        shift = _shift(finest, level)
        placed.append(level if shift is None else _shifted(level, shift))
    return placed


def _is_own_reference(level: ImageLayout) -> bool:
    """Return True if an image has no frame of reference but its own SOP Instance UID."""
    return level.coordinate_system == "image" or not level.dataset_attrs.get("FrameOfReferenceUID")


def _shift(finest: ImageLayout, level: ImageLayout) -> dict[str, float] | None:
    """Return the shift of a level in mm along y and x; None where it stays."""
    shift = {}
    for dim in ("y", "x"):
        first, second = finest.coordinates.get(dim), level.coordinates.get(dim)
        if first is None or second is None or finest.coordinate_system != level.coordinate_system:
            return None
        fine, coarse = _spacing(finest, dim), _spacing(level, dim)
        if fine is None or coarse is None or abs(second.values[0] - first.values[0]) > SAME_ORIGIN:
            return None
        if abs(len(first.values) * fine - len(second.values) * coarse) > max(fine, coarse):
            return None
        shift[dim] = (coarse - fine) / 2
    return shift if any(shift.values()) else None


def _spacing(layout: ImageLayout, dim: str) -> float | None:
    values = layout.coordinates[dim].values
    if len(values) > 1:
        return float(values[1] - values[0])
    if layout.affine is None:
        return None
    return float(np.linalg.norm(layout.affine[:3, 1 if dim == "y" else 2]))


def _shifted(level: ImageLayout, shift: dict[str, float]) -> ImageLayout:
    coordinates = dict(level.coordinates)
    for dim, distance in shift.items():
        moved = coordinates[dim]
        coordinates[dim] = Coordinate(moved.dims, moved.values + distance, moved.attrs)
    attrs = dict(level.attrs)
    affine: NDArray[np.float64] | None = None
    if level.affine is not None:
        affine = level.affine.copy()
        for column, dim in ((1, "y"), (2, "x")):
            direction = affine[:3, column] / np.linalg.norm(affine[:3, column])
            affine[:3, 3] += direction * shift[dim]
        attrs["origin_adjusted"] = 1
    return replace(level, coordinates=coordinates, attrs=attrs, affine=affine)
