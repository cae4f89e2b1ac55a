"""Frames in memory under any placement, and the array that they make, painted frame by frame."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.instance import open_instance
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.placement import Placed, Placement, TileGrid
from xarray_dicom.pixels.transform import Stored
from xarray_dicom.runtime import run
from xarray_dicom.storage import BytesSource


@functools.lru_cache(256)
def native(
    n_frames: int, tile: tuple[int, int], samples: int
) -> tuple[IndexedFrames, NDArray[np.uint16]]:
    """An instance of native frames, and their pixels; no value is 0."""
    shape = (n_frames, *tile) if samples == 1 else (n_frames, *tile, samples)
    dtype = np.uint16 if samples == 1 else np.uint8
    pixels = (np.arange(np.prod(shape)) % 251 + 1).astype(dtype).reshape(shape)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.NumberOfFrames = n_frames
    dataset.Rows, dataset.Columns = tile
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
    if samples > 1:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = dtype().itemsize * 8
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    content = pixels.tobytes()
    dataset.PixelData = content + bytes(len(content) % 2)
    dataset["PixelData"].VR = "OW" if samples == 1 else "OB"
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    opened = run(open_instance(BytesSource(file.getvalue()), first=4096))
    return opened.frames, pixels


@dataclass(frozen=True)
class Scene:
    """An array of frames, and what it must read as."""

    frames: FrameArray
    expected: NDArray[np.generic]


def scene(
    outer_shape: tuple[int, ...],
    plane: tuple[int, int],
    tile: tuple[int, int],
    samples: int,
    places: list[tuple[int, int, int]] | None,
    absent: tuple[int, ...] = (),
) -> Scene:
    """Place frames and paint them in their order, the later ones over the earlier.

    Parameters
    ----------
    outer_shape, plane, tile, samples
        As in `FrameArray`.
    places
        Cell, row and column of each frame; None for a full grid of tiles.
    absent
        Cells of a full grid that are not stored.
    """
    n_cells = int(np.prod(outer_shape, dtype=int))
    down, across = -(-plane[0] // tile[0]), -(-plane[1] // tile[1])
    placement: Placement
    if places is None:
        stored = [cell for cell in range(n_cells) if cell not in absent]
        # Planes are stored in another order than the cells have.
        planes = np.full(n_cells, -1, np.int64)
        planes[stored] = np.arange(len(stored))[::-1]
        placement = TileGrid(*plane, *tile, planes)
        places = [
            (cell, row * tile[0], column * tile[1])
            for cell in reversed(stored)
            for row in range(down)
            for column in range(across)
        ]
    else:
        cell, y, x = np.asarray(places, np.int64).reshape(-1, 3).T
        whole = plane == tile and not y.any() and not x.any()
        placement = Placed(
            np.arange(len(places)),
            cell,
            None if whole else y,
            None if whole else x,
            n_cells=n_cells,
            plane=plane,
            tile=tile,
        )
    instance, pixels = native(max(len(places), 1), tile, samples)
    fill = 7.0 if samples == 1 else (9.0, 8.0, 7.0)
    frames = FrameArray((instance,), outer_shape, plane, placement, Stored(pixels.dtype), fill)
    margin = max(max(abs(y), abs(x)) for _, y, x in places) if places else 0
    margin += max(tile)
    canvas = np.empty(
        (n_cells, plane[0] + 2 * margin, plane[1] + 2 * margin, samples), pixels.dtype
    )
    canvas[...] = fill
    for frame, (cell_, top, left) in zip(pixels, places, strict=False):
        rows = slice(margin + top, margin + top + tile[0])
        columns = slice(margin + left, margin + left + tile[1])
        canvas[cell_, rows, columns] = frame.reshape(*tile, samples)
    expected = canvas[:, margin : margin + plane[0], margin : margin + plane[1]]
    shape = (*outer_shape, *plane) if samples == 1 else (*outer_shape, *plane, samples)
    return Scene(frames, expected.reshape(shape))
