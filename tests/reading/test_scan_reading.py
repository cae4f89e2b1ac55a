"""Reads of slides without an offset table: frames come from the bytes that are searched."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import io
import itertools
import math
import pickle
import time
from collections.abc import Iterator, Sequence
from typing import Any

import imagecodecs
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import xarray_dicom
from support.generate.attributes import header_bytes
from support.generate.slide import CODINGS, slide_header
from support.generate.texture import histology
from support.proxy import LatencyProxy
from support.servers import Server
from xarray_dicom import CorruptDicomError
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import FrameOffsets
from xarray_dicom.instance import open_instance
from xarray_dicom.runtime import run, runtime
from xarray_dicom.storage import BytesSource, RecordingSource

TILE = 256
ACROSS = 16
CODING = CODINGS["jpeg-ybr422"]

SECONDS = 60


@functools.cache
def tiles() -> tuple[list[bytes], list[NDArray[Any]]]:
    """Different tiles as JPEG, and what another decoder makes of them."""
    encoded = []
    for number in range(7):
        area = slice(TILE * number, TILE * (number + 1))
        pixels = histology(area, area, focal_plane=number % 3)
        blob = imagecodecs.jpeg8_encode(pixels, level=70 + 4 * number, subsampling="422")
        encoded.append(blob + bytes(len(blob) % 2))
    return encoded, [imagecodecs.jpeg8_decode(blob) for blob in encoded]


def item(payload: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + len(payload).to_bytes(4, "little") + payload


@functools.cache
def slide_bytes(down: int, *, fragments: int = 1, n_frames: int | None = None) -> bytes:
    """A slide of `down` rows of tiles, repeated, with an empty offset table."""
    dataset = slide_header(
        name="scanned", shape=(down * TILE, ACROSS * TILE), tile=TILE, coding=CODING
    )
    stored = n_frames or dataset.NumberOfFrames
    file = io.BytesIO()
    file.write(header_bytes(dataset, CODING.transfer_syntax))
    file.write(b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + item(b""))
    for blob in itertools.islice(itertools.cycle(tiles()[0]), stored):
        step = 2 * math.ceil(len(blob) / fragments / 2)
        for start in range(0, len(blob), step):
            file.write(item(blob[start : start + step]))
    file.write(b"\xfe\xff\xdd\xe0\0\0\0\0")
    return file.getvalue()


def expected(rows: slice, columns: slice) -> NDArray[Any]:
    """Pixels of a region that starts and ends on borders of tiles."""
    decoded = tiles()[1]
    return np.concatenate(
        [
            np.concatenate(
                [
                    decoded[(row * ACROSS + column) % len(decoded)]
                    for column in range(columns.start // TILE, columns.stop // TILE)
                ],
                axis=1,
            )
            for row in range(rows.start // TILE, rows.stop // TILE)
        ]
    )


def opened(blob: bytes, **options: Any) -> tuple[xr.DataArray, RecordingSource]:
    source = RecordingSource(BytesSource(blob))
    image = xr.open_dataset(source, engine="dicom", **options).image
    return image, source


def twice(requests: Sequence[tuple[int, int]]) -> int:
    """Bytes that were asked for more than once."""
    reach, again = 0, 0
    for offset, length in sorted(requests):
        again += max(0, min(reach, offset + length) - offset)
        reach = max(reach, offset + length)
    return again


@pytest.fixture(autouse=True)
def no_budget_is_lost() -> Iterator[None]:
    yield
    deadline = time.monotonic() + SECONDS
    while runtime().budget.used and time.monotonic() < deadline:
        time.sleep(0.001)
    assert runtime().budget.used == 0


@pytest.mark.parametrize("memory_budget", [None, 1, 2**20])
def test_a_whole_slide_is_fetched_once(memory_budget: int | None) -> None:
    blob = slide_bytes(24)
    image, source = opened(blob, memory_budget=memory_budget)
    pixels = image.values
    np.testing.assert_array_equal(pixels, expected(slice(0, 24 * TILE), slice(0, ACROSS * TILE)))
    # Opening included.
    assert source.bytes_read <= 1.01 * len(blob)
    source.clear()
    np.testing.assert_array_equal(image.copy().values, pixels)
    assert source.bytes_read <= len(blob)


def test_a_region_near_the_start_costs_the_same_however_large_the_slide() -> None:
    costs = []
    for down in (8, 64):
        image, source = opened(slide_bytes(down))
        source.clear()
        rows, columns = slice(0, 2 * TILE), slice(2 * TILE, 4 * TILE)
        np.testing.assert_array_equal(image[rows, columns].values, expected(rows, columns))
        costs.append((source.bytes_read, len(source.requests)))
    assert costs[0] == costs[1]
    assert costs[1][0] < 2**20 < len(slide_bytes(64)) / 8
    assert costs[1][1] <= 3


def test_a_region_at_the_end_takes_one_scan_and_its_frames_with_it() -> None:
    blob = slide_bytes(64)
    image, source = opened(blob)
    rows, columns = slice(62 * TILE, 64 * TILE), slice(0, 3 * TILE)
    np.testing.assert_array_equal(image[rows, columns].values, expected(rows, columns))
    assert source.bytes_read <= 1.01 * len(blob)
    assert twice(source.requests) == 0


def test_what_is_known_is_not_scanned_again() -> None:
    blob = slide_bytes(64)
    image, source = opened(blob)
    frame = len(blob) / 64 / ACROSS
    image[32 * TILE, 0].values  # noqa: B018
    source.clear()
    rows, columns = slice(10 * TILE, 12 * TILE), slice(5 * TILE, 7 * TILE)
    np.testing.assert_array_equal(image[rows, columns].values, expected(rows, columns))
    assert source.bytes_read < 6 * frame
    assert len(source.requests) <= 2
    source.clear()
    # Half of it is known, half of it is not.
    rows = slice(20 * TILE, 64 * TILE)
    np.testing.assert_array_equal(image[rows, columns].values, expected(rows, columns))
    assert source.bytes_read < 0.6 * len(blob)
    source.clear()
    rows = slice(62 * TILE, 64 * TILE)
    np.testing.assert_array_equal(image[rows, columns].values, expected(rows, columns))
    assert source.bytes_read < 6 * frame


@pytest.mark.parametrize("memory_budget", [None, 1])
def test_concurrent_reads_share_the_scan(memory_budget: int | None) -> None:
    blob = slide_bytes(24)
    image, source = opened(blob, memory_budget=memory_budget)
    source.clear()
    regions = [
        (slice(0, 24 * TILE), slice(0, ACROSS * TILE)),
        (slice(0, 24 * TILE), slice(3 * TILE, 4 * TILE)),
        (slice(20 * TILE, 24 * TILE), slice(0, ACROSS * TILE)),
        (slice(TILE, 2 * TILE), slice(0, TILE)),
    ]

    async def together() -> list[xr.DataArray]:
        reads = (image[region].load_async() for region in regions)
        return await asyncio.wait_for(asyncio.gather(*reads), SECONDS)

    for region, found in zip(regions, asyncio.run(together()), strict=True):
        np.testing.assert_array_equal(found.values, expected(*region))
    # A read that comes a block late fetches what it missed.
    assert twice(source.requests) < 2 * 4 * 2**20
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda region: image[region].copy().values, regions))
    np.testing.assert_array_equal(again[1], expected(*regions[1]))


def test_several_slides_without_a_table_in_one_read(tmp_path: Any) -> None:
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_bytes(slide_bytes(4))
    paths = sorted(tmp_path.glob("*.dcm"))
    images = [xr.open_dataset(path, engine="dicom").image for path in paths]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for pixels in pool.map(lambda image: image.values, images, timeout=SECONDS):
            np.testing.assert_array_equal(
                pixels, expected(slice(0, 4 * TILE), slice(0, ACROSS * TILE))
            )


def test_fragmented_frames_are_found_then_fetched() -> None:
    blob = slide_bytes(8, fragments=3)
    image, source = opened(blob)
    source.clear()
    np.testing.assert_array_equal(
        image.values, expected(slice(0, 8 * TILE), slice(0, ACROSS * TILE))
    )
    assert source.bytes_read <= 2 * len(blob)


def test_rows_and_columns_repeated_and_out_of_order() -> None:
    image, _ = opened(slide_bytes(8))
    whole = expected(slice(0, 8 * TILE), slice(0, ACROSS * TILE))
    rows, columns = [1900, 3, 3, 700, 2047, 0], [4095, 17, 17, 2000]
    np.testing.assert_array_equal(image[rows, columns].values, whole[np.ix_(rows, columns)])
    image, _ = opened(slide_bytes(8))
    y, x = np.random.default_rng(0).integers(0, 2048, (2, 50))
    points = image.isel(y=xr.DataArray(y, dims="p"), x=xr.DataArray(x, dims="p"))
    np.testing.assert_array_equal(points.values, whole[y, x])


def test_a_wrong_number_of_frames_raises_once_it_is_known() -> None:
    image, _ = opened(slide_bytes(16, n_frames=300))
    corner = slice(0, TILE)
    np.testing.assert_array_equal(image[corner, corner].values, expected(corner, corner))
    for region in (slice(15 * TILE, None), corner):
        with pytest.raises(CorruptDicomError, match="300 fragments hold 256 frames"):
            image[region, region].copy().values  # noqa: B018


def test_a_truncated_slide_reads_as_far_as_it_goes() -> None:
    blob = slide_bytes(16)
    image, _ = opened(blob[: len(blob) // 2])
    top, left = slice(0, 4 * TILE), slice(0, TILE)
    np.testing.assert_array_equal(image[top, left].values, expected(top, left))
    with (
        pytest.warns(UserWarning, match="before its delimiter"),
        pytest.warns(UserWarning, match="of 256 frames are stored"),
        pytest.raises(CorruptDicomError, match=r"frame \d+: (it is|its bytes are) missing"),
    ):
        image.copy().values  # noqa: B018
    np.testing.assert_array_equal(image[top, left].copy().values, expected(top, left))


def test_a_damaged_frame_that_passes_by_is_named() -> None:
    blob = bytearray(slide_bytes(16))
    lengths = [len(tile) + 8 for tile in itertools.islice(itertools.cycle(tiles()[0]), 40)]
    at = blob.index(item(b"") + item(tiles()[0][0])) + 8 + sum(lengths) + 8
    assert blob[at : at + 3] == b"\xff\xd8\xff"
    blob[at + 3 : at + 400] = bytes(397)
    image, _ = opened(bytes(blob))
    with pytest.raises(CorruptDicomError, match="bytes>: frame 41"):
        image.values  # noqa: B018
    top = slice(0, 2 * TILE)
    np.testing.assert_array_equal(image[top].copy().values, expected(top, slice(0, ACROSS * TILE)))


class Bar:
    """A bar that remembers."""

    made: list[Bar]

    def __init__(self, *, total: int, desc: str, **_: Any) -> None:
        self.total, self.desc, self.done, self.closed = total, desc, 0, False
        self.made.append(self)

    def update(self, n: int, /) -> None:
        self.done += n

    def close(self) -> None:
        self.closed = True


def test_a_bar_over_a_slow_line(s3_server: Server) -> None:
    blob = slide_bytes(24)
    url = s3_server.put("scanned.dcm", blob)
    Bar.made = []
    xarray_dicom.set_progress(Bar)
    try:
        with LatencyProxy(s3_server.port, latency=0.01, bandwidth=40e6) as proxy:
            options = {**s3_server.storage_options, "endpoint_url": proxy.endpoint_url}
            image = xr.open_dataset(url, engine="dicom", storage_options=options).image
            sent = proxy.bytes_sent
            np.testing.assert_array_equal(
                image.values, expected(slice(0, 24 * TILE), slice(0, ACROSS * TILE))
            )
            assert proxy.bytes_sent - sent <= 1.02 * len(blob)
    finally:
        xarray_dicom.set_progress(None)
    (bar,) = Bar.made
    assert bar.desc == f"finding frames of {url}"
    assert bar.closed
    assert 0.9 * len(blob) < bar.done <= bar.total + 1000 < 1.01 * len(blob)


def instance_of(blob: bytes) -> IndexedFrames:
    return run(open_instance(BytesSource(blob), first=2**16)).frames


def test_what_a_scan_finds_is_remembered_once() -> None:
    instance = instance_of(slide_bytes(8))
    remembered: list[FrameOffsets] = []

    async def remember(offsets: FrameOffsets) -> None:
        remembered.append(offsets)
        raise OSError("the disk is full")

    instance.on_located(remember)
    offsets = run(instance.locate(3))
    assert not remembered
    assert not instance.has_offsets
    offsets.byte_ranges(np.arange(4))
    whole = run(instance.frame_offsets())
    assert remembered == [whole]
    assert run(instance.frame_offsets()) is whole
    assert run(instance.locate(3)) is whole
    assert remembered == [whole]


def test_a_pickle_completes_the_scan() -> None:
    instance = instance_of(slide_bytes(8))

    async def remember(offsets: FrameOffsets) -> None:
        await asyncio.sleep(0)

    instance.on_located(remember)
    run(instance.locate(3))
    copy = pickle.loads(pickle.dumps(instance))
    assert copy.has_offsets
    frames = np.arange(instance.n_frames)
    for one, other in zip(
        (run(copy.frame_offsets()).byte_ranges(frames).offset, run(copy.frame_offsets()).n_frames),
        (run(instance.frame_offsets()).byte_ranges(frames).offset, instance.n_frames),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
