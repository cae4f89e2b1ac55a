"""Headers and segment descriptions of the object behind an array."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import numpy as np
import pandas as pd
import xarray as xr
from pydicom.dataset import Dataset

from xarray_dicom.accessor.handle import handle_of
from xarray_dicom.dataset import Handle
from xarray_dicom.errors import DicomError
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.opening import CONCURRENT_HEADERS, FIRST_OF_MANY, FIRST_OF_ONE
from xarray_dicom.parsing.header import complete_header
from xarray_dicom.parsing.inflated import InflatedSource
from xarray_dicom.runtime import run


def headers_of(array: xr.DataArray) -> list[Dataset]:
    """Complete headers of all instances behind `array`, in the order of its planes."""
    return run(read_headers(_ordered(handle_of(array))))


def header_of(array: xr.DataArray) -> Dataset:
    """Complete header of the one instance behind `array`.

    Raises
    ------
    DicomError
        If there are several.
    """
    instances = handle_of(array).sources
    if len(instances) > 1:
        raise DicomError(
            f"{array.name!r} was opened from {len(instances)} objects: use .dicom.headers"
        )
    return run(read_headers(instances))[0]


def first_header_of(array: xr.DataArray) -> Dataset:
    """Complete header of the first instance behind `array`."""
    return run(read_headers(_ordered(handle_of(array))[:1]))[0]


def _ordered(handle: Handle) -> tuple[IndexedFrames, ...]:
    """The instances in the order in which the array shows them; those it doesn't show last."""
    instances = handle.sources
    if len(instances) == 1:
        return instances
    frames = handle.array.frames
    home = np.searchsorted(frames.starts, frames.placement.every().frame, "right") - 1
    order = dict.fromkeys([*pd.unique(home).tolist(), *range(len(instances))])
    return tuple(instances[number] for number in order)


async def read_headers(instances: tuple[IndexedFrames, ...]) -> list[Dataset]:
    """Complete headers of `instances`, of the versions that were opened, fetched concurrently."""
    first = FIRST_OF_MANY if len(instances) > 1 else FIRST_OF_ONE
    gate = asyncio.Semaphore(CONCURRENT_HEADERS)

    async def one(instance: IndexedFrames) -> Dataset:
        source = instance.source
        async with gate:
            if isinstance(source, InflatedSource):
                source = source.source
            header = await complete_header(source, first=first)
            await source.verify()
            return header

    return list(await asyncio.gather(*(one(instance) for instance in instances)))


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
