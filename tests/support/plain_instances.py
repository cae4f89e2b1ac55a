"""Instances made of plain data sets: no file, no bytes, frames that nobody can read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from xarray_dicom.frames.source import EncodedFrames
from xarray_dicom.instance import Instance
from xarray_dicom.parsing.elements import Column, Path
from xarray_dicom.parsing.functional import FUNCTIONAL_GROUPS, tag
from xarray_dicom.pixel_format import PixelFormat


@dataclass(frozen=True)
class UnreadableFrames:
    """Frame source whose frames have a format and a number, and are never read."""

    format: PixelFormat
    n_frames: int
    location: str

    def fetch(self, frame_numbers: NDArray[np.int64], budget: int) -> AsyncIterator[EncodedFrames]:
        raise AssertionError("a layout reads no frame")

    async def verify(self) -> None:
        raise AssertionError("a layout reads no frame")


@dataclass(frozen=True)
class NoBytes:
    """Byte source that has a location and nothing else."""

    location: str


def item(**attributes: Any) -> Sequence:
    """Return a sequence of one item with these attributes."""
    return Sequence([dataset_of(attributes)])


def items(*several: Mapping[str, Any]) -> Sequence:
    """Return a sequence of items with these attributes."""
    return Sequence([dataset_of(attributes) for attributes in several])


def dataset_of(attributes: Mapping[str, Any]) -> Dataset:
    """Return a data set with these attributes; None leaves one out."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def column(values: ArrayLike) -> Column:
    """Return one value, or a row of them, per frame as parsing would."""
    rows = np.asarray(values)
    if rows.dtype.kind == "U":
        rows = np.char.encode(rows)
    if rows.ndim == 1:
        rows = rows[:, None]
    return Column(rows, np.full(len(rows), rows.shape[1], np.int32))


def columns(per_frame: Mapping[str, ArrayLike]) -> dict[Path, Column]:
    """Return values per frame by their path in the Per-Frame Functional Groups Sequence."""
    return {
        (tag(FUNCTIONAL_GROUPS[keyword]), tag(keyword)): column(values)
        for keyword, values in per_frame.items()
    }


def plain_instance(
    location: str = "a.dcm",
    *,
    n_frames: int = 1,
    shape: tuple[int, int] = (4, 6),
    dtype: str = "uint16",
    photometric: str = "MONOCHROME2",
    per_frame: Mapping[str, ArrayLike] | None = None,
    has_pixels: bool = True,
    **attributes: Any,
) -> Instance:
    """Return an instance as opening would make it of a data set.

    Parameters
    ----------
    location
        Where the object pretends to lie.
    n_frames, shape, dtype, photometric
        Number of frames, and rows, columns, type and Photometric Interpretation of each.
    per_frame
        Values of each frame by keyword, as its functional groups have them.
    has_pixels
        False for an object without frames.
    attributes
        Elements of the data set by keyword.
    """
    is_colour = photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    stored = np.dtype(dtype)
    bits = stored.itemsize * 8
    dataset = dataset_of(
        {
            "SOPInstanceUID": f"1.2.{sum(location.encode())}",
            "SeriesInstanceUID": "1.2.3",
            "Rows": shape[0],
            "Columns": shape[1],
            "NumberOfFrames": n_frames,
            "PhotometricInterpretation": photometric,
            "PixelRepresentation": int(stored.kind == "i"),
            **attributes,
        }
    )
    pixel_format = PixelFormat(
        transfer_syntax=ExplicitVRLittleEndian,
        rows=shape[0],
        columns=shape[1],
        samples=3 if is_colour else 1,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=int(stored.kind == "i"),
        photometric=photometric,
        element="FloatPixelData" if stored.kind == "f" else "PixelData",
    )
    frames = UnreadableFrames(pixel_format, n_frames, location) if has_pixels else None
    return Instance(NoBytes(location), dataset, columns(per_frame or {}), frames)  # type: ignore[arg-type]
