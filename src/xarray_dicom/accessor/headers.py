"""Headers and segment descriptions of the objects that an array was opened from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
import xarray as xr
from pydicom.dataset import Dataset

from xarray_dicom.accessor.handle import handle_of
from xarray_dicom.dataset import Handle
from xarray_dicom.errors import DicomError
from xarray_dicom.frames.source import FrameSource
from xarray_dicom.opening import CONCURRENT_HEADERS, FIRST_OF_MANY, FIRST_OF_ONE
from xarray_dicom.parsing.header import complete_header
from xarray_dicom.parsing.inflated import InflatedSource
from xarray_dicom.runtime import enter_loop, gather, run
from xarray_dicom.storage import ByteSource


def headers_of(array: xr.DataArray) -> list[Dataset]:
    """Return the complete headers of all instances of an array, in the order of its planes."""
    return run(read_headers(_ordered_sources(handle_of(array))))


def header_of(array: xr.DataArray) -> Dataset:
    """Return the complete header of the one instance of an array.

    Raises
    ------
    DicomError
        If there are several.
    """
    sources = handle_of(array).sources
    if len(sources) > 1:
        raise DicomError(
            f"{array.name!r} was opened from {len(sources)} objects: use .dicom.headers"
        )
    return run(read_headers(sources))[0]


def first_header_of(array: xr.DataArray) -> Dataset:
    """Return the complete header of the instance of an array's first plane."""
    return run(read_headers(_ordered_sources(handle_of(array))[:1]))[0]


def byte_source_of(frames: FrameSource) -> ByteSource:
    """Return the bytes of an instance, which its header is read from.

    Raises
    ------
    DicomError
        If its frames do not lie in an object that is read by byte ranges.
    """
    source = getattr(frames, "source", None)
    if isinstance(source, InflatedSource):
        # The header of a deflated object is read from the object as it is stored.
        source = source.source
    if not isinstance(source, ByteSource):
        raise DicomError(
            "there is no header to read: the source of these frames serves them by number, "
            "without the object that they belong to",
            location=frames.location,
        )
    return source


def _ordered_sources(handle: Handle) -> tuple[FrameSource, ...]:
    """Return the frame sources in the order of their planes; those of no plane come last."""
    sources = handle.sources
    if len(sources) == 1:
        return sources
    frames = handle.array.frames
    instance = np.searchsorted(frames.starts, frames.placement.every().frame, "right") - 1
    order = dict.fromkeys([*pd.unique(instance).tolist(), *range(len(sources))])
    return tuple(sources[number] for number in order)


async def read_headers(sources: Sequence[FrameSource]) -> list[Dataset]:
    """Read the complete headers of the versions of instances that were opened.

    Raises
    ------
    DicomError
        If an instance has no header to read, or a damaged one.
    SourceChangedError
        If an object was replaced after it was opened.
    """
    byte_sources = [byte_source_of(frames) for frames in sources]
    first = FIRST_OF_MANY if len(sources) > 1 else FIRST_OF_ONE
    if not all(getattr(frames, "immediate", False) for frames in sources):
        # Requests are concurrent on the loop alone; what answers at once is read right away.
        await enter_loop()
    gate = asyncio.Semaphore(CONCURRENT_HEADERS)

    async def read_one(source: ByteSource) -> Dataset:
        async with gate:
            header = await complete_header(source, first=first)
            await source.verify()
            return header

    return await gather(read_one(source) for source in byte_sources)


def segments_of(array: xr.DataArray) -> pd.DataFrame:
    """Return segment descriptions as a table indexed by number.

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
