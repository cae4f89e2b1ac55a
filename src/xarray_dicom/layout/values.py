"""What the pixels of an image stand for: transform, unit, and the value where none is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError, DicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.image import Coordinate, Linear
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.realworld import real_world_values
from xarray_dicom.layout.units import unit_of
from xarray_dicom.parsing.conversions import Spelling, as_tag, spelling_of
from xarray_dicom.parsing.functional import tag
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.pixels.modality import modality_transform
from xarray_dicom.pixels.transform import PerFrame, Rescale, Stored, Transform

#: Labels of the samples of colour images.
COLOUR = Coordinate(("c",), np.array(["r", "g", "b"], dtype=object))

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")

# CIE XYZ relative to D50 → linear sRGB, Bradford-adapted to D65.
_XYZ_TO_RGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
_D50 = np.array([0.96422, 1.0, 0.82521])


#: Pixel Padding Value and Range Limit.
Padding = tuple[int | float, int | float | None]

ValuesOf = Callable[[Sequence[Instance], LayoutOptions, bool], "PixelValues"]


@dataclass(frozen=True, slots=True, eq=False)
class PixelValues:
    """From stored values to an image's values.

    Attributes
    ----------
    transform
        Applied while reading.
    linear
        What is left to CF decoding; None where `transform` is all.
    fill
        Value where no frame is.
    attrs
        Of the variable.
    """

    transform: Transform
    linear: Linear | None
    fill: float | tuple[float, ...]
    attrs: dict[str, Any]


def image_values(opened: Sequence[Instance], options: LayoutOptions, complete: bool) -> PixelValues:
    """Choose how the values of an image are made.

    A linear rescale that all frames share is left to CF decoding, so that it stays visible
    and reversible; anything else is applied while reading, and so is every rescale of an
    array that has absent cells, whose fill must not be rescaled.

    Parameters
    ----------
    opened
        The instances of the image.
    options
        What the user asked for.
    complete
        Whether every pixel has a frame.
    """
    first = opened[0]
    pixel_format = first.frames.format
    stored = _stored_dtype(opened)
    padding = _padding(first.dataset, stored)
    attrs = _pixel_attrs(pixel_format, padding)
    if options.scale and options.real_world is not None:
        mapped = mapped_values(opened, options, complete)
        if mapped is None:
            raise DicomError(
                f"{first.location}: no Real World Value Mapping (0040,9096), so none can be "
                f"chosen by real_world={options.real_world!r}"
            )
        return mapped
    if pixel_format.samples > 1:
        return PixelValues(Stored(stored), None, _absent_colour(first.dataset, pixel_format), attrs)
    fill = float(padding[0]) if padding is not None else 0.0
    if not options.scale or any(one.frames.format.photometric not in MONOCHROME for one in opened):
        return PixelValues(Stored(stored), None, fill, attrs)
    unit = unit_of(first.dataset, first.shared("RescaleType"))
    if unit:
        attrs["units"] = unit
    transform = _modality(opened, stored)
    if isinstance(transform, Rescale) and transform.is_uniform and complete:
        linear = Linear(float(transform.slope), float(transform.intercept))
        return PixelValues(Stored(stored), linear, fill, attrs)
    return PixelValues(transform, None, float("nan"), attrs)


def mapped_values(
    opened: Sequence[Instance], options: LayoutOptions, complete: bool
) -> PixelValues | None:
    """Real-world values by the mapping that was asked for; None where nothing is mapped.

    Arguments as `image_values`; ``options.real_world`` is the choice.

    Raises
    ------
    DicomError
        If there is no such mapping.
    """
    if options.real_world is None:
        return None
    first = opened[0]
    stored = _stored_dtype(opened)
    found = real_world_values(opened, stored, options.real_world)
    if found is None:
        return None
    transform, named = found
    attrs = _pixel_attrs(first.frames.format, _padding(first.dataset, stored))
    return PixelValues(transform, None, float("nan"), attrs | named)


def _stored_dtype(opened: Sequence[Instance]) -> np.dtype[Any]:
    return np.result_type(*(one.frames.format.dtype for one in opened))


def _pixel_attrs(pixel_format: PixelFormat, padding: Padding | None) -> dict[str, Any]:
    attrs: dict[str, Any] = {"photometric_interpretation": pixel_format.photometric}
    if padding is not None:
        attrs["pixel_padding_value"] = padding[0]
        if padding[1] is not None:
            attrs["pixel_padding_range_limit"] = padding[1]
    return attrs


def _modality(opened: Sequence[Instance], stored: np.dtype[Any]) -> Transform:
    """The modality transforms of all instances as one, by frame number through all of them."""
    transforms = _instance_transforms(opened, stored)
    counts = [one.frames.n_frames for one in opened]
    if all(isinstance(transform, Rescale) for transform in transforms):
        slopes, intercepts = (
            np.concatenate(
                [
                    np.broadcast_to(getattr(transform, name), (count,))
                    for transform, count in zip(transforms, counts, strict=True)
                ]
            )
            for name in ("slope", "intercept")
        )
        if (slopes == slopes[0]).all() and (intercepts == intercepts[0]).all():
            return Rescale(np.asarray(slopes[0]), np.asarray(intercepts[0]))
        return Rescale(slopes, intercepts)
    if len(transforms) == 1 or all(isinstance(t, Stored) for t in transforms):
        return transforms[0]
    choice = np.repeat(np.arange(len(transforms)), counts)
    return PerFrame(tuple(transforms), tuple(choice.tolist()))


#: What the modality transform of a classic instance is made of; it has none of the others.
_LINEAR = tuple(
    map(tag, ("PhotometricInterpretation", "SOPClassUID", "RescaleSlope", "RescaleIntercept"))
)
_NOT_LINEAR = tuple(
    map(
        as_tag,
        map(tag, ("ModalityLUTSequence", "SharedFunctionalGroupsSequence", "DoseGridScaling")),
    )
)


def _instance_transforms(opened: Sequence[Instance], stored: np.dtype[Any]) -> list[Transform]:
    """The modality transform of each instance; those with the same bytes share it."""
    known: dict[tuple[Spelling | None, ...], Transform] = {}
    transforms = []
    for one in opened:
        key = tuple(spelling_of(one.dataset, element) for element in _LINEAR)
        if one.columns or None in key or any(element in one.dataset for element in _NOT_LINEAR):
            transforms.append(_instance_transform(one, stored))
            continue
        if key not in known:
            known[key] = _instance_transform(one, stored)
        transforms.append(known[key])
    return transforms


def _instance_transform(opened: Instance, stored: np.dtype[Any]) -> Transform:
    try:
        transform = modality_transform(
            opened.dataset,
            stored,
            slope=_per_frame(opened, "RescaleSlope"),
            intercept=_per_frame(opened, "RescaleIntercept"),
        )
    except CorruptDicomError as error:
        raise CorruptDicomError(f"{opened.location}: {error}") from error
    if isinstance(transform, Stored) and stored.kind in "iu":
        # Without a rescale modality values equal stored ones, and have the same type as with one.
        return Rescale.of(1.0, 0.0, stored)
    return transform


def _per_frame(opened: Instance, keyword: str) -> NDArray[np.float64] | None:
    column = opened.per_frame(keyword)
    if column is None:
        return None
    return np.where(column.count > 0, column.values[:, 0].astype(np.float64), np.nan)


def _padding(dataset: Dataset, stored: np.dtype[Any]) -> Padding | None:
    """Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2), in stored values."""

    def as_stored(value: float) -> float:
        # Writers spell signed values as unsigned ones of the same 16 bits.
        return int(np.asarray(int(value)).astype(stored)) if stored.kind in "iu" else value

    for prefix in ("", "Float", "DoubleFloat"):
        name = f"{prefix}PixelPaddingValue"
        value = dataset.get(name)
        if value is None or value == "":
            continue
        limit = dataset.get(f"{prefix}PixelPaddingRangeLimit")
        if not isinstance(value, (int, float)):
            warnings.warn(f"{name} is {value!r} and passed over", DicomWarning, stacklevel=2)
            return None
        return as_stored(value), as_stored(limit) if isinstance(limit, (int, float)) else None
    return None


def _absent_colour(dataset: Dataset, pixel_format: PixelFormat) -> tuple[float, ...]:
    """Recommended Absent Pixel CIELab Value (PS3.3 C.10.7.1.1) as RGB, else white."""
    white = float(min(2**pixel_format.bits_stored - 1, _largest(pixel_format.dtype)))
    paths = dataset.get("OpticalPathSequence") or []
    for place in (dataset, *paths):
        encoded = place.get("RecommendedAbsentPixelCIELabValue")
        if encoded is not None and len(encoded) == 3:
            return tuple(float(np.rint(v * white)) for v in lab_to_srgb(encoded))
    return (white,) * pixel_format.samples


def _largest(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max)


def lab_to_srgb(encoded: Sequence[int]) -> NDArray[np.float64]:
    """A CIELab colour as DICOM encodes it in 16 bits, relative to D50, as sRGB from 0 to 1."""
    scaled = np.asarray(encoded, np.float64) / 65535
    lightness, a, b = scaled[0] * 100, scaled[1] * 255 - 128, scaled[2] * 255 - 128
    y = (lightness + 16) / 116
    cubes = np.array([y + a / 500, y, y - b / 200])
    delta = 6 / 29
    xyz = _D50 * np.where(cubes > delta, cubes**3, 3 * delta**2 * (cubes - 4 / 29))
    linear = np.clip(_XYZ_TO_RGB @ xyz, 0, 1)
    encoded_rgb: NDArray[np.float64] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return encoded_rgb
