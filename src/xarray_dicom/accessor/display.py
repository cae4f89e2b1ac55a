"""The display form of an image: which window, table, palette or profile its header asks for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import highdicom as hd
import numpy as np
import xarray as xr
from pydicom.dataset import Dataset

from xarray_dicom.accessor.handle import dressed, handle_of
from xarray_dicom.accessor.headers import first_header_of, headers_of
from xarray_dicom.accessor.lazy import mapped
from xarray_dicom.accessor.rendering import WHITE, Colour, Gray, Palette, Table, Window
from xarray_dicom.dataset import Handle
from xarray_dicom.errors import (
    CorruptDicomError,
    DicomError,
    DicomWarning,
    UnsupportedDicomError,
)
from xarray_dicom.layout.pixel_values import COLOUR, MONOCHROME
from xarray_dicom.pixels.modality import modality_transform
from xarray_dicom.pixels.transform import (
    PerFrame,
    RealWorldTable,
    RealWorldValue,
    Rescale,
    Stored,
    Transform,
)

EIGHT_BIT = np.dtype(np.uint8)

#: VOI LUT Functions (PS3.3 C.11.2.1.3).
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")

#: Attributes that a display form does not share with its image.
OF_VALUES = ("units", "pixel_padding_value", "pixel_padding_range_limit")


def to_rgb(image: xr.DataArray) -> xr.DataArray:
    """The display form of `image`: 8-bit sRGB along a last dimension ``c``.

    Parameters
    ----------
    image
        Colour, palette indices, or monochrome values.

    Raises
    ------
    UnsupportedDicomError
        If its values have no display form.
    """
    handle = handle_of(image)
    header = first_header_of(image)
    photometric = str(image.attrs.get("photometric_interpretation", ""))
    if "c" in handle.sizes:
        if image.sizes.get("c") != 3 or image.coords["c"].values.tolist() != ["r", "g", "b"]:
            raise DicomError("a display form needs all of c: select a sample afterwards")
        shown = mapped(
            image.transpose(..., "c").variable,
            Colour(handle.sources[0].format.bits_stored, _profile(header, handle)),
            EIGHT_BIT,
            whole=1,
        )
    elif photometric == "PALETTE COLOR":
        palette = _palette(header, handle)
        shown = mapped(image.variable, palette, EIGHT_BIT, added={"c": 3})
    elif photometric in MONOCHROME:
        gray = _gray(image, handle, header, photometric)
        shown = mapped(image.variable, gray, EIGHT_BIT, added={"c": 3})
    else:
        raise UnsupportedDicomError(
            f"{_location(handle)}: {image.name!r} has no display form: no photometric "
            "interpretation says which"
        )
    shown.attrs = {key: value for key, value in shown.attrs.items() if key not in OF_VALUES}
    shown.attrs["photometric_interpretation"] = "RGB"
    result = dressed(shown, image.name, image.coords)
    return result if "c" in result.coords else result.assign_coords(c=COLOUR.values)


def _gray(image: xr.DataArray, handle: Handle, header: Dataset, photometric: str) -> Gray:
    modality = _modality(image, handle)
    shape = header.get("PresentationLUTShape")
    inverted = shape == "INVERSE" if shape else photometric == "MONOCHROME1"
    for place in _voi_places(header):
        tables = place.get("VOILUTSequence")
        if tables:
            return Gray(modality, _table(tables[0], inverted, handle))
    for place in _voi_places(header):
        window = _window(place, inverted, handle)
        if window is not None:
            return Gray(modality, window)
    low, high = _range(handle, modality)
    return Gray(modality, Window((low + high) / 2, high - low, "LINEAR_EXACT", inverted))


def _voi_places(header: Dataset) -> Iterator[Dataset]:
    """Where the first frame's VOI LUT may be: shared and its own functional groups, the root."""
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in (header.get(sequence) or [])[:1]:
            yield from (groups.get("FrameVOILUTSequence") or [])[:1]
    yield header


