"""Real-world values of images and parametric maps (PS3.3 C.7.6.16.2.11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError, DicomError, UnsupportedDicomError, located
from xarray_dicom.instance import Instance
from xarray_dicom.parsing.elements import Path
from xarray_dicom.parsing.functional import UNIT_PATH, tag
from xarray_dicom.pixels.modality import real_world_mapping
from xarray_dicom.pixels.transform import (
    PerFrame,
    RealWorldTable,
    RealWorldValue,
    Transform,
    value_dtype,
)

#: Choice of a mapping: its position, or its LUT Label or unit.
Choice = int | str

_SEQUENCE = "RealWorldValueMappingSequence"
LABEL_PATH: Path = (tag(_SEQUENCE), tag("LUTLabel"))
_FIRST_LAST = (
    ("DoubleFloatRealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueLastValueMapped"),
    ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped"),
)


def real_world_values(
    instances: Sequence[Instance], stored: np.dtype[Any], choice: Choice
) -> tuple[Transform, dict[str, Any]] | None:
    """Return the transform to real-world values, by frame number through all instances.

    Parameters
    ----------
    instances
        The instances of the image.
    stored
        Type of the stored values.
    choice
        The mapping, where there are several: its position from 0, its LUT Label (0040,9210),
        or the UCUM code of its unit.

    Returns
    -------
    tuple or None
        The transform, and ``units`` and ``long_name`` where the mapping gives them; None if
        nothing is mapped.

    Raises
    ------
    DicomError
        If there is no such mapping; the message lists those that there are.
    CorruptDicomError
        If a mapping lacks what it needs.
    """
    transforms: list[Transform] = []
    attrs: dict[str, Any] = {}
    for instance in instances:
        items = shared_mappings(instance.dataset)
        with located(instance.location):
            if items:
                item = _chosen(items, choice)
                transform: Transform | None = real_world_mapping(item, stored)
                attrs = attrs or _attrs(_text(item, "LUTExplanation"), _unit(item))
            else:
                transform = _per_frame(instance, stored, choice)
                attrs = attrs or _attrs("", _only(instance, UNIT_PATH))
        if transform is None:
            return None
        transforms.append(transform)
    return _joined(transforms, [instance.frames.n_frames for instance in instances]), attrs


def shared_mappings(dataset: Dataset) -> list[Dataset]:
    """Return the items of the Real World Value Mapping Sequence that hold for all frames."""
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    for place in (dataset, *shared):
        if place.get(_SEQUENCE):
            return list(place[_SEQUENCE].value)
    return []


def _chosen(items: Sequence[Dataset], choice: Choice) -> Dataset:
    if isinstance(choice, int):
        if 0 <= choice < len(items):
            return items[choice]
    else:
        for names in (
            [_text(item, "LUTLabel") for item in items],
            [_unit(item) for item in items],
        ):
            if choice in names:
                return items[names.index(choice)]
    listed = ", ".join(
        f"{number}: {_text(item, 'LUTLabel')!r} in {_unit(item) or 'no unit'}"
        for number, item in enumerate(items)
    )
    raise DicomError(
        f"no Real World Value Mapping (0040,9096) {choice!r}; there are {listed}",
        tag="RealWorldValueMappingSequence",
    )


def _text(item: Dataset, keyword: str) -> str:
    return str(item.get(keyword) or "")


def _unit(item: Dataset) -> str:
    """Return the UCUM code of the unit, empty if it has another or none."""
    codes = item.get("MeasurementUnitsCodeSequence") or []
    ucum = bool(codes) and codes[0].get("CodingSchemeDesignator") == "UCUM"
    return str(codes[0].get("CodeValue")) if ucum else ""


def _attrs(explanation: str, unit: str) -> dict[str, Any]:
    named = {"long_name": explanation, "units": unit}
    return {name: text for name, text in named.items() if text}


def _per_frame(instance: Instance, stored: np.dtype[Any], choice: Choice) -> RealWorldValue | None:
    """Return the first mapping of each frame, where frames have mappings of their own.

    Parameters
    ----------
    instance
        The instance.
    stored
        Type of the stored values.
    choice
        The mapping that is chosen.
    """
    slope, intercept = (
        _numbers(instance, f"RealWorldValue{name}") for name in ("Slope", "Intercept")
    )
    if slope is None or intercept is None:
        labels = instance.columns.get(LABEL_PATH)
        if labels is not None and labels.count.any():
            raise UnsupportedDicomError(
                "its frames have tables of real-world values (0040,9212) of their own",
                tag="RealWorldValueLUTData",
            )
        return None
    for names_of_range in _FIRST_LAST:
        first, last = (_numbers(instance, name) for name in names_of_range)
        if first is not None and last is not None:
            break
    else:
        raise CorruptDicomError(
            "its Real World Value Mapping (0040,9096) names no range of values",
            tag="RealWorldValueMappingSequence",
        )
    names = (_only(instance, LABEL_PATH), _only(instance, UNIT_PATH))
    if choice != 0 and choice not in names:
        raise DicomError(
            f"no Real World Value Mapping (0040,9096) {choice!r}: its frames have mappings of "
            f"their own, of which the first is read, {names[0]!r} in {names[1] or 'several units'}",
            tag="RealWorldValueMappingSequence",
        )
    dtype = value_dtype(stored)
    return RealWorldValue(slope.astype(dtype), intercept.astype(dtype), first, last)


def _numbers(instance: Instance, keyword: str) -> NDArray[np.float64] | None:
    column = instance.per_frame(keyword)
    if column is None or not (column.count > 0).all():
        return None
    return column.values[:, 0].astype(np.float64)


def _only(instance: Instance, path: Path) -> str:
    """Return the text that all frames share; empty if they differ or have none."""
    column = instance.columns.get(path)
    if column is None or len(np.unique(column.values[:, 0])) != 1:
        return ""
    return str(column.values[0, 0].decode(errors="replace")).strip()


def _joined(transforms: Sequence[Transform], counts: Sequence[int]) -> Transform:
    """Join the transforms of instances with these numbers of frames."""
    if len(transforms) == 1:
        return transforms[0]
    linear = [part for part in transforms if isinstance(part, RealWorldValue)]
    if len(linear) == len(transforms):
        slope, intercept, first, last = (
            np.concatenate(
                [
                    np.broadcast_to(getattr(part, name), (count,))
                    for part, count in zip(linear, counts, strict=True)
                ]
            )
            for name in ("slope", "intercept", "first", "last")
        )
        return RealWorldValue(slope, intercept, first, last)
    if not all(isinstance(part, RealWorldTable) for part in transforms):
        raise UnsupportedDicomError(
            "some instances of one image have linear real-world values, others tables (0040,9212)",
            tag="RealWorldValueLUTData",
        )
    choice = np.repeat(np.arange(len(transforms)), counts)
    return PerFrame(tuple(transforms), tuple(choice.tolist()))
