"""Coordinates of a layout, before xarray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Coordinate:
    """Labels along some dimensions, or along none.

    Attributes
    ----------
    dims
        The dimensions; empty for a scalar.
    values
        One value per position.
    attrs
        Attributes of the coordinate.
    """

    dims: tuple[str, ...]
    values: NDArray[Any]
    attrs: dict[str, Any] = field(default_factory=dict)


def texts(values: Sequence[str]) -> NDArray[Any]:
    """Return strings as an object array: fixed-width ones draw warnings when written to Zarr."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
