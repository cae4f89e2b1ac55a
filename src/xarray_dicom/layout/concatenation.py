"""One image stored as several instances (PS3.3 C.7.6.16.2.2.4, Concatenations)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.instance import Instance
from xarray_dicom.layout.frame_set import FrameSet
from xarray_dicom.warn import warn


@dataclass(frozen=True, slots=True, eq=False)
class JoinedInstance:
    """A SOP instance, or the parts of a concatenation joined to the instance it was.

    Attributes
    ----------
    parts
        The instances, in the order of their frames.
    first_frames
        For each part the number of its first frame in the joined instance, from 0.
    """

    parts: tuple[Instance, ...]
    first_frames: tuple[int, ...]

    @property
    def first(self) -> Instance:
        """First part, whose header stands for all."""
        return self.parts[0]

    @property
    def location(self) -> str:
        """Location of the first part."""
        return self.first.location

    @property
    def frames(self) -> FrameSet:
        """All frames that are stored."""
        return FrameSet.of(self.parts)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Number in the joined instance of every frame that is stored."""
        return np.concatenate(
            [
                first + np.arange(part.frames.n_frames, dtype=np.int64)
                for part, first in zip(self.parts, self.first_frames, strict=True)
            ]
        )


def join(instances: Sequence[Instance]) -> list[JoinedInstance]:
    """Join the parts of concatenations; other instances stay by themselves.

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
    for position, instance in enumerate(instances):
        uid = instance.get("ConcatenationUID")
        groups.setdefault(str(uid) if uid else f"#{position}", []).append(instance)
    return [
        JoinedInstance((members[0],), (0,)) if uid.startswith("#") else _joined(members)
        for uid, members in groups.items()
    ]


def _joined(members: list[Instance]) -> JoinedInstance:
    ordered = sorted(members, key=lambda part: (_offset(part), _number(part)))
    numbers = [_number(part) for part in ordered]
    first = ordered[0]
    end = 0
    offsets = []
    for part, number in zip(ordered, numbers, strict=True):
        stated = part.get("ConcatenationFrameOffsetNumber")
        offset = end if stated is None else int(stated)
        if offset < end or numbers.count(number) > 1:
            raise CorruptDicomError(
                f"part {number} of concatenation {part.dataset.ConcatenationUID} stands twice, "
                "or shares frames with another part",
                location=part.location,
                tag="InConcatenationNumber",
            )
        offsets.append(offset)
        end = offset + part.frames.n_frames
    total = first.get("InConcatenationTotalNumber")
    missing = sorted(set(range(1, int(total or max(numbers)) + 1)) - set(numbers))
    if missing:
        parts = ", ".join(str(number) for number in missing)
        warn(
            f"of concatenation {first.dataset.ConcatenationUID} part {parts} is missing; its "
            "frames read as fill",
            location=first.location,
        )
    return JoinedInstance(tuple(ordered), tuple(offsets))


def _offset(part: Instance) -> int:
    return int(part.get("ConcatenationFrameOffsetNumber") or 0)


def _number(part: Instance) -> int:
    return int(part.get("InConcatenationNumber") or 1)
