"""Parametric maps: real-world values, over volumes and over slides (PS3.3 A.75)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from xarray_dicom.errors import DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.values import PixelValues, image_values, mapped_values

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.30"


def is_parametric_map(opened: Instance) -> bool:
    """Whether an object is a parametric map."""
    return str(opened.get("SOPClassUID")) == SOP_CLASS


def parametric_values(
    opened: Sequence[Instance], options: LayoutOptions, complete: bool
) -> PixelValues:
    """Real-world values of a parametric map, by its first mapping unless another is asked for.

    Arguments as `image_values`. A map without a mapping has its stored values, with a warning.
    """
    choice = 0 if options.real_world is None else options.real_world
    values = None
    if options.scale:
        values = mapped_values(opened, replace(options, real_world=choice), complete)
    if values is not None:
        return values
    if options.scale:
        warnings.warn(
            f"{opened[0].location}: a parametric map without Real World Value Mapping "
            "(0040,9096); its values are those stored",
            DicomWarning,
            stacklevel=2,
        )
    stored = image_values(opened, replace(options, scale=False), complete)
    floating = stored.transform.dtype.kind == "f"
    return replace(stored, fill=float("nan")) if floating else stored
