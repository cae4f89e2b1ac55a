"""Values of the pixels of an image: transform, unit, and the value where no frame is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import DicomError, located
from xarray_dicom.instance import Instance
from xarray_dicom.layout.coordinate import Coordinate
from xarray_dicom.layout.image import Linear
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.realworld import real_world_values
from xarray_dicom.layout.units import unit_of
from xarray_dicom.parsing.element_values import RawValue, as_tag, raw_value
from xarray_dicom.parsing.functional_groups import tag
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.pixels.modality import modality_transform
from xarray_dicom.pixels.transform import PerFrame, Rescale, Stored, Transform
from xarray_dicom.warn import warn

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
    """Conversion of stored values to an image's values.

    Attributes
    ----------
    transform
        Applied while reading.
    linear
        Rescale left to CF decoding; None where `transform` gives the final values.
    fill
        Value where no frame is.
    attrs
        Attributes of the variable.
    """

    transform: Transform
    linear: Linear | None
    fill: float | tuple[float, ...]
    attrs: dict[str, Any]


def image_values(
    instances: Sequence[Instance], options: LayoutOptions, complete: bool
) -> PixelValues:
    """Choose the conversion to the values of an image.

    A linear rescale that all frames share is left to CF decoding, so that it stays visible
    and reversible; anything else is applied while reading, and so is every rescale of an
    array that has absent cells, whose fill must not be rescaled.

    Parameters
    ----------
    instances
        The instances of the image.
    options
        Options of opening.
    complete
        True if every pixel has a frame.

    Raises
    ------
    DicomError
        If a Real World Value Mapping is chosen that is not there.
    CorruptDicomError
        If a transform lacks a value.
    """
    first = instances[0]
    pixel_format = first.frames.format
    stored = _stored_dtype(instances)
    padding = _padding(first, stored)
    attrs = _pixel_attrs(pixel_format, padding)
    if options.scale and options.real_world is not None:
        mapped = mapped_values(instances, options)
        if mapped is None:
            raise DicomError(
                "no Real World Value Mapping (0040,9096), so none can be chosen by "
                f"real_world={options.real_world!r}",
                location=first.location,
                tag="RealWorldValueMappingSequence",
            )
        return mapped
    if pixel_format.samples > 1:
        return PixelValues(Stored(stored), None, _absent_colour(first), attrs)
    fill = float(padding[0]) if padding is not None else 0.0
    photometric = {instance.frames.format.photometric for instance in instances}
    if not options.scale or photometric - set(MONOCHROME):
        return PixelValues(Stored(stored), None, fill, attrs)
    unit = unit_of(first.dataset, first.shared("RescaleType"))
    if unit:
        attrs["units"] = unit
    transform = _modality(instances, stored)
    if isinstance(transform, Rescale) and transform.is_uniform and complete:
        linear = Linear(float(transform.slope), float(transform.intercept))
        return PixelValues(Stored(stored), linear, fill, attrs)
    return PixelValues(transform, None, float("nan"), attrs)


def mapped_values(instances: Sequence[Instance], options: LayoutOptions) -> PixelValues | None:
    """Return the conversion to real-world values; None where nothing is mapped or chosen.

    Parameters
    ----------
    instances
        The instances of the image.
    options
        Options of opening; ``options.real_world`` chooses the mapping.

    Raises
    ------
    DicomError
        If there is no such mapping.
    """
    if options.real_world is None:
        return None
    first = instances[0]
    stored = _stored_dtype(instances)
    mapped = real_world_values(instances, stored, options.real_world)
    if mapped is None:
        return None
    transform, described = mapped
    attrs = _pixel_attrs(first.frames.format, _padding(first, stored))
    return PixelValues(transform, None, float("nan"), attrs | described)


def _stored_dtype(instances: Sequence[Instance]) -> np.dtype[Any]:
    return np.result_type(*(instance.frames.format.dtype for instance in instances))


def _pixel_attrs(pixel_format: PixelFormat, padding: Padding | None) -> dict[str, Any]:
    attrs: dict[str, Any] = {"photometric_interpretation": pixel_format.photometric}
    if padding is not None:
        attrs["pixel_padding_value"] = padding[0]
        if padding[1] is not None:
            attrs["pixel_padding_range_limit"] = padding[1]
    return attrs


def _modality(instances: Sequence[Instance], stored: np.dtype[Any]) -> Transform:
    """Return the modality transforms of all instances as one, by frame number through them."""
    transforms = _instance_transforms(instances, stored)
    counts = [instance.frames.n_frames for instance in instances]
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


#: Elements that make up the modality transform of a classic instance.
_LINEAR = tuple(
    map(tag, ("PhotometricInterpretation", "SOPClassUID", "RescaleSlope", "RescaleIntercept"))
)
#: Elements of objects whose modality transform may be another one.
_NOT_LINEAR = tuple(
    map(
        as_tag,
        map(tag, ("ModalityLUTSequence", "SharedFunctionalGroupsSequence", "DoseGridScaling")),
    )
)


def _instance_transforms(instances: Sequence[Instance], stored: np.dtype[Any]) -> list[Transform]:
    """Return the modality transform of each instance; those with the same bytes share it."""
    by_bytes: dict[tuple[RawValue | None, ...], Transform] = {}
    transforms = []
    for instance in instances:
        dataset = instance.dataset
        key = tuple(raw_value(dataset, element) for element in _LINEAR)
        if instance.columns or None in key or any(element in dataset for element in _NOT_LINEAR):
            transforms.append(_instance_transform(instance, stored))
            continue
        if key not in by_bytes:
            by_bytes[key] = _instance_transform(instance, stored)
        transforms.append(by_bytes[key])
    return transforms


def _instance_transform(instance: Instance, stored: np.dtype[Any]) -> Transform:
    with located(instance.location):
        transform = modality_transform(
            instance.dataset,
            stored,
            slope=_per_frame(instance, "RescaleSlope"),
            intercept=_per_frame(instance, "RescaleIntercept"),
        )
    if isinstance(transform, Stored) and stored.kind in "iu":
        # Without a rescale modality values equal stored ones, and have the same type as with one.
        return Rescale.of(1.0, 0.0, stored)
    return transform


def _per_frame(instance: Instance, keyword: str) -> NDArray[np.float64] | None:
    column = instance.per_frame(keyword)
    if column is None:
        return None
    return np.where(column.count > 0, column.values[:, 0].astype(np.float64), np.nan)


def _padding(instance: Instance, stored: np.dtype[Any]) -> Padding | None:
    """Return Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2), in stored values."""

    def as_stored(value: float) -> float:
        # Writers spell signed values as unsigned ones of the same 16 bits.
        return int(np.asarray(int(value)).astype(stored)) if stored.kind in "iu" else value

    for prefix in ("", "Float", "DoubleFloat"):
        name = f"{prefix}PixelPaddingValue"
        value = instance.get(name)
        if value is None or value == "":
            continue
        limit = instance.get(f"{prefix}PixelPaddingRangeLimit")
        if not isinstance(value, (int, float)):
            warn(f"{name} is {value!r} and passed over", tag=name)
            return None
        return as_stored(value), as_stored(limit) if isinstance(limit, (int, float)) else None
    return None


def _absent_colour(instance: Instance) -> tuple[float, ...]:
    """Return Recommended Absent Pixel CIELab Value (PS3.3 C.10.7.1.1) as RGB, else white."""
    pixel_format = instance.frames.format
    white = float(min(2**pixel_format.bits_stored - 1, _largest(pixel_format.dtype)))
    paths = instance.items("OpticalPathSequence")
    for place in (instance.dataset, *paths):
        encoded = instance.conversions.value(place, tag("RecommendedAbsentPixelCIELabValue"))
        if encoded is not None and len(encoded) == 3:
            return tuple(float(np.rint(v * white)) for v in lab_to_srgb(encoded))
    return (white,) * pixel_format.samples


def _largest(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max)


def lab_to_srgb(encoded: Sequence[int]) -> NDArray[np.float64]:
    """Convert a CIELab colour as DICOM encodes it in 16 bits, relative to D50, to sRGB.

    Parameters
    ----------
    encoded
        Lightness, a and b (PS3.3 C.10.7.1.1).

    Returns
    -------
    array
        Red, green and blue from 0 to 1, shape ``(3,)``.
    """
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
