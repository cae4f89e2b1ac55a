"""Accessor ``.dicom`` of xarray's datasets, arrays and trees."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xarray_dicom.accessor.array_accessor import DicomAccessor
from xarray_dicom.accessor.tree_accessor import DicomTreeAccessor

__all__ = ["DicomAccessor", "DicomTreeAccessor", "register"]


def register() -> None:
    """Register ``.dicom`` with xarray."""
    registrations: tuple[tuple[Any, type], ...] = (
        (xr.register_dataset_accessor, DicomAccessor),
        (xr.register_dataarray_accessor, DicomAccessor),
        (xr.register_datatree_accessor, DicomTreeAccessor),
    )
    for decorator, accessor in registrations:
        decorator("dicom")(accessor)
