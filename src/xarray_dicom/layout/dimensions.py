"""What tells frames of one plane apart, arranged as dimensions.

Times, echoes, b-values and the like come from the Dimension Index of an enhanced object
(PS3.3 C.7.6.17) or from attributes of classic ones. Values that fill a grid are one dimension
each; else every combination is a step along ``volume``; what can't be arranged stays a
sequence of frames.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.intp]
Values = NDArray[np.generic]

#: Attributes that say where a frame lies, or which segment it shows: never extra dimensions.
SPATIAL = frozenset(
    {
        "ColumnPositionInTotalImagePixelMatrix",
        "ImageOrientationPatient",
        "ImageOrientationSlide",
        "ImageOrientationVolume",
        "ImagePositionPatient",
        "ImagePositionVolume",
        "InStackPositionNumber",
        "PlaneOrientationSequence",
        "PlanePositionSequence",
        "PlanePositionSlideSequence",
        "PlanePositionVolumeSequence",
        "ReferencedSegmentNumber",
        "RowPositionInTotalImagePixelMatrix",
        "SliceLocation",
        "SliceVector",
        "StackID",
        "XOffsetInSlideCoordinateSystem",
        "YOffsetInSlideCoordinateSystem",
        "ZOffsetInSlideCoordinateSystem",
    }
)

#: Keywords whose dimension is not called as the keyword in snake case.
NAMES = {
    "EchoNumbers": "echo_number",
    "EffectiveEchoTime": "echo_time",
    "FrameAcquisitionDateTime": "acquisition_date_time",
    "FrameAcquisitionNumber": "acquisition_number",
    "FrameReferenceDateTime": "reference_date_time",
    "FrameReferenceTime": "reference_time",
    "FrameType": "image_type",
    "InversionTimes": "inversion_time",
    "NominalCardiacTriggerDelayTime": "trigger_time",
    "NominalRespiratoryTriggerDelayTime": "respiratory_trigger_time",
    "TemporalPositionIdentifier": "temporal_position",
    "TemporalPositionIndex": "temporal_position",
}

#: Attributes of classic instances that may tell frames at one position apart, the most
#: telling first.
CLASSIC_KEYWORDS = (
    "TemporalPositionIdentifier",
    "TriggerTime",
    "EchoTime",
    "EchoNumbers",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "InversionTime",
    "FlipAngle",
    "RepetitionTime",
    "ComplexImageComponent",
    "ImageType",
    "KVP",
    "ConvolutionKernel",
    "NominalPercentageOfCardiacPhase",
    "FrameReferenceTime",
    "AcquisitionNumber",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "InstanceNumber",
)

VOLUME = "volume"
FRAME = "frame"
PLANE = "z"

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MOST_DIMENSIONS = 5


def dimension_name(attribute: str | int) -> str:
    """Name of the dimension that an attribute makes.

    Parameters
    ----------
    attribute
        Keyword, or the tag of an attribute without one (private ones).

    Examples
    --------
    >>> dimension_name("EffectiveEchoTime"), dimension_name("DiffusionBValue")
    ('echo_time', 'diffusion_b_value')
    >>> dimension_name(0x2001100A)
    'private_2001_100a'
    """
    if isinstance(attribute, int):
        kind = "private" if attribute >> 16 & 1 else "tag"
        return f"{kind}_{attribute >> 16:04x}_{attribute & 0xFFFF:04x}"
    return NAMES.get(attribute) or _WORDS.sub("_", attribute).lower()


@dataclass(frozen=True, slots=True)
class Coordinate:
    """Values along some of the dimensions: extra ones, ``z``, or ``frame``."""

    name: str
    dims: tuple[str, ...]
    values: Values


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Where frames belong besides their plane.

    Attributes
    ----------
    dims
        Name and size of each extra dimension, slowest first.
    coords
        Coordinates of the extra dimensions, then attributes that vary with them or with ``z``.
    cells
        For each extra dimension the index of every frame, shape ``(frames,)``.
    has_planes
        Whether ``z`` is a dimension too; not so when the dimension is ``frame``.
    warnings
        What a user should know, as sentences without the source.
    """

    dims: tuple[tuple[str, int], ...]
    coords: tuple[Coordinate, ...]
    cells: tuple[Indices, ...]
    has_planes: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    """An attribute as codes: ``values[codes]`` is what each frame has; values ascend."""

    name: str
    values: Values
    codes: Indices

    @property
    def size(self) -> int:
        return len(self.values)


