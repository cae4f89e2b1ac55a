"""Match of two grids of pixels, one placed on the other by padding, cropping and reversing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xarray_dicom.errors import DicomError
from xarray_dicom.layout.plane_geometry import PIXEL_TOLERANCE

Floats = NDArray[np.float64]

_AXES = "zyx"


@dataclass(frozen=True, slots=True)
class AxisMatch:
    """Offset and direction of an axis on the same axis of a target grid.

    Attributes
    ----------
    offset
        Index in the target of the first pixel; may be negative.
    flip
        True if the index in the target falls as the own one rises.
    """

    offset: int
    flip: bool


def match_grids(
    target: ArrayLike,
    affine: ArrayLike,
    target_shape: Sequence[int],
    shape: Sequence[int],
    tolerance: float = PIXEL_TOLERANCE,
) -> tuple[AxisMatch, AxisMatch, AxisMatch]:
    """Place a grid on a target grid by padding, cropping and reversing.

    Parameters
    ----------
    target, affine
        4×4 affines of the target and of the grid to be placed on it.
    target_shape, shape
        Their ``(z, y, x)`` shapes. An axis of one pixel has no step of its own.
    tolerance
        Pixels of the target by which any corner may be off.

    Returns
    -------
    tuple of AxisMatch
        For z, y and x.

    Raises
    ------
    DicomError
        If a corner is off by more; the message names the axis and the difference in mm.
    """
    target_matrix, matrix = np.array(target, np.float64), np.array(affine, np.float64)
    for axis in range(3):
        if target_shape[axis] == 1 and shape[axis] > 1:
            target_matrix[:3, axis] = matrix[:3, axis]
    try:
        relative = np.linalg.solve(target_matrix, matrix)
    except np.linalg.LinAlgError as error:
        raise DicomError("the target's affine is singular: its axes are not independent") from error
    steps = np.where(np.diagonal(relative)[:3] < 0, -1.0, 1.0)
    steps[np.asarray(shape) == 1] = 1.0
    offsets = np.rint(relative[:3, 3])

    corners = np.array(list(itertools.product(*((0, max(n - 1, 0)) for n in shape))), np.float64)
    deviation = corners @ relative[:3, :3].T + relative[:3, 3] - (corners * steps + offsets)
    corner, axis = divmod(int(np.argmax(np.abs(deviation))), 3)
    if not np.isfinite(deviation).all() or abs(deviation[corner, axis]) > tolerance:
        millimetres = abs(deviation[corner, axis]) * np.linalg.norm(target_matrix[:3, axis])
        index = tuple(int(i) for i in corners[corner])
        reason = _reason(target_matrix, matrix, shape)
        raise DicomError(
            f"the grids differ along {_AXES[axis]} by {millimetres:.4g} mm "
            f"({abs(deviation[corner, axis]):.3g} pixels) at pixel {index}{reason}; "
            "only padding, cropping and reversing are done, so resample first"
        )
    z, y, x = (AxisMatch(int(o), bool(s < 0)) for o, s in zip(offsets, steps, strict=True))
    return z, y, x


def _reason(target_matrix: Floats, matrix: Floats, shape: Sequence[int]) -> str:
    """Return the reason why grids differ: other directions or other spacing; or nothing.

    Parameters
    ----------
    target_matrix, matrix
        Affines of the target and of the other grid.
    shape
        Shape of the other grid.
    """
    lengths = np.linalg.norm(target_matrix[:3, :3], axis=0), np.linalg.norm(matrix[:3, :3], axis=0)
    cosines = np.abs(np.sum(target_matrix[:3, :3] * matrix[:3, :3], axis=0)) / (
        lengths[0] * lengths[1]
    )
    for axis, name in enumerate(_AXES):
        if shape[axis] > 1 and cosines[axis] < 1 - 1e-6:
            return f": their {name} axes point in different directions"
    for axis, name in enumerate(_AXES):
        if shape[axis] > 1 and abs(lengths[1][axis] / lengths[0][axis] - 1) > 1e-6:
            return f": spacing along {name} is {lengths[1][axis]:.6g} and {lengths[0][axis]:.6g} mm"
    return ""
