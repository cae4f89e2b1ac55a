"""Frames that come by number, from no object in a store, as a web service sends them."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import pickle
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.encaps import generate_frames

from support.generate.multiframe import enhanced_mr
from support.generate.slide import slide
from xarray_dicom import CorruptDicomError, DicomError, SourceChangedError
from xarray_dicom.dataset import to_dataset
from xarray_dicom.frames.source import Budget, EncodedFrames, FrameSource, Int64s
from xarray_dicom.instance import Instance, open_instance
from xarray_dicom.layout.kinds import lay_out
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.runtime import run
from xarray_dicom.storage import open_source

LOCATION = "https://pacs.example/studies/1/series/2/instances/3"


@dataclass
class ListedFrames:
    """A `FrameSource` that has nothing but its frames, and answers three at a time, last first."""

    format: PixelFormat
    frames: list[bytes] = field(repr=False)
    location: str = LOCATION
    replaced: bool = False

    @property
    def n_frames(self) -> int:
        return len(self.frames)

    async def fetch(self, frame_numbers: Int64s, budget: Budget) -> AsyncIterator[EncodedFrames]:
        for stop in range(len(frame_numbers), 0, -3):
            await asyncio.sleep(0)
            numbers = frame_numbers[max(0, stop - 3) : stop]
            yield EncodedFrames.of_codestreams(numbers, [self.frames[n] for n in numbers.tolist()])

    async def verify(self) -> None:
        await asyncio.sleep(0)
        if self.replaced:
            raise SourceChangedError("was replaced", location=self.location)


def served(path: Path, codestreams: Callable[[pydicom.Dataset], list[bytes]]) -> Instance:
    """Return the instance in a file, its frames served by number."""
    opened = run(open_instance(open_source(path), first=2**16))
    frames = codestreams(pydicom.dcmread(path))
    source = ListedFrames(opened.frames.format, frames)
    assert isinstance(source, FrameSource)
    return replace(opened, location=LOCATION, frame_source=source)


def dataset_of(instance: Instance) -> xr.Dataset:
    (layout,) = lay_out([instance], LayoutOptions(), alone=True).values()
    return to_dataset(layout)


def native(dataset: pydicom.Dataset) -> list[bytes]:
    size = len(dataset.PixelData) // dataset.NumberOfFrames
    return [dataset.PixelData[i : i + size] for i in range(0, size * dataset.NumberOfFrames, size)]


def encapsulated(dataset: pydicom.Dataset) -> list[bytes]:
    n_frames = int(dataset.NumberOfFrames)
    return list(generate_frames(dataset.PixelData, number_of_frames=n_frames))


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, Any]:
    path = tmp_path_factory.mktemp("volume") / "mr.dcm"
    expected = enhanced_mr(path)
    return dataset_of(served(path, native)), expected


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset]:
    path = tmp_path_factory.mktemp("tiles") / "slide.dcm"
    slide(path, shape=(300, 400), tile=64)
    return dataset_of(served(path, encapsulated)), xr.open_dataset(path, engine="dicom")


def test_a_volume(volume: tuple[xr.Dataset, Any]) -> None:
    dataset, expected = volume
    np.testing.assert_array_equal(dataset.image.values, expected.reshape(dataset.image.shape))
    part = expected.reshape(dataset.image.shape)[..., 2, 5:7, ::3]
    np.testing.assert_array_equal(dataset.image[..., 2, 5:7, ::3], part)


def test_a_slide(tiles: tuple[xr.Dataset, xr.Dataset]) -> None:
    dataset, expected = tiles
    assert dataset.image.encoding["source"] == LOCATION
    xr.testing.assert_equal(
        dataset.drop_vars("frame_of_reference"), expected.drop_vars("frame_of_reference")
    )
    points = {"y": xr.DataArray([3, 299, 64], dims="p"), "x": xr.DataArray([399, 0, 63], dims="p")}
    np.testing.assert_array_equal(dataset.image.isel(points), expected.image.isel(points))


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_through_dask(tiles: tuple[xr.Dataset, xr.Dataset], scheduler: str) -> None:
    dataset, expected = tiles
    chunked = dataset.image.chunk(y=128, x=128)
    context = multiprocessing.get_context("spawn")
    with dask.config.set(scheduler=scheduler, num_workers=2, multiprocessing_context=context):
        total = chunked.astype("int64").sum().compute()
    assert int(total) == int(expected.image.astype("int64").sum())


def test_pickled_and_awaited(tiles: tuple[xr.Dataset, xr.Dataset]) -> None:
    dataset, expected = tiles
    copy = pickle.loads(pickle.dumps(dataset))
    loaded = asyncio.run(copy.image[:100].load_async())
    np.testing.assert_array_equal(loaded, expected.image[:100])


def test_what_needs_the_object_says_so(tiles: tuple[xr.Dataset, xr.Dataset]) -> None:
    dataset, _ = tiles
    with pytest.raises(DicomError, match="no header") as caught:
        dataset.dicom.header  # noqa: B018
    assert caught.value.location == LOCATION
    assert dataset.dicom.spacing.keys() == {"y", "x"}


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    content = io.BytesIO()
    slide(content, shape=(300, 400), tile=64)
    path = tmp_path / "slide.dcm"
    path.write_bytes(content.getvalue())
    instance = served(path, encapsulated)
    assert isinstance(instance.frame_source, ListedFrames)
    instance.frame_source.frames[9] = b"nothing"
    dataset = dataset_of(instance)
    with pytest.raises(CorruptDicomError) as caught:
        dataset.image.values  # noqa: B018
    assert (caught.value.location, caught.value.frame) == (LOCATION, 10)
    assert dataset.image[:64].values.any()
    instance.frame_source.replaced = True
    with pytest.raises(SourceChangedError):
        dataset.image[:64].copy().values  # noqa: B018
