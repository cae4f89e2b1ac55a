"""Headers and segment descriptions of the object behind an array."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pandas as pd
import xarray as xr
from pydicom.dataset import Dataset

from xarray_dicom.accessor.subject import handle_of
from xarray_dicom.errors import DicomError
from xarray_dicom.instance import Instance
from xarray_dicom.parsing.header import complete_header
from xarray_dicom.parsing.inflated import InflatedSource
from xarray_dicom.runtime import run


def headers_of(array: xr.DataArray) -> list[Dataset]:
    """Complete headers of all instances behind `array`."""
    return run(_headers(handle_of(array).instances))


def header_of(array: xr.DataArray) -> Dataset:
    """Complete header of the one instance behind `array`.

    Raises
    ------
    DicomError
        If there are several.
    """
    instances = handle_of(array).instances
    if len(instances) > 1:
        raise DicomError(
            f"{array.name!r} was opened from {len(instances)} objects: use .dicom.headers"
        )
    return run(_headers(instances))[0]


def first_header_of(array: xr.DataArray) -> Dataset:
    """Complete header of the first instance behind `array`."""
    return run(_headers(handle_of(array).instances[:1]))[0]


async def _headers(instances: tuple[Instance, ...]) -> list[Dataset]:
    return list(await asyncio.gather(*(_header(instance) for instance in instances)))


async def _header(instance: Instance) -> Dataset:
    source = instance.source
    return await complete_header(source.source if isinstance(source, InflatedSource) else source)


def segments_of(array: xr.DataArray) -> pd.DataFrame:
    """Segment descriptions as a table indexed by number.

    Raises
    ------
    DicomError
        If the object is no segmentation.
    """
    segments = handle_of(array).segments
    if not segments:
        raise DicomError(f"{array.name!r} has no segments: it is no segmentation")
    table = pd.DataFrame([asdict(segment) for segment in segments])
    names = {name: f"segment_{name}" for name in table.columns if not name.startswith("tracking")}
    return table.rename(columns=names | {"number": "segment"}).set_index("segment")
