"""Optical paths of slides (PS3.3 C.8.12.5), and how those of several files are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.image import Coordinate, texts


@dataclass(frozen=True, slots=True)
class OpticalPath:
    """One item of the Optical Path Sequence; the wavelength in nm, None if not given."""

    identifier: str
    description: str = ""
    wavelength: float | None = None


def optical_paths(opened: Instance) -> tuple[OpticalPath, ...]:
    """The optical paths of one instance, in file order; one without a name if it has none."""
    items = list(opened.dataset.get("OpticalPathSequence") or [])
    if not items:
        count = int(opened.dataset.get("NumberOfOpticalPaths") or 1)
        if count > opened.frames.n_frames:
            raise CorruptDicomError(
                f"{opened.location}: Number of Optical Paths (0048,0302) is {count}, but Number of "
                f"Frames (0028,0008) is {opened.frames.n_frames}"
            )
        return tuple(OpticalPath(str(number)) for number in range(1, count + 1))
    return tuple(
        OpticalPath(
            str(item.get("OpticalPathIdentifier") or number),
            str(item.get("OpticalPathDescription") or ""),
            float(item.IlluminationWaveLength) if item.get("IlluminationWaveLength") else None,
        )
        for number, item in enumerate(items, 1)
    )


def told_apart(paths: Iterable[OpticalPath]) -> dict[OpticalPath, OpticalPath]:
    """Each different path with an identifier of its own.

    Writers of one file per channel tend to call the path of every file ``1``: then the
    description, or the wavelength, tells them apart.
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
    """Coordinates that describe optical paths; scalars where the path is no dimension."""
    found = {"optical_path": texts([path.identifier for path in paths])}
    if any(path.description for path in paths):
        found["optical_path_description"] = texts([path.description for path in paths])
    if any(path.wavelength for path in paths):
        found["wavelength"] = np.asarray([path.wavelength or np.nan for path in paths])
    if not dimension:
        del found["optical_path"]
        # A string by itself would become a fixed-width one.
        return {
            name: Coordinate((), values[:1].reshape(()), _units(name))
            for name, values in found.items()
        }
    return {
        name: Coordinate(("optical_path",), values, _units(name)) for name, values in found.items()
    }


def _units(name: str) -> dict[str, str]:
    return {"units": "nm"} if name == "wavelength" else {}