def arrange(plane: ArrayLike, columns: Mapping[str, ArrayLike]) -> Arrangement:
    """Decide on dimensions, given each frame's plane and its attributes.

    Parameters
    ----------
    plane
        Plane of each frame, integers, shape ``(frames,)``.
    columns
        Dimension name to the value of each frame, numbers or strings, shape ``(frames,)``; NaN
        and ``""`` stand for an absent value. Of two that always vary together the earlier one
        names the dimension and the other becomes a coordinate on it.

    Returns
    -------
    Arrangement
        - No extra dimension where no plane has two frames.
        - One dimension per attribute where values fill a grid: every combination occurs, and
          no cell has two frames. Cells without a frame are counted in a warning.
        - Else ``volume``, one step per combination, or, where values differ from plane to plane
          (trigger times), one step per frame of each plane in ascending order.
        - Else ``frame``, with a warning that says why.
    """
    planes, z = np.unique(np.asarray(plane), return_inverse=True)
    varying = [c for c in (_encode(k, np.asarray(v)) for k, v in columns.items()) if c.size > 1]
    per_plane = np.bincount(z, minlength=len(planes))
    if per_plane.max(initial=0) <= 1:
        return _place([], [], varying, z, len(planes))

    telling = _distinct([c for c in varying if not _depends(c.codes, z)])
    joint = _joint([c.codes for c in telling], len(z))
    clash = _first_pair(joint * len(planes) + z)
    if clash is not None:
        first, second = clash
        return _sequence(
            varying,
            len(z),
            f"frames {first + 1} and {second + 1} lie in one plane and no attribute tells them "
            "apart, so frames are kept in their order",
        )
    # more than half of the cells must be filled, or values that jitter would look like steps
    filled = 0.5 if per_plane.min() == per_plane.max() else 0.25
    most = ceil(len(z) / (filled * len(planes))) - 1
    grid = _grid(telling, z, len(planes), most)
    if grid:
        return _place([c.name for c in grid], grid, varying, z, len(planes))
    steps = _steps(telling, z, len(planes), most)
    if steps is None and per_plane.min() == per_plane.max():
        steps = _ranks(telling, z)
    if steps is None:
        names = ", ".join(c.name for c in telling)
        return _sequence(
            varying,
            len(z),
            f"planes have {per_plane.min()} to {per_plane.max()} frames with values of {names} "
            "that do not recur from plane to plane, so frames are kept in their order",
        )
    volume = _Column(VOLUME, np.arange(int(steps.max()) + 1), steps)
    return _place([VOLUME], [volume], varying, z, len(planes))


def _encode(name: str, values: Values) -> _Column:
    if values.dtype == object:
        values = values.astype(str)
    distinct, codes = np.unique(values, return_inverse=True)
    return _Column(name, distinct, codes.reshape(-1))


def _depends(codes: Indices, key: Indices) -> bool:
    """Whether equal keys always have equal codes."""
    sample = np.zeros(int(key.max()) + 1, np.intp)
    sample[key] = codes
    return bool(np.array_equal(sample[key], codes))


def _distinct(columns: Sequence[_Column]) -> list[_Column]:
    """Columns without those that always vary together with an earlier one."""
    kept: list[_Column] = []
    for column in columns:
        if not any(
            column.size == other.size and _depends(column.codes, other.codes) for other in kept
        ):
            kept.append(column)
    return kept


def _joint(codes: Sequence[Indices], n: int) -> Indices:
    """Number of each frame's combination, in lexicographic order of the columns."""
    joint = np.zeros(n, np.intp)
    for column in codes:
        combined = joint * (int(column.max(initial=0)) + 1) + column
        joint = np.unique(combined, return_inverse=True)[1].reshape(-1)
    return joint


def _first_pair(cells: Indices) -> tuple[int, int] | None:
    """The first two frames that share a cell."""
    order = np.argsort(cells, kind="stable")
    same = np.flatnonzero(np.diff(cells[order]) == 0)
    if same.size == 0:
        return None
    second = order[same + 1].min()
    first = np.flatnonzero(cells == cells[second])[0]
    return int(first), int(second)


