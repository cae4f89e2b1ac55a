"""Series of single-frame CT images (PS3.3 A.3): one file a plane."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from .attributes import instance, write
from .phantom import hounsfield

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SLOPE, INTERCEPT = 1.0, -1024.0


def grid_points(
    position: NDArray[np.float64],
    orientation: Sequence[float],
    shape: tuple[int, int],
    spacing: tuple[float, float],
) -> NDArray[np.float64]:
    """Patient coordinates (rows, columns, 3) of the pixel centres of one plane."""
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    row, column = np.mgrid[: shape[0], : shape[1]]
    points: NDArray[np.float64] = (
        position
        + column[..., None] * spacing[1] * along_row
        + row[..., None] * spacing[0] * along_column
    )
    return points


def ct_positions(
    planes: int,
    *,
    origin: Sequence[float],
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float, float] = (2.5, 1.5, 1.5),
    tilt: float = 0.0,
    gap: int | None = None,
) -> NDArray[np.float64]:
    """Image Position (Patient) of each plane, ascending along the normal; see `ct_series`."""
    normal = np.cross(orientation[:3], orientation[3:])
    index = np.arange(planes + (gap is not None))
    index = index[index != gap] if gap is not None else index
    step = spacing[0] * normal + tilt * np.array(orientation[3:])
    return np.array(origin) + index[:, None] * step


def ct_series(
    folder: str | Path | None = None,
    *,
    name: str = "ct",
    planes: int = 24,
    shape: tuple[int, int] = (160, 240),
    spacing: tuple[float, float, float] = (5.0, 1.5, 1.5),
    origin: Sequence[float] = (-179.25, -119.25, -57.5),
    orientation: Sequence[float] = AXIAL,
    tilt: float = 0.0,
    gap: int | None = None,
    shuffle: bool = True,
    slopes: Sequence[float] = (SLOPE,),
) -> list[Dataset]:
    """Write a CT of the phantom, one file a plane.

    Parameters
    ----------
    folder
        Where to write; None writes nothing.
    name
        Names the study and the frame of reference.
    planes, shape, spacing
        Number of planes, rows and columns, and the distances (z, y, x) in mm.
    origin
        Position of the first pixel of the lowest plane, LPS in mm.
    orientation
        Direction cosines of rows and columns.
    tilt
        Millimetres by which each plane is shifted along the columns: a tilted gantry.
    gap
        Index of a plane that is missing.
    shuffle
        Whether file names and instance numbers are out of spatial order.
    slopes
        Rescale Slopes, taken in turn.

    Returns
    -------
    list of Dataset
        In spatial order, ascending along the normal.
    """
    positions = ct_positions(
        planes, origin=origin, orientation=orientation, spacing=spacing, tilt=tilt, gap=gap
    )
    numbers = np.arange(planes)
    if shuffle:
        numbers = np.random.default_rng(7).permutation(planes)
    datasets = []
    for plane, position in enumerate(positions):
        dataset = _plane(name, int(numbers[plane]) + 1, position, orientation, shape, spacing)
        slope = slopes[plane % len(slopes)]
        points = grid_points(position, orientation, shape, spacing[1:])
        stored = np.rint((hounsfield(points) - INTERCEPT) / slope).astype("<u2")
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, INTERCEPT
        dataset.RescaleType = "HU"
        dataset.PixelData = stored.tobytes()
        dataset["PixelData"].VR = "OW"
        if folder is not None:
            target = Path(folder) / f"{numbers[plane]:04d}.dcm"
            write(dataset, target, ExplicitVRLittleEndian)
        datasets.append(dataset)
    return datasets


def _plane(
    name: str,
    number: int,
    position: NDArray[np.float64],
    orientation: Sequence[float],
    shape: tuple[int, int],
    spacing: tuple[float, float, float],
) -> Dataset:
    dataset = instance(CTImageStorage, "CT", name, "ct", number)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.PatientPosition = "HFS"
    dataset.KVP = 120
    dataset.AcquisitionNumber = 1
    dataset.ImagePositionPatient = [round(float(v), 6) for v in position]
    dataset.ImageOrientationPatient = [round(float(v), 10) for v in orientation]
    dataset.PixelSpacing = list(spacing[1:])
    dataset.SliceThickness = spacing[0]
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 60, 400
    return dataset
