"""One image stored as several instances (PS3.3 C.7.6.16.2.2.4, Concatenations)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.frameset import FrameSet


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A SOP instance, or the parts of one that was split.

    Attributes
    ----------
    parts
        In the order of their frames.
    first_frames
        For each part the number of its first frame in the whole.
    """

    parts: tuple[Instance, ...]
    first_frames: tuple[int, ...]

    @property
    def first(self) -> Instance:
        """The part that speaks for all."""
        return self.parts[0]

    @property
    def frames(self) -> FrameSet:
        """All frames that are there."""
        return FrameSet.of(self.parts)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Number in the whole of every frame that is there."""
        return np.concatenate(
            [
                first + np.arange(part.frames.n_frames, dtype=np.int64)
                for part, first in zip(self.parts, self.first_frames, strict=True)
            ]
        )


def join(opened: Sequence[Instance]) -> list[Whole]:
    """Put the parts of concatenations together; other instances are wholes by themselves.

    Raises
    ------
    CorruptDicomError
        If two parts have the same number or share frames.

    Warns
    -----
    DicomWarning
        If a part is missing; its frames read as fill.
    """
    groups: dict[str, list[Instance]] = {}
    for position, one in enumerate(opened):
        uid = one.get("ConcatenationUID")
        groups.setdefault(str(uid) if uid else f"#{position}", []).append(one)
    return [
        Whole((members[0],), (0,)) if uid.startswith("#") else _joined(members)
        for uid, members in groups.items()
    ]


def _joined(members: list[Instance]) -> Whole:
    ordered = sorted(members, key=lambda one: (_offset(one), _number(one)))
    numbers = [_number(one) for one in ordered]
    first = ordered[0]
    end = 0
    offsets = []
    for one, two in zip(ordered, numbers, strict=True):
        stated = one.dataset.get("ConcatenationFrameOffsetNumber")
        offset = end if stated is None else int(stated)
        if offset < end or numbers.count(two) > 1:
            raise CorruptDicomError(
                f"{one.location}: part {two} of concatenation {one.dataset.ConcatenationUID} "
                "stands twice, or shares frames with another part"
            )
        offsets.append(offset)
        end = offset + one.frames.n_frames
    total = first.dataset.get("InConcatenationTotalNumber")
    missing = sorted(set(range(1, int(total or max(numbers)) + 1)) - set(numbers))
    if missing:
        parts = ", ".join(str(number) for number in missing)
        warnings.warn(
            f"{first.location}: of concatenation {first.dataset.ConcatenationUID} part {parts} is "
            "missing; its frames read as fill",
            DicomWarning,
            stacklevel=2,
        )
    return Whole(tuple(ordered), tuple(offsets))


def _offset(opened: Instance) -> int:
    return int(opened.dataset.get("ConcatenationFrameOffsetNumber") or 0)


def _number(opened: Instance) -> int:
    return int(opened.dataset.get("InConcatenationNumber") or 1)
