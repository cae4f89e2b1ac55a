"""A slide of a million tiles: its table is small in memory, and smaller pickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from support.generate.many_tiles import slide_of_holes, tile_lengths
from xarray_dicom.dataset import HANDLE
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import ExactOffsets, FrameOffsets
from xarray_dicom.runtime import run

SIDE = 1000
TABLES: list[tuple[Literal["eot", "bot"], tuple[int, int]]] = [
    ("eot", (8_000, 30_000)),
    # 32 bits reach no further than 4 GiB.
    ("bot", (500, 4_000)),
]


def instance_of(dataset: xr.Dataset) -> IndexedFrames:
    (instance,) = dataset.image.encoding[HANDLE].sources
    assert isinstance(instance, IndexedFrames)
    return instance


def nbytes(offsets: FrameOffsets) -> int:
    """Bytes of the arrays that a table holds."""
    fields: list[Any] = [getattr(offsets, name) for name in offsets.__slots__]  # type: ignore[attr-defined]
    return sum(field.nbytes for field in fields if isinstance(field, np.ndarray))


@pytest.mark.parametrize(("table", "bounds"), TABLES)
def test_a_million_tiles(
    table: Literal["eot", "bot"], bounds: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "slide.dcm"
    lengths = tile_lengths(SIDE**2, *bounds)
    corner = SIDE**2 // 2 + SIDE // 2
    tile = slide_of_holes(path, lengths, table=table, written=(0, corner, -1))
    dataset = xr.open_dataset(path, engine="dicom")
    image = dataset.image
    assert image.shape == (256 * SIDE, 256 * SIDE, 3)
    for row, column in ((0, 0), (SIDE // 2, SIDE // 2), (SIDE - 1, SIDE - 1)):
        y, x = 256 * row, 256 * column
        found = image[y : y + 256, x : x + 256].values
        assert np.abs(found.astype(int) - tile).max() <= 1

    offsets = run(instance_of(dataset).frame_offsets())
    n = offsets.n_frames
    assert n == SIDE**2
    assert nbytes(offsets) <= 12 * n + 8
    pickled = pickle.dumps(offsets)
    assert len(pickled) < 2 * n
    again = pickle.loads(pickled)
    assert pickle.dumps(again) == pickled
    frames = np.arange(0, n, 997)
    one, two = offsets.byte_ranges(frames), again.byte_ranges(frames)
    np.testing.assert_array_equal(one.offset, two.offset)
    np.testing.assert_array_equal(one.length, two.length)


def offsets_of(lengths: NDArray[np.int64], odd: NDArray[np.int64]) -> ExactOffsets:
    """Codestreams one behind the other, `odd` bytes further off than is usual."""
    padded = lengths + lengths % 2
    ends = np.cumsum(8 + odd + padded)
    start = ends - padded
    return ExactOffsets.from_lengths(start, lengths, int(ends[-1]) + 8)


LENGTHS = hnp.arrays(np.int64, st.integers(1, 50), elements=st.integers(1, 2**33))


@given(LENGTHS, st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_tables_of_any_kind_come_back(lengths: NDArray[np.int64], most: int, random: Any) -> None:
    odd = np.array([random.randint(0, most) for _ in lengths], np.int64)
    offsets = offsets_of(lengths, odd)
    order = np.array(random.sample(range(len(lengths)), len(lengths)))
    # TIFF directories may list tiles in another order than the bytes have.
    shuffled = ExactOffsets.from_lengths(offsets.offset[order], lengths[order], offsets.end)
    for table in (offsets, shuffled):
        again = pickle.loads(pickle.dumps(table))
        np.testing.assert_array_equal(again.offset, table.offset)
        np.testing.assert_array_equal(again.length, table.length)
        assert again.length.dtype == table.length.dtype
        assert (again.end, again.table) == (table.end, table.table)


@pytest.mark.parametrize("most", [3_000, 65_000, 200_000])
def test_lengths_without_any_pattern_pickle_to_three_bytes(most: int) -> None:
    lengths = np.random.default_rng(1).integers(most // 4, most, 300_000)
    offsets = offsets_of(lengths, np.zeros_like(lengths))
    assert len(pickle.dumps(offsets)) < 3 * len(lengths)
