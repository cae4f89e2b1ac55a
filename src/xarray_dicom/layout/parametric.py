"""Parametric maps: real-world values, over volumes and over slides (PS3.3 A.75)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.instance import OpenInstance
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.values import PixelValues, image_values
from xarray_dicom.pixels.modality import real_world_transform
from xarray_dicom.pixels.transform import RealWorldValue, Transform, value_dtype

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.30"


def is_parametric_map(opened: OpenInstance) -> bool:
    """Whether an object is a parametric map."""
    return str(opened.dataset.get("SOPClassUID")) == SOP_CLASS


def parametric_values(
    opened: Sequence[OpenInstance], options: LayoutOptions, complete: bool
) -> PixelValues:
    """Real-world values (PS3.3 C.7.6.16.2.11) of a parametric map; arguments as `image_values`."""
    stored = image_values(opened, LayoutOptions(scale=False), complete)
    one = opened[0]
    dtype = one.instance.format.dtype
    try:
        transform = _per_frame(one, dtype) or real_world_transform(one.dataset, dtype)
    except CorruptDicomError as error:
        raise CorruptDicomError(f"{one.location}: {error}") from error
    attrs = dict(stored.attrs)
    unit = _unit(one)
    if unit and options.scale:
        attrs["units"] = unit
    if not options.scale or transform is None:
        fill = float("nan") if dtype.kind == "f" else stored.fill
        return PixelValues(stored.transform, None, fill, attrs)
    return PixelValues(transform, None, float("nan"), attrs)


def _per_frame(opened: OpenInstance, stored: np.dtype[np.generic]) -> Transform | None:
    slope = _column(opened, "RealWorldValueSlope")
    intercept = _column(opened, "RealWorldValueIntercept")
    if slope is None or intercept is None:
        return None
    first = _column(opened, "DoubleFloatRealWorldValueFirstValueMapped")
    last = _column(opened, "DoubleFloatRealWorldValueLastValueMapped")
    if first is None or last is None:
        first = _column(opened, "RealWorldValueFirstValueMapped")
        last = _column(opened, "RealWorldValueLastValueMapped")
    if first is None or last is None:
        raise CorruptDicomError("its Real World Value Mapping (0040,9096) names no range of values")
    dtype = value_dtype(stored)
    return RealWorldValue(slope.astype(dtype), intercept.astype(dtype), first, last)


def _column(opened: OpenInstance, keyword: str) -> NDArray[np.float64] | None:
    column = opened.per_frame(keyword)
    if column is None or not (column.count > 0).all():
        return None
    return column.values[:, 0].astype(np.float64)


def _unit(opened: OpenInstance) -> str | None:
    mappings = opened.shared("RealWorldValueMappingSequence") or []
    for item in mappings[:1]:
        codes = item.get("MeasurementUnitsCodeSequence") or []
        if codes and codes[0].get("CodingSchemeDesignator") == "UCUM":
            return str(codes[0].get("CodeValue"))
    return None
