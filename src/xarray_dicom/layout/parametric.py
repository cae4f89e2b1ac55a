"""Parametric maps: real-world values, over volumes and over slides (PS3.3 A.75)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xarray_dicom.instance import Instance
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.pixel_values import PixelValues, image_values, mapped_values
from xarray_dicom.warn import warn

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.30"


def is_parametric_map(instance: Instance) -> bool:
    """Return True if an object is a parametric map."""
    return str(instance.get("SOPClassUID")) == SOP_CLASS


def parametric_values(
    instances: Sequence[Instance], options: LayoutOptions, complete: bool
) -> PixelValues:
    """Make real-world values of a parametric map, by its first mapping unless another is chosen.

    A map without a mapping has its stored values, with a warning.

    Parameters
    ----------
    instances, options, complete
        As in `image_values`.
    """
    choice = 0 if options.real_world is None else options.real_world
    values = None
    if options.scale:
        values = mapped_values(instances, replace(options, real_world=choice))
    if values is not None:
        return values
    if options.scale:
        warn(
            "a parametric map without Real World Value Mapping (0040,9096); its values are those "
            "stored",
            location=instances[0].location,
            tag="RealWorldValueMappingSequence",
        )
    stored = image_values(instances, replace(options, scale=False), complete)
    floating = stored.transform.dtype.kind == "f"
    return replace(stored, fill=float("nan")) if floating else stored
