"""Frames of uncompressed pixels are read in runs: the same values, whatever the run."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from xarray.core.indexing import OuterIndexer

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.instance import open_instance
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.placement import Placed
from xarray_dicom.pixels.transform import (
    Fraction,
    LookupTable,
    PerFrame,
    RealWorldTable,
    RealWorldValue,
    Rescale,
    Stored,
    Transform,
)
from xarray_dicom.reading import decode, plan
from xarray_dicom.reading.array import DicomArray
from xarray_dicom.runtime import run
from xarray_dicom.storage import BytesSource
from xarray_dicom.storage.request_sizing import RequestSizing

Pixels = NDArray[Any]
F4 = np.float32


def instance_of(content: bytes, shape: tuple[int, ...], bits: tuple[int, int], signed: int) -> Any:
    """An instance of native frames, ``(frames, rows, columns[, 3])``."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = shape[:3]
    dataset.SamplesPerPixel = 3 if len(shape) == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if len(shape) == 4 else "MONOCHROME2"
    if len(shape) == 4:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, signed
    dataset.PixelData = content + bytes(len(content) % 2)
    dataset["PixelData"].VR = "OW" if bits[0] == 16 else "OB"
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return run(open_instance(BytesSource(file.getvalue()), first=4096)).frames


def stored_frames(
    kind: str, n_frames: int, tile: tuple[int, int], seed: int
) -> tuple[IndexedFrames, Pixels]:
    """An instance of frames of some depth, and their stored values."""
    rng = np.random.default_rng(seed)
    shape: tuple[int, ...] = (n_frames, *tile)
    if kind == "1 bit":
        pixels = rng.integers(0, 2, shape).astype(np.uint8)
        packed = np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
        return instance_of(packed, shape, (1, 1), 0), pixels
    if kind == "12 bits signed":
        pixels = rng.integers(-2048, 2048, shape).astype(np.int16)
        dirty = (pixels & 0xFFF) | (rng.integers(0, 16, shape) << 12).astype(np.int16)
        return instance_of(dirty.astype("<i2").tobytes(), shape, (16, 12), 1), pixels
    if kind == "RGB":
        shape = (*shape, 3)
    pixels = rng.integers(0, 251, shape).astype(np.uint8)
    return instance_of(pixels.tobytes(), shape, (8, 8), 0), pixels


def per_frame(n: int, *values: float) -> NDArray[np.float32]:
    return np.resize(np.array(values, F4), n)


def transforms(dtype: np.dtype[Any], n: int) -> dict[str, Transform]:
    """One of each kind, of as many frames."""
    rescale = Rescale(per_frame(n, 0.5, -2, 3), per_frame(n, 0, 7.25))
    table = np.arange(40, dtype=F4) / 3
    return {
        "stored": Stored(dtype),
        "uniform": Rescale.of(0.1, -3.0, dtype),
        "no intercept": Rescale.of(-0.1, 0.0, dtype),
        "per frame": rescale,
        "table": LookupTable(5, table),
        "real world": RealWorldValue(
            rescale.slope, rescale.intercept, per_frame(n, 0, 3), per_frame(n, 1, 90, 200)
        ),
        "real world table": RealWorldTable(5, table),
        "fraction": Fraction(2**16),
        "one each": PerFrame((rescale, Rescale.of(0.25, 1.0, dtype)), (0, 1) * n),
    }


KINDS = ["1 bit", "8 bits", "12 bits signed", "RGB"]


@pytest.mark.parametrize("name", list(transforms(np.dtype(np.uint8), 1)))
@pytest.mark.parametrize("kind", KINDS)
def test_several_frames_are_transformed_as_one_by_one(kind: str, name: str) -> None:
    _, stored = stored_frames(kind, 7, (4, 5), 1)
    transform = transforms(stored.dtype, 9)[name]
    frames = np.array([8, 0, 3, 3, 1, 2, 7])
    one_by_one = [
        transform.apply(f.copy(), n) for f, n in zip(stored, frames.tolist(), strict=True)
    ]
    expected = np.stack(one_by_one)
    np.testing.assert_array_equal(transform.apply(stored.copy(), frames), expected)
    out = np.zeros((14, 4, 10, *stored.shape[3:]), transform.dtype)[::-2, :, ::2]
    assert transform.apply(stored.copy(), frames, out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))


def selections(size: int) -> st.SearchStrategy[Any]:
    edge = st.none() | st.integers(-size, size)
    return st.builds(slice, edge, edge, st.none() | st.integers(1, 3)) | st.lists(
        st.integers(0, size - 1), min_size=1, max_size=size + 2
    ).map(lambda chosen: np.asarray(chosen, np.int64))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(KINDS), st.integers(1, 14), st.integers(0, 3))