def _subsets(columns: Sequence[_Column]) -> Iterator[tuple[_Column, ...]]:
    """Several columns before few, earlier ones before later ones."""
    for count in range(min(len(columns), _MOST_DIMENSIONS), 1, -1):
        yield from itertools.combinations(columns, count)


def _grid(
    columns: Sequence[_Column], z: Indices, planes: int, most: int
) -> tuple[_Column, ...] | None:
    """Columns whose combinations all occur and place every frame by itself.

    A single column is a dimension only where nothing else varies within it: a coarser one
    (b-value beside direction) makes the combination a volume.
    """
    for chosen in _subsets(columns):
        if _fills(chosen, z, planes, most):
            return chosen
    for column in columns:
        if _fills((column,), z, planes, most) and not any(
            _depends(other.codes, column.codes) for other in columns if other is not column
        ):
            return (column,)
    return None


def _fills(chosen: tuple[_Column, ...], z: Indices, planes: int, most: int) -> bool:
    cells = prod(column.size for column in chosen)
    if cells > most or cells * planes < len(z):
        return False
    combination = _ravel(chosen)
    every = np.bincount(combination, minlength=cells).all()
    return bool(every) and int(np.bincount(combination * planes + z).max()) == 1


def _steps(columns: Sequence[_Column], z: Indices, planes: int, most: int) -> Indices | None:
    """Step of each frame by combination of the columns that recur from plane to plane."""
    recurring = [column.codes for column in columns if column.size <= most]
    joint = _joint(recurring, len(z))
    if int(joint.max()) + 1 > most or np.bincount(joint * planes + z).max() > 1:
        return None
    return joint


def _ranks(columns: Sequence[_Column], z: Indices) -> Indices:
    """Step of each frame by its rank in its plane, by the columns in turn."""
    order = np.lexsort([*(column.codes for column in reversed(columns)), z])
    ranks = np.empty(len(z), np.intp)
    ranks[order] = np.arange(len(z)) % int(np.bincount(z).max())
    return ranks


def _ravel(columns: Sequence[_Column]) -> Indices:
    return np.ravel_multi_index(
        tuple(column.codes for column in columns), tuple(column.size for column in columns)
    )


def _place(
    names: Sequence[str],
    axes: Sequence[_Column],
    varying: Sequence[_Column],
    z: Indices,
    planes: int,
) -> Arrangement:
    """Arrangement with `axes` as extra dimensions and the other columns as coordinates."""
    along = [*axes, _Column(PLANE, np.arange(planes), z)]
    own = [Coordinate(c.name, (c.name,), c.values) for c in axes if c.name != VOLUME]
    others = [_spread(c, along) for c in varying if c.name not in names]
    cells = prod(column.size for column in along)
    empty = cells - len(z)
    warnings = (
        (f"{empty} of {cells} planes have no frame and read as fill",) if axes and empty else ()
    )
    return Arrangement(
        tuple((column.name, column.size) for column in axes),
        (*own, *others),
        tuple(column.codes for column in axes),
        warnings=warnings,
    )


def _spread(column: _Column, along: Sequence[_Column]) -> Coordinate:
    """A column as a coordinate on as few of the dimensions as determine it."""
    for count in range(1, len(along) + 1):
        for chosen in itertools.combinations(along, count):
            cell = _ravel(chosen)
            if count == len(along) or _depends(column.codes, cell):
                shape = tuple(axis.size for axis in chosen)
                values = _fill(column, cell, prod(shape)).reshape(shape)
                return Coordinate(column.name, tuple(axis.name for axis in chosen), values)
    raise AssertionError("every column depends on all dimensions together")


def _fill(column: _Column, cell: Indices, cells: int) -> Values:
    """Values by cell; NaN or ``""`` where no frame lies."""
    known = np.zeros(cells, bool)
    known[cell] = True
    codes = np.zeros(cells, np.intp)
    codes[cell] = column.codes
    values = column.values[codes]
    if known.all():
        return values
    if values.dtype.kind in "iub":
        values = values.astype(np.float64)
    values[~known] = np.nan if values.dtype.kind == "f" else values.dtype.type()
    return values


def _sequence(varying: Sequence[_Column], n: int, warning: str) -> Arrangement:
    """Frames in their own order, each with its attributes."""
    coords = tuple(Coordinate(c.name, (FRAME,), c.values[c.codes]) for c in varying)
    return Arrangement(((FRAME, n),), coords, (np.arange(n),), False, (warning,))
