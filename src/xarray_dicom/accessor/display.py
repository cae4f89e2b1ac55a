"""Display form of an image: the window, table, palette and profile that its header asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import highdicom as hd
import numpy as np
import xarray as xr
from pydicom.dataset import Dataset

from xarray_dicom.accessor.display_transforms import (
    WHITE,
    Colour,
    Gray,
    Palette,
    VoiLut,
    VoiWindow,
)
from xarray_dicom.accessor.handle import handle_of, with_coordinates
from xarray_dicom.accessor.headers import first_header_of, headers_of
from xarray_dicom.accessor.lazy import map_pixels
from xarray_dicom.dataset import Handle
from xarray_dicom.errors import (
    CorruptDicomError,
    DicomError,
    UnsupportedDicomError,
    located,
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
from xarray_dicom.warn import warn

EIGHT_BIT = np.dtype(np.uint8)

#: VOI LUT Functions (PS3.3 C.11.2.1.3).
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")

#: Attributes of an image's values, which its display form does not have.
VALUE_ATTRIBUTES = ("units", "pixel_padding_value", "pixel_padding_range_limit")


def to_rgb(image: xr.DataArray) -> xr.DataArray:
    """Return the display form of an image: 8-bit sRGB along a last dimension ``c``.

    Parameters
    ----------
    image
        Colour, palette indices, or monochrome values.

    Returns
    -------
    DataArray
        Lazy or chunked as `image`, uint8.

    Raises
    ------
    UnsupportedDicomError
        If its values have no display form.
    """
    handle = handle_of(image)
    header = first_header_of(image)
    with located(handle.location):
        shown = _displayed(image, handle, header)
    shown.attrs = {key: value for key, value in shown.attrs.items() if key not in VALUE_ATTRIBUTES}
    shown.attrs["photometric_interpretation"] = "RGB"
    result = with_coordinates(shown, image.name, image.coords)
    return result if "c" in result.coords else result.assign_coords(c=COLOUR.values)


def _displayed(image: xr.DataArray, handle: Handle, header: Dataset) -> xr.Variable:
    photometric = str(image.attrs.get("photometric_interpretation", ""))
    if "c" in handle.sizes:
        if image.sizes.get("c") != 3 or image.coords["c"].values.tolist() != ["r", "g", "b"]:
            raise DicomError("a display form needs all of c: select a sample afterwards")
        colour = Colour(handle.sources[0].format.bits_stored, _icc_profile(header))
        return map_pixels(image.transpose(..., "c").variable, colour, EIGHT_BIT, whole=1)
    if photometric == "PALETTE COLOR":
        return map_pixels(image.variable, _palette(header), EIGHT_BIT, added={"c": 3})
    if photometric in MONOCHROME:
        gray = _gray(image, handle, header, photometric)
        return map_pixels(image.variable, gray, EIGHT_BIT, added={"c": 3})
    raise UnsupportedDicomError(
        f"{image.name!r} has no display form: no photometric interpretation says which"
    )


def _gray(image: xr.DataArray, handle: Handle, header: Dataset, photometric: str) -> Gray:
    modality = _modality(image, handle)
    shape = header.get("PresentationLUTShape")
    inverted = shape == "INVERSE" if shape else photometric == "MONOCHROME1"
    for item in _voi_items(header):
        tables = item.get("VOILUTSequence")
        if tables:
            signed = bool(handle.sources[0].format.pixel_representation)
            return Gray(modality, _voi_lut(tables[0], inverted, signed))
    for item in _voi_items(header):
        window = _voi_window(item, inverted)
        if window is not None:
            return Gray(modality, window)
    low, high = _range(handle, modality)
    return Gray(modality, VoiWindow((low + high) / 2, high - low, "LINEAR_EXACT", inverted))


def _voi_items(header: Dataset) -> Iterator[Dataset]:
    """Yield the data sets that may hold the first frame's VOI LUT.

    First the shared functional groups, then those of the frame, then the root.
    """
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in (header.get(sequence) or [])[:1]:
            yield from (groups.get("FrameVOILUTSequence") or [])[:1]
    yield header


def _voi_window(item: Dataset, inverted: bool) -> VoiWindow | None:
    """Return the first window of a data set (PS3.3 C.11.2.1.2); None where it has none."""
    center, width = _first_number(item.get("WindowCenter")), _first_number(item.get("WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    function = str(item.get("VOILUTFunction") or "LINEAR")
    if function not in FUNCTIONS:
        warn(
            f"VOI LUT Function (0028,1056) is {function!r}, and taken for LINEAR",
            tag="VOILUTFunction",
        )
        function = "LINEAR"
    return VoiWindow(center, width, function, inverted)


def _first_number(values: Any) -> float | None:
    """Return the first of one or more decimal strings; None where it is empty."""
    listed = [values] if isinstance(values, (str, int, float)) else list(values or [])
    return float(listed[0]) if listed and listed[0] != "" else None


def _voi_lut(item: Dataset, inverted: bool, signed: bool) -> VoiLut:
    try:
        lut = hd.LUT.from_dataset(item)
        table = lut.get_scaled_lut_data((0.0, float(WHITE)), invert=inverted)
        first = int(lut.first_mapped_value)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptDicomError(
            f"VOI LUT Sequence (0028,3010) can't be used: {error}", tag="VOILUTSequence"
        ) from error
    if signed and first >= 2**15:
        # Writers of explicit VR spell a negative first value as an unsigned one.
        first -= 2**16
    return VoiLut(table, first)


def _modality(image: xr.DataArray, handle: Handle) -> Transform | None:
    """Return the transform from an array's values to modality values, as windows need them.

    None where the array holds modality values.
    """
    transform = handle.array.frames.transform
    if _changes_units(transform):
        raise UnsupportedDicomError(
            "windows are given in stored values, not in real-world ones: open it with "
            "mask_and_scale=False for its display form"
        )
    if handle.linear is not None or not isinstance(transform, Stored):
        return None
    stored = handle.sources[0].format.dtype
    transforms = [_uniform_transform(header, stored) for header in headers_of(image)]
    rescales = {(t.slope.item(), t.intercept.item()) for t in transforms if isinstance(t, Rescale)}
    all_rescales = all(isinstance(transform, Rescale) for transform in transforms)
    if len(transforms) > 1 and (len(rescales) != 1 or not all_rescales):
        raise _differs_between_frames()
    return None if rescales == {(1.0, 0.0)} else transforms[0]


def _changes_units(transform: Transform) -> bool:
    """Return True if values are real-world ones that differ from stored ones."""
    if isinstance(transform, PerFrame):
        return any(map(_changes_units, transform.transforms))
    if isinstance(transform, RealWorldValue):
        return bool((transform.slope != 1).any() or (transform.intercept != 0).any())
    return isinstance(transform, RealWorldTable)


def _uniform_transform(header: Dataset, stored: np.dtype[Any]) -> Transform:
    """Return the modality transform that all frames of an object share.

    Raises
    ------
    UnsupportedDicomError
        If each frame has its own.
    """
    transform = modality_transform(header, stored)
    if not isinstance(transform, Stored):
        return transform
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if any("PixelValueTransformationSequence" in group for group in groups):
        raise _differs_between_frames()
    return Rescale.of(1.0, 0.0, stored)


def _differs_between_frames() -> UnsupportedDicomError:
    return UnsupportedDicomError(
        "windows are given in modality values, and stored ones become those frame by frame: open "
        "it without mask_and_scale=False for its display form"
    )


def _range(handle: Handle, modality: Transform | None) -> tuple[float, float]:
    """Return the lowest and the highest modality value that the pixel format can have."""
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


def _palette(header: Dataset) -> Palette:
    try:
        lut = hd.PaletteColorLUTTransformation.extract_from_dataset(header)
        luts = (lut.red_lut, lut.green_lut, lut.blue_lut)
        table = np.stack([channel.lut_data for channel in luts], -1)
        first, bits = int(lut.first_mapped_value), int(lut.bits_per_entry)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptDicomError(
            f"its palette (0028,1201) can't be used: {error}",
            tag="RedPaletteColorLookupTableData",
        ) from error
    return Palette(Colour(bits, _icc_profile(header))(table), first)


def _icc_profile(header: Dataset) -> bytes | None:
    """Return the ICC profile of the image, or of its first optical path."""
    for item in (header, *(header.get("OpticalPathSequence") or [])[:1]):
        profile = item.get("ICCProfile")
        if not profile:
            continue
        try:
            hd.color.ColorManager(bytes(profile))
        except ValueError as error:
            raise CorruptDicomError(
                f"ICC Profile (0028,2000) can't be used: {error}", tag="ICCProfile"
            ) from error
        return bytes(profile)
    return None
