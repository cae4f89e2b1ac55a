"""Pixels for display: windows, palettes, ICC profiles; and padding masked.

The transforms are highdicom's; what is ours is to apply them block by block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from xarray_dicom.accessor.lazy import MappedArray, lazy_variable
from xarray_dicom.dataset import HANDLE, Handle
from xarray_dicom.errors import DicomError, UnsupportedDicomError
from xarray_dicom.layout.values import MONOCHROME

Pixels = NDArray[Any]

WHITE = 255


@dataclass(frozen=True)
class PaddingMask:
    """NaN where pixels are padding (PS3.3 C.7.5.1.1.2).

    Attributes
    ----------
    low, high
        First and last value that is padding, in the array's values.
    dtype
        Type of the result.
    """

    low: float
    high: float
    dtype: np.dtype[Any]

    def __call__(self, pixels: Pixels) -> Pixels:
        """Mask one block."""
        masked = pixels.astype(self.dtype)
        masked[(pixels >= self.low) & (pixels <= self.high)] = np.nan
        return masked


def mask_padding(image: xr.DataArray) -> xr.DataArray:
    """`image` with NaN where the Pixel Padding Value stands.

    Raises
    ------
    DicomError
        If values are rescaled frame by frame, so that padding can't be told any more.
    """
    value = image.attrs.get("pixel_padding_value")
    if value is None:
        return image
    limit = image.attrs.get("pixel_padding_range_limit", value)
    bounds = np.sort(np.asarray([value, limit], np.float64))
    dtype = image.dtype if image.dtype.kind == "f" else np.dtype(np.float32)
    handle = image.encoding.get(HANDLE)
    if image.dtype.kind == "f":
        if not isinstance(handle, Handle):
            raise DicomError("padding is told by stored values: mask before doing arithmetic")
        if handle.linear is not None:
            # The same arithmetic as decoding, so that equal stored values stay equal.
            slope, intercept = image.dtype.type(handle.linear.slope), handle.linear.intercept
            bounds = np.sort(bounds.astype(dtype) * slope + image.dtype.type(intercept))
        elif handle.array.frames.transform.dtype != handle.instances[0].format.dtype:
            raise DicomError(
                "values are rescaled frame by frame, so padding can't be told from them: open with "
                "mask_and_scale=False, then mask"
            )
    mask = PaddingMask(float(bounds[0]), float(bounds[1]), dtype)
    return _map(image, mask, dtype)


def to_rgb(image: xr.DataArray, header: Dataset) -> xr.DataArray:
    """The display form of `image`: 8-bit sRGB along a last dimension ``c``.

    Parameters
    ----------
    image
        Colour, palette indices, or monochrome modality values.
    header
        Of its first instance.
    """
    photometric = str(image.attrs.get("photometric_interpretation", ""))
    render: Callable[[Pixels], Pixels]
    if "c" in image.dims:
        render = Colour(_bits(image, header), _profile(header))
        moved = image.transpose(..., "y", "x", "c")
        return _map(moved, render, np.dtype(np.uint8), whole=3)
    if photometric == "PALETTE COLOR":
        table = hd.PaletteColorLUTTransformation.extract_from_dataset(header)
        render = Palette(np.asarray(table.combined_lut_data), table.first_mapped_value)
        render = Chain(render, Colour(table.bits_per_entry, _profile(header)))
        return _map(_planes_last(image), render, np.dtype(np.uint8), added=True, whole=2)
    if photometric in MONOCHROME:
        render = _gray(image, header, photometric)
        return _map(_planes_last(image), render, np.dtype(np.uint8), added=True, whole=2)
    raise UnsupportedDicomError(f"no display form of {photometric or 'an array of unknown kind'!r}")


def _planes_last(image: xr.DataArray) -> xr.DataArray:
    return image.transpose(..., "y", "x")


def _map(
    image: xr.DataArray,
    function: Callable[[Pixels], Pixels],
    dtype: np.dtype[Any],
    *,
    added: bool = False,
    whole: int = 0,
) -> xr.DataArray:
    """Apply `function` lazily, with a new last dimension ``c`` if `added`."""
    dims = (*image.dims, "c") if added else image.dims
    size = (3,) if added else ()
    if image.chunks is None:
        mapped = MappedArray(image.variable, function, dtype, added=size, whole=whole)
        variable = lazy_variable(mapped, dims, dict(image.attrs))
    else:
        source = image.variable.chunk({"c": -1}) if "c" in image.dims else image.variable
        blocks = source.data.map_blocks(
            function,
            dtype=dtype,
            chunks=(*source.data.chunks, *size),
            **({"new_axis": source.ndim} if added else {}),
            meta=np.empty((0,) * len(dims), dtype),
        )
        variable = xr.Variable(dims, blocks, image.attrs)
    result = xr.DataArray(variable, name=image.name).assign_coords(image.coords)
    if added:
        result = result.assign_coords(c=np.array(["r", "g", "b"], dtype=object))
    return result


@dataclass(frozen=True)
class Chain:
    """Two steps."""

    first: Callable[[Pixels], Pixels]
    second: Callable[[Pixels], Pixels]

    def __call__(self, pixels: Pixels) -> Pixels:
        """Apply both."""
        return self.second(self.first(pixels))


@dataclass(frozen=True)
class Colour:
    """RGB of any depth as 8-bit sRGB, through the ICC profile if there is one.

    Attributes
    ----------
    bits
        Bits of a sample.
    profile
        ICC profile; None for sRGB.
    """

    bits: int
    profile: bytes | None

    def __call__(self, pixels: Pixels) -> Pixels:
        """Transform one block, shape ``(…, 3)``."""
        eight = pixels if self.bits == 8 else np.rint(pixels * (WHITE / (2.0**self.bits - 1)))
        eight = np.ascontiguousarray(eight, np.uint8)
        if self.profile is None or not eight.size:
            return eight
        flat = eight.reshape(1, -1, 3)
        transformed: Pixels = hd.color.ColorManager(self.profile).transform_frame(flat)
        return transformed.reshape(eight.shape)


@dataclass(frozen=True, eq=False)
class Palette:
    """Palette indices as RGB of the palette's depth (PS3.3 C.7.9)."""

    table: Pixels
    first: int

    def __call__(self, pixels: Pixels) -> Pixels:
        """Look one block up; values beyond an end take that end's colour."""
        index = np.clip(pixels.astype(np.int64) - self.first, 0, len(self.table) - 1)
        colours: Pixels = self.table[index]
        return colours


