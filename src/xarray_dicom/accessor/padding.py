"""Padding masked: pixels that were added to fill a rectangle, as NaN."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xarray_dicom.accessor.handle import dressed, handle_of, same_part
from xarray_dicom.accessor.lazy import lazy_variable, mapped
from xarray_dicom.dataset import Handle
from xarray_dicom.pixels.transform import FrameIndex, Stored, Transform
from xarray_dicom.reading.array import DicomArray

Pixels = NDArray[Any]


@dataclass(frozen=True)
class PaddingMask:
    """NaN where pixels are padding (PS3.3 C.7.5.1.1.2).

    Attributes
    ----------
    low, high
        First and last value that is padding, in the array's values.
    dtype
        Type of the result.
    samples
        Whether the last axis holds samples, which are padding together or not at all.
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
class Unpadded:
    """A transform of stored values that gives NaN for padding.

    Attributes
    ----------
    transform
        Of all other values; gives floats.
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
        """Transform frames; see `Transform.apply`."""
        padding = (stored >= self.low) & (stored <= self.high)
        values = self.transform.apply(stored, frame, out)
        values[padding] = np.nan
        return values


def mask_padding(image: xr.DataArray) -> xr.DataArray:
    """`image` with NaN where the Pixel Padding Value stands.

    Raises
    ------
    DicomError
        If the object that `image` was opened from isn't known any more.
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
            # The same arithmetic as decoding, so that equal stored values stay equal.
            low, high = sorted(float(dtype.type(end) * slope + intercept) for end in (low, high))
        ordered = image.transpose(..., "c") if "c" in image.dims else image
        mask = PaddingMask(low, high, dtype, "c" in image.dims)
        masked = mapped(ordered.variable, mask, dtype, whole=int("c" in image.dims))
        masked = masked.transpose(*image.dims)
    else:
        masked = _reread(image, handle, low, high)
    masked.encoding = dict(image.encoding)
    return dressed(masked, image.name, image.coords)


def _reread(image: xr.DataArray, handle: Handle, low: float, high: float) -> xr.Variable:
    """Mask stored values while reading, where their transform can't be undone."""
    frames = handle.array.frames
    frames = replace(frames, transform=Unpadded(frames.transform, low, high))
    opened = lazy_variable(DicomArray(frames), tuple(handle.sizes), dict(image.attrs))
    return same_part(opened, image, handle)
