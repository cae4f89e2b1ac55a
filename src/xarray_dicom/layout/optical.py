"""Optical paths of slides (PS3.3 C.8.12.5), and distinct names for those of several files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.coordinate import Coordinate, texts
from xarray_dicom.parsing.element_values import Conversions
from xarray_dicom.parsing.functional_groups import tag


@dataclass(frozen=True, slots=True)
class OpticalPath:
    """One item of the Optical Path Sequence; the wavelength in nm, None if not given."""

    identifier: str
    description: str = ""
    wavelength: float | None = None


def optical_paths(instance: Instance) -> tuple[OpticalPath, ...]:
    """Return the optical paths of an instance, in file order; numbered ones if it names none.

    Raises
    ------
    CorruptDicomError
        If there are more of them than frames.
    """
    items = instance.items("OpticalPathSequence")
    if not items:
        count = int(instance.get("NumberOfOpticalPaths") or 1)
        if count > instance.frames.n_frames:
            raise CorruptDicomError(
                f"Number of Optical Paths (0048,0302) is {count}, but Number of Frames "
                f"(0028,0008) is {instance.frames.n_frames}",
                location=instance.location,
                tag="NumberOfOpticalPaths",
            )
        return tuple(OpticalPath(str(number)) for number in range(1, count + 1))
    return tuple(_optical_path(instance.conversions, *item) for item in enumerate(items, 1))


def _optical_path(conversions: Conversions, number: int, item: Dataset) -> OpticalPath:
    identifier, description, wavelength = (
        conversions.value(item, tag(keyword))
        for keyword in (
            "OpticalPathIdentifier",
            "OpticalPathDescription",
            "IlluminationWaveLength",
        )
    )
    return OpticalPath(
        str(identifier or number),
        str(description or ""),
        float(wavelength) if wavelength else None,
    )


def distinct_identifiers(paths: Iterable[OpticalPath]) -> dict[OpticalPath, OpticalPath]:
    """Give each different path an identifier of its own.

    Writers of one file per channel tend to call the path of every file ``1``: then the
    description, or the wavelength, becomes the identifier.

    Returns
    -------
    dict
        The path with its identifier, by the path as it was.
    """
    distinct = list(dict.fromkeys(paths))
    identifiers = [path.identifier for path in distinct]
    named = {}
    for path in distinct:
        if identifiers.count(path.identifier) > 1:
            wavelength = f"{path.identifier} {path.wavelength:g} nm" if path.wavelength else ""
            other = path.description or wavelength or path.identifier
            named[path] = replace(path, identifier=other)
        else:
            named[path] = path
    return named


def path_coordinates(paths: Sequence[OpticalPath], *, dimension: bool) -> dict[str, Coordinate]:
    """Return the coordinates that describe optical paths.

    Parameters
    ----------
    paths
        The optical paths.
    dimension
        True if paths are a dimension; else the coordinates are scalars of the first one.
    """
    values = {"optical_path": texts([path.identifier for path in paths])}
    if any(path.description for path in paths):
        values["optical_path_description"] = texts([path.description for path in paths])
    if any(path.wavelength for path in paths):
        values["wavelength"] = np.asarray([path.wavelength or np.nan for path in paths])
    if dimension:
        return {
            name: Coordinate(("optical_path",), column, _units(name))
            for name, column in values.items()
        }
    del values["optical_path"]
    # Reshaped, not indexed: a string by itself would become a fixed-width one.
    return {
        name: Coordinate((), column[:1].reshape(()), _units(name))
        for name, column in values.items()
    }


def _units(name: str) -> dict[str, str]:
    return {"units": "nm"} if name == "wavelength" else {}