@dataclass(frozen=True)
class Gray:
    """Modality values through a window to 8-bit gray as RGB.

    Attributes
    ----------
    center, width, function
        The window (PS3.3 C.11.2.1.2).
    inverted
        Whether low values are white (MONOCHROME1).
    """

    center: float
    width: float
    function: str
    inverted: bool

    def __call__(self, pixels: Pixels) -> Pixels:
        """Window one block; pixels without a value are black."""
        values = np.nan_to_num(pixels.astype(np.float64), nan=-np.inf, neginf=-1e300)
        shown = hd.pixels.apply_voi_window(
            values,
            window_center=self.center,
            window_width=self.width,
            voi_lut_function=self.function,
            output_range=(0.0, float(WHITE)),
            invert=self.inverted,
            dtype=np.float64,
        )
        gray = np.rint(np.where(np.isnan(pixels), 0, shown)).astype(np.uint8)
        return np.repeat(gray[..., np.newaxis], 3, axis=-1)


def _gray(image: xr.DataArray, header: Dataset, photometric: str) -> Gray:
    inverted = (photometric == "MONOCHROME1") != (header.get("PresentationLUTShape") == "INVERSE")
    center, width, function = _window(image, header)
    return Gray(center, width, function, inverted)


def _window(image: xr.DataArray, header: Dataset) -> tuple[float, float, str]:
    """The first window of the header, else one that shows every value the format can have."""
    shared = header.get("SharedFunctionalGroupsSequence") or []
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    places = [header]
    for groups in (*shared[:1], *frames[:1]):
        places += list(groups.get("FrameVOILUTSequence") or [])
    for place in places:
        center, width = place.get("WindowCenter"), place.get("WindowWidth")
        if center is not None and width is not None:
            function = str(place.get("VOILUTFunction") or "LINEAR")
            return _first(center), _first(width), function
    handle = image.encoding.get(HANDLE)
    if not isinstance(handle, Handle):
        raise DicomError("the header has no window: ask the opened dataset for its display form")
    low, high = _stored_range(handle)
    if handle.linear is not None:
        ends = [v * handle.linear.slope + handle.linear.intercept for v in (low, high)]
        low, high = min(ends), max(ends)
    return (low + high) / 2, high - low, "LINEAR_EXACT"


def _stored_range(handle: Handle) -> tuple[float, float]:
    pixel_format = handle.instances[0].format
    if pixel_format.dtype.kind == "f":
        return 0.0, 1.0
    bits = pixel_format.bits_stored
    if pixel_format.pixel_representation:
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def _first(value: Any) -> float:
    return float(np.atleast_1d(np.asarray(value, np.float64))[0])


def _bits(image: xr.DataArray, header: Dataset) -> int:
    return int(header.get("BitsStored") or 8 * image.dtype.itemsize)


def _profile(header: Dataset) -> bytes | None:
    """ICC profile of the image, or of its first optical path."""
    for place in (header, *(header.get("OpticalPathSequence") or [])[:1]):
        profile = place.get("ICCProfile")
        if profile:
            return bytes(profile)
    return None
