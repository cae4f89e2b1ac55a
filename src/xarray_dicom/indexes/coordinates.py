"""Coordinates that indexes are built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

#: Coordinates by name, as xarray hands them to an index.
Variables = Mapping[Any, xr.Variable]


def as_text(value: Any) -> str:
    """Return a label as text; netCDF files give bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def describe_variables(variables: Variables) -> str:
    """Return names, dimensions and types of coordinates, for an error."""
    return ", ".join(f"{name!r} {v.dims} {v.dtype}" for name, v in variables.items())