def test_selections_of_runs(data: st.DataObject, kind: str, n: int, seed: int) -> None:
    tile = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    instance, stored = stored_frames(kind, n, tile, seed)
    n_cells = n + data.draw(st.integers(0, 3))
    order = data.draw(st.sampled_from(["ascending", "descending", "any"]))
    cells = np.arange(n) if order != "any" else np.array(data.draw(st.permutations(range(n_cells))))
    cells = (cells[::-1] if order == "descending" else cells)[:n]
    shown = np.arange(n)
    if data.draw(st.booleans()):
        # The same frame may stand in more than one cell, and others in none.
        shown = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n)))
    transform = data.draw(st.sampled_from(list(transforms(stored.dtype, n).values())))
    placement = Placed(shown, cells, None, None, n_cells=n_cells, plane=tile, tile=tile)
    frames = FrameArray((instance,), (n_cells,), tile, placement, transform, 77)
    whole = np.full((n_cells, *stored.shape[1:]), 77, transform.dtype)
    for frame, cell in zip(shown.tolist(), cells.tolist(), strict=True):
        whole[cell] = transform.apply(stored[frame].copy(), frame)
    key = tuple(data.draw(selections(size)) for size in whole.shape)
    expected = whole
    for axis, pick in enumerate(key):
        expected = expected[(slice(None),) * axis + (pick,)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "NATIVE_RUN", data.draw(st.sampled_from([1, 60, 2**20])))
        patch.setattr(decode, "LEAST_SHARE", data.draw(st.sampled_from([1, 2**20])))
        small = RequestSizing(largest=data.draw(st.sampled_from([1, 30, 2**20])))
        patch.setattr("xarray_dicom.storage.file_source.RequestSizing", lambda: small)
        got = DicomArray(frames)[OuterIndexer(key)]
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def stack(
    instance: IndexedFrames, n: int, tile: tuple[int, int], transform: Transform
) -> FrameArray:
    placement = Placed(np.arange(n), np.arange(n), None, None, n_cells=n, plane=tile, tile=tile)
    return FrameArray((instance,), (n,), tile, placement, transform)


def test_nothing_is_made_for_each_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    n, tile = 5000, (5, 7)
    instance, stored = stored_frames("1 bit", n, tile, 1)
    made = []

    class Counted(plan.Target):
        def __new__(cls, *args: Any) -> Any:
            made.append(args)
            return object.__new__(cls)

    monkeypatch.setattr(plan, "Target", Counted)
    array = DicomArray(stack(instance, n, tile, Stored(stored.dtype)))
    got = array[OuterIndexer((slice(1, None), slice(1, 4), slice(None, None, 2)))]
    np.testing.assert_array_equal(got, stored[1:, 1:4, ::2])
    assert 1 <= len(made) < 20


def test_gaps_between_the_frames_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    n, tile = 600, (9, 3)
    instance, stored = stored_frames("1 bit", n, tile, 2)
    array = DicomArray(stack(instance, n, tile, Stored(stored.dtype)))
    for every in (2, 7, 100):
        got = array[OuterIndexer((slice(3, None, every), slice(None), slice(None)))]
        np.testing.assert_array_equal(got, stored[3::every])


def test_the_frame_that_fails_is_named() -> None:
    n, tile = 40, (3, 4)
    instance, stored = stored_frames("8 bits", n, tile, 3)
    limit = int(stored[:23].max())
    first = next(number for number in range(n) if stored[number].max() > limit)
    array = DicomArray(stack(instance, n, tile, Fraction(limit)))
    with pytest.raises(CorruptDicomError, match=rf"frame {first + 1}: it has values above"):
        array[OuterIndexer((slice(None), slice(None), slice(None)))]
    got = array[OuterIndexer((slice(0, first), slice(None), slice(None)))]
    np.testing.assert_array_equal(got, stored[:first] / np.float32(limit))


def test_unsupported_pixels_are_named() -> None:
    instance, _ = stored_frames("RGB", 3, (2, 2), 4)
    odd = replace(instance.format, photometric="HSV")
    other = IndexedFrames(instance.source, odd, 3, run(instance.frame_offsets()))
    array = DicomArray(stack(other, 3, (2, 2), Stored(np.dtype(np.uint8))))
    with pytest.raises(ValueError, match=r"frame 1: Photometric Interpretation .*HSV"):
        array[OuterIndexer((slice(None),) * 4)]
