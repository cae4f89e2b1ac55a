"""Masks of padding: pixels that fill a rectangle up become NaN."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_dicom.accessor.handle import handle_of, select_like, with_coordinates
from xarray_dicom.accessor.lazy import lazy_variable, map_pixels
from xarray_dicom.dataset import Handle
from xarray_dicom.pixels.transform import FrameIndex, Stored, Transform
from xarray_dicom.reading.array import DicomArray

Pixels = NDArray[Any]


@dataclass(frozen=True)
class PaddingMask:
    """Function of pixels that gives NaN for padding (PS3.3 C.7.5.1.1.2).

    Attributes
    ----------
    low, high
        First and last value that is padding, among the array's values.
    dtype
        Type of the result.
    samples
        True for a last axis of samples, which are padding together or not at all.
    """

    low: float
    high: float
    dtype: np.dtype[Any]
    samples: bool = False

    def __call__(self, pixels: Pixels) -> Pixels:
        """Mask one block."""
        masked = pixels.astype(self.dtype)
        padding = (pixels >= self.low) & (pixels <= self.high)
        masked[padding.all(axis=-1) if self.samples else padding] = np.nan
        return masked


@dataclass(frozen=True, slots=True, eq=False)
class PaddingTransform:
    """Transform of stored values that gives NaN for padding.

    Attributes
    ----------
    transform
        Transform of all other values; gives floats.
    low, high
        First and last stored value that is padding.
    """

    transform: Transform
    low: float
    high: float

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the result."""
        return self.transform.dtype

    def apply(self, stored: Pixels, frame: FrameIndex, out: Pixels | None = None) -> Pixels:
        """Transform frames; parameters as for `Transform.apply`."""
        padding = (stored >= self.low) & (stored <= self.high)
        values = self.transform.apply(stored, frame, out)
        values[padding] = np.nan
        return values


def mask_padding(image: xr.DataArray) -> xr.DataArray:
    """Replace the Pixel Padding Value of an image by NaN.

    Raises
    ------
    DicomError
        If an operation dropped the handle of the object that it was opened from.
    """
    value = image.attrs.get("pixel_padding_value")
    if value is None:
        return image
    handle = handle_of(image)
    limit = image.attrs.get("pixel_padding_range_limit", value)
    low, high = sorted((float(value), float(limit)))
    dtype = image.dtype if image.dtype.kind == "f" else np.dtype(np.float32)
    if isinstance(handle.array.frames.transform, Stored):
        if handle.linear is not None:
            slope, intercept = dtype.type(handle.linear.slope), dtype.type(handle.linear.intercept)
            # The arithmetic of CF decoding, so that the ends equal what it made of them.
            low, high = sorted(float(dtype.type(end) * slope + intercept) for end in (low, high))
        ordered = image.transpose(..., "c") if "c" in image.dims else image
        mask = PaddingMask(low, high, dtype, "c" in image.dims)
        masked = map_pixels(ordered.variable, mask, dtype, whole=int("c" in image.dims))
        masked = masked.transpose(*image.dims)
    else:
        masked = _mask_while_reading(image, handle, low, high)
    masked.encoding = dict(image.encoding)
    return with_coordinates(masked, image.name, image.coords)


def _mask_while_reading(
    image: xr.DataArray, handle: Handle, low: float, high: float
) -> xr.Variable:
    """Mask stored values while they are read, where their transform has no inverse."""
    frames = handle.array.frames
    frames = replace(frames, transform=PaddingTransform(frames.transform, low, high))
    opened = lazy_variable(DicomArray(frames), tuple(handle.sizes), dict(image.attrs))
    return select_like(opened, image, handle)