def _window(place: Dataset, inverted: bool, handle: Handle) -> Window | None:
    """The first window there (PS3.3 C.11.2.1.2)."""
    center, width = _first(place.get("WindowCenter")), _first(place.get("WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    function = str(place.get("VOILUTFunction") or "LINEAR")
    if function not in FUNCTIONS:
        warnings.warn(
            f"{_location(handle)}: VOI LUT Function (0028,1056) is {function!r}, and taken for "
            "LINEAR",
            DicomWarning,
            stacklevel=2,
        )
        function = "LINEAR"
    return Window(center, width, function, inverted)


def _first(values: Any) -> float | None:
    """The first of one or more decimal strings, which may be empty."""
    listed = [values] if isinstance(values, (str, int, float)) else list(values or [])
    return float(listed[0]) if listed and listed[0] != "" else None


def _table(item: Dataset, inverted: bool, handle: Handle) -> Table:
    try:
        lut = hd.LUT.from_dataset(item)
        table = lut.get_scaled_lut_data((0.0, float(WHITE)), invert=inverted)
        first = int(lut.first_mapped_value)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptDicomError(
            f"{_location(handle)}: VOI LUT Sequence (0028,3010) can't be used: {error}"
        ) from error
    if handle.sources[0].format.pixel_representation and first >= 2**15:
        # Explicit VR writers spell a negative first value as unsigned.
        first -= 2**16
    return Table(table, first)


def _modality(image: xr.DataArray, handle: Handle) -> Transform | None:
    """From the array's values to modality values, which windows are given in."""
    transform = handle.array.frames.transform
    if _changes_units(transform):
        raise UnsupportedDicomError(
            f"{_location(handle)}: windows are given in stored values, not in real-world ones: "
            "open it with mask_and_scale=False for its display form"
        )
    if handle.linear is not None or not isinstance(transform, Stored):
        return None
    found = [_uniform_transform(header, handle) for header in headers_of(image)]
    numbers = {(one.slope.item(), one.intercept.item()) for one in found if _is_rescale(one)}
    if len(found) > 1 and (len(numbers) != 1 or not all(map(_is_rescale, found))):
        raise _uneven(handle)
    return None if numbers == {(1.0, 0.0)} else found[0]


def _changes_units(transform: Transform) -> bool:
    """Whether values are real-world ones that differ from stored ones."""
    if isinstance(transform, PerFrame):
        return any(map(_changes_units, transform.transforms))
    if isinstance(transform, RealWorldValue):
        return bool((transform.slope != 1).any() or (transform.intercept != 0).any())
    return isinstance(transform, RealWorldTable)


def _is_rescale(transform: Transform) -> bool:
    return isinstance(transform, Rescale)


def _uniform_transform(header: Dataset, handle: Handle) -> Any:
    """The modality transform that all frames of an object share."""
    stored = handle.sources[0].format.dtype
    transform = modality_transform(header, stored)
    if not isinstance(transform, Stored):
        return transform
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if any("PixelValueTransformationSequence" in group for group in groups):
        raise _uneven(handle)
    return Rescale.of(1.0, 0.0, stored)


def _uneven(handle: Handle) -> UnsupportedDicomError:
    return UnsupportedDicomError(
        f"{_location(handle)}: windows are given in modality values, and stored ones become those "
        "frame by frame: open it without mask_and_scale=False for its display form"
    )


def _range(handle: Handle, modality: Transform | None) -> tuple[float, float]:
    """Lowest and highest modality value that the format can have."""
    pixel_format = handle.sources[0].format
    if pixel_format.dtype.kind == "f":
        return 0.0, 1.0
    bits = pixel_format.bits_stored
    signed = bool(pixel_format.pixel_representation)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = np.asarray([low, high], np.float64)
    if handle.linear is not None:
        ends = ends * handle.linear.slope + handle.linear.intercept
    else:
        transform = modality or handle.array.frames.transform
        n_frames = int(handle.array.frames.starts[-1]) if modality is None else 1
        ends = np.concatenate([transform.apply(ends, frame) for frame in range(n_frames)])
    return float(np.nanmin(ends)), float(np.nanmax(ends))


def _palette(header: Dataset, handle: Handle) -> Palette:
    try:
        lut = hd.PaletteColorLUTTransformation.extract_from_dataset(header)
        table = np.stack([one.lut_data for one in (lut.red_lut, lut.green_lut, lut.blue_lut)], -1)
        first, bits = int(lut.first_mapped_value), int(lut.bits_per_entry)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptDicomError(
            f"{_location(handle)}: its palette (0028,1201) can't be used: {error}"
        ) from error
    return Palette(Colour(bits, _profile(header, handle))(table), first)


def _profile(header: Dataset, handle: Handle) -> bytes | None:
    """ICC profile of the image, or of its first optical path."""
    for place in (header, *(header.get("OpticalPathSequence") or [])[:1]):
        profile = place.get("ICCProfile")
        if not profile:
            continue
        try:
            hd.color.ColorManager(bytes(profile))
        except ValueError as error:
            raise CorruptDicomError(
                f"{_location(handle)}: ICC Profile (0028,2000) can't be used: {error}"
            ) from error
        return bytes(profile)
    return None


def _location(handle: Handle) -> str:
    return handle.sources[0].source.location
