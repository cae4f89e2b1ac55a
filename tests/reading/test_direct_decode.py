"""Planes that are whole frames are decoded where they belong, without a copy."""

from __future__ import annotations

import io
import threading
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, SecondaryCaptureImageStorage
from xarray.core.indexing import OuterIndexer

from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.instance import open_instance
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.placement import Placed
from xarray_dicom.pixels import FrameDecoder
from xarray_dicom.pixels.transform import Rescale, Stored, Transform
from xarray_dicom.reading import decode, reader
from xarray_dicom.reading.array import DicomArray
from xarray_dicom.runtime import run
from xarray_dicom.storage import BytesSource

Pixels = NDArray[Any]
N, TILE = 6, (20, 30)
ALL = slice(None)


@pytest.fixture(params=["grey", "colour"])
def planes(request: pytest.FixtureRequest) -> tuple[IndexedFrames, Pixels]:
    """Planes in JPEG 2000, and their pixels."""
    colour = request.param == "colour"
    shape = (N, *TILE, 3) if colour else (N, *TILE)
    dtype = np.uint8 if colour else np.uint16
    pixels = np.random.default_rng(1).integers(0, 251, shape).astype(dtype)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = N, *TILE
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    dataset.PixelData = encapsulate(
        [
            imagecodecs.jpeg2k_encode(one, 0, reversible=True, codecformat="J2K", mct=False)
            for one in pixels
        ]
    )
    dataset["PixelData"].VR = "OB"
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return run(open_instance(BytesSource(file.getvalue()), first=4096)).frames, pixels


def array_of(instance: IndexedFrames, transform: Transform, plane: tuple[int, int]) -> DicomArray:
    placement = Placed(
        np.arange(N), np.arange(N)[::-1], None, None, n_cells=N, plane=plane, tile=TILE
    )
    return DicomArray(FrameArray((instance,), (N,), plane, placement, transform))


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each frame that is decoded from now on lies elsewhere than in the output."""
    outputs: list[Pixels] = []
    found: list[bool] = []

    class Watched(reader.Output):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            outputs.append(self.pixels)

    class Recording(FrameDecoder):
        def decode_frame(self, codestream: Any, **options: Any) -> Any:
            decoded = super().decode_frame(codestream, **options)
            found.append(not np.shares_memory(decoded, outputs[-1]))
            return decoded

    monkeypatch.setattr(reader, "Output", Watched)
    monkeypatch.setattr(decode, "decoder_for", lambda _, pixel_format: Recording(pixel_format))
    monkeypatch.setattr(decode, "_threads", threading.local())
    return found


def pick(pixels: Pixels, *key: Any) -> Pixels:
    for axis, one in enumerate(key):
        pixels = pixels[(slice(None),) * axis + (one,)]
    return pixels


@pytest.mark.parametrize("z", [ALL, slice(1, None, 2), np.array([4, 0, 5])])
def test_whole_planes(planes: tuple[IndexedFrames, Pixels], copies: list[bool], z: Any) -> None:
    instance, pixels = planes
    array = array_of(instance, Stored(pixels.dtype), TILE)
    key = (z, *[ALL] * (pixels.ndim - 1))
    expected = pick(pixels[::-1], *key)
    np.testing.assert_array_equal(array[OuterIndexer(key)], expected)
    assert copies == [False] * len(expected)


@pytest.mark.parametrize(
    ("z", "y", "x"),
    [
        (ALL, slice(1, None), ALL),
        (ALL, ALL, slice(None, None, 2)),
        (ALL, np.arange(TILE[0])[::-1], ALL),
        (np.array([2, 2, 1]), ALL, ALL),
    ],
)
def test_parts_and_repeats(
    planes: tuple[IndexedFrames, Pixels], copies: list[bool], z: Any, y: Any, x: Any
) -> None:
    instance, pixels = planes
    array = array_of(instance, Stored(pixels.dtype), TILE)
    key = (z, y, x, *[ALL] * (pixels.ndim - 3))
    np.testing.assert_array_equal(array[OuterIndexer(key)], pick(pixels[::-1], *key))
    assert True in copies


def test_other_values_samples_and_planes(
    planes: tuple[IndexedFrames, Pixels], copies: list[bool]
) -> None:
    instance, pixels = planes
    key = (ALL,) * pixels.ndim
    rescaled = array_of(instance, Rescale.of(2.0, 1.0, pixels.dtype), TILE)[OuterIndexer(key)]
    np.testing.assert_array_equal(rescaled, pixels[::-1].astype(np.float32) * 2 + 1)
    wider = array_of(instance, Stored(np.dtype(np.int32)), TILE)[OuterIndexer(key)]
    np.testing.assert_array_equal(wider, pixels[::-1])
    smaller = array_of(instance, Stored(pixels.dtype), (19, 29))[OuterIndexer(key)]
    np.testing.assert_array_equal(smaller, pixels[::-1, :19, :29])
    if pixels.ndim == 4:
        swapped = array_of(instance, Stored(pixels.dtype), TILE)[
            OuterIndexer((ALL, ALL, ALL, np.array([2, 1, 0])))
        ]
        np.testing.assert_array_equal(swapped, pixels[::-1, ..., ::-1])
    assert all(copies)
