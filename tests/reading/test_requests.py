"""How many requests a read makes, and for how many bytes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr
from pydicom import dcmread
from pydicom.encaps import generate_frames, parse_basic_offsets

from support.counting import CountingFileSystem
from support.generate.slide import slide
from support.kinds import WITH_TABLE, content, kind
from xarray_dicom.storage import RecordingSource, open_source

TILE = 64


@pytest.fixture(autouse=True)
def fresh_counts() -> Iterator[None]:
    CountingFileSystem.forget()
    yield
    CountingFileSystem.forget()


def opened(name: str) -> xr.DataArray:
    """An image of this kind; opening is not counted."""
    made = kind(name)
    image = xr.open_dataset(made.put(), engine="dicom")[made.variable]
    CountingFileSystem.forget()
    return image


@pytest.fixture(scope="module", params=["jpeg-rgb", "native"])
def big_slide(request: pytest.FixtureRequest) -> bytes:
    return content(lambda file: slide(file, shape=(1500, 1900), tile=TILE, codec=request.param))


def frame_bytes(blob: bytes) -> list[int]:
    """Bytes of each frame of a slide, with the header of its item."""
    dataset = dcmread(io.BytesIO(blob))
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return [TILE * TILE * 3] * dataset.NumberOfFrames
    assert parse_basic_offsets(dataset.PixelData) == []
    table = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    frames = generate_frames(
        dataset.PixelData, number_of_frames=dataset.NumberOfFrames, extended_offsets=table
    )
    return [len(frame) + 8 for frame in frames]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(0, 1500), slice(0, 1900)),
        (slice(100, 900), slice(200, 1400)),
        (slice(0, 1500), slice(64, 128)),
        (slice(640, 704), slice(0, 1900)),
        (slice(70, 80), slice(70, 80)),
    ],
)
def test_a_region_of_a_slide(big_slide: bytes, rows: slice, columns: slice) -> None:
    source = RecordingSource(open_source(big_slide))
    image = xr.open_dataset(source, engine="dicom").image
    source.clear()
    region = image.isel(y=rows, x=columns).values
    assert region.shape == (rows.stop - rows.start, columns.stop - columns.start, 3)

    across = -(-1900 // TILE)
    tile_rows = range(rows.start // TILE, -(-rows.stop // TILE))
    tile_columns = range(columns.start // TILE, -(-columns.stop // TILE))
    lengths = frame_bytes(big_slide)
    needed = sum(lengths[row * across + column] for row in tile_rows for column in tile_columns)
    assert source.bytes_read <= 1.15 * needed
    assert len(source.requests) <= len(tile_rows) + source.bytes_read / 1e6 + 2


@pytest.mark.parametrize("name", WITH_TABLE)
def test_a_whole_object_is_read_once(name: str) -> None:
    image = opened(name)
    image.load()
    assert CountingFileSystem.ranges
    for path in {path for path, _, _ in CountingFileSystem.ranges}:
        ranges = sorted((a, b) for p, a, b in CountingFileSystem.ranges if p == path)
        for (_, end), (start, _) in itertools.pairwise(ranges):
            assert start >= end
    CountingFileSystem.forget()
    image.load()
    assert not CountingFileSystem.ranges


def test_points_read_the_tiles_they_lie_on() -> None:
    blob = content(lambda file: slide(file, shape=(640, 640), tile=TILE, codec="native"))
    source = RecordingSource(open_source(blob))
    image = xr.open_dataset(source, engine="dicom").image
    y, x = (xr.DataArray(p, dims="p") for p in np.random.default_rng(1).integers(0, 640, (2, 20)))
    tiles = sorted(set(zip((y.values // TILE).tolist(), (x.values // TILE).tolist(), strict=True)))
    assert len(tiles) <= 20
    source.clear()
    points = image.isel(y=y, x=x).values
    assert len(source.requests) <= len(tiles)
    assert source.bytes_read == len(tiles) * 3 * TILE * TILE
    np.testing.assert_array_equal(points, image.values[y.values, x.values])


def test_one_segment_reads_its_own_frames() -> None:
    image = opened("segmentation")
    (blob,) = kind("segmentation").objects.values()
    dataset = dcmread(io.BytesIO(blob))
    numbers = [
        item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for item in dataset.PerFrameFunctionalGroupsSequence
    ]
    frame = dataset.Rows * dataset.Columns // 8
    own = numbers.count(2)
    assert 0 < own < len(numbers)
    one = image.sel(segment=2)
    one.load()
    assert len(CountingFileSystem.ranges) == 1
    assert CountingFileSystem.bytes_read() == own * frame
    assert one.values.any()


def test_absent_frames_cost_nothing() -> None:
    image = opened("segmentation")
    whole = image.copy().load()
    CountingFileSystem.forget()
    empty = [
        (segment, z)
        for segment in range(image.sizes["segment"])
        for z in range(image.sizes["z"])
        if not whole[segment, z].any()
    ]
    assert empty
    for segment, z in empty:
        assert not image[segment, z].values.any()
    assert not CountingFileSystem.ranges
    assert not CountingFileSystem.stats


def test_a_sparse_slide_segmentation_reads_what_is_there() -> None:
    image = opened("slide-segmentation")
    whole = image.copy().load().values
    assert 0 < whole.mean() < 1
    CountingFileSystem.forget()
    assert image.isel(y=slice(0, 0)).values.size == 0
    assert not CountingFileSystem.ranges


def test_nothing_is_read_twice_by_two_selections_of_chunks() -> None:
    made = kind("slide-channels")
    image = xr.open_dataset(made.put(), engine="dicom", chunks={})[made.variable]
    CountingFileSystem.forget()
    assert image.mean().compute() > 0
    frames = sum(end - start for _, start, end in CountingFileSystem.ranges)
    assert frames == 3 * 3 * 4 * TILE * TILE
