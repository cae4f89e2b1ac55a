"""What parsing finds in an object, before anything is known about its meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

#: Tags from an item of the Per-Frame Functional Groups Sequence down to an element.
Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data element lies.

    `offset` is that of the first byte of its value in the object (or in
    `Header.inflated`); `length` is None when undefined (encapsulated). `vr` is empty where it
    is implicit.
    """

    keyword: str
    offset: int
    length: int | None
    vr: str = ""


@dataclass(frozen=True, slots=True)
class Leaves:
    """Where one wanted element lies in the items that have it: parallel arrays.

    `vr` is the VR's two letters as a little-endian number, 0 where it is implicit.
    """

    item: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    vr: NDArray[np.uint16]

    def where(self, mask: NDArray[np.bool_]) -> Leaves:
        """Some of them."""
        return Leaves(self.item[mask], self.offset[mask], self.length[mask], self.vr[mask])


def joined(parts: Sequence[Leaves]) -> Leaves:
    """All of some leaves of one element."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        none = np.empty(0, np.int64)
        return Leaves(none, none, none, np.empty(0, np.uint16))
    return Leaves(
        np.concatenate([part.item for part in parts]),
        np.concatenate([part.offset for part in parts]),
        np.concatenate([part.length for part in parts]),
        np.concatenate([part.vr for part in parts]),
    )


@dataclass(slots=True)
class Trace:
    """The items of one sequence, as far as the buffer shows them.

    Attributes
    ----------
    count
        Complete items.
    end
        First byte after the sequence if `closed`, else the start of the first item that
        is not there in full.
    closed
        Whether the end of the sequence was reached.
    leaves
        Wanted elements, `item` counting from 0 in file order.
    walked
        Items that were walked one by one.
    needed
        If not `closed`: how many bytes the buffer must have to show more.
    wanted
        Paths of the elements that were looked for.
    """

    count: int = 0
    end: int = 0
    closed: bool = False
    leaves: dict[Path, list[Leaves]] = field(default_factory=dict)
    walked: int = 0
    needed: int = 0
    wanted: frozenset[Path] = frozenset()

    def followed_by(self, more: Trace) -> Trace:
        """This trace with what was traced from its end on, when more bytes had come."""
        for path, parts in more.leaves.items():
            self.leaves.setdefault(path, []).extend(
                replace(part, item=part.item + self.count) for part in parts
            )
        return replace(
            more,
            count=self.count + more.count,
            leaves=self.leaves,
            walked=self.walked + more.walked,
            wanted=more.wanted if not self.count else self.wanted & more.wanted,
        )


@dataclass(frozen=True, slots=True)
class FunctionalGroups:
    """The undecoded value of the Per-Frame Functional Groups Sequence (5200,9230).

    Attributes
    ----------
    content
        Bytes that hold it, perhaps among others.
    implicit_vr, little_endian
        How it is encoded.
    length_is_undefined
        Whether it ends with a delimiter.
    start, end
        First byte of the value in `content`, and first byte after it; None is the end of
        `content`.
    trace
        Its items, if they had to be found already to see where it ends.
    """

    content: bytes = field(repr=False)
    implicit_vr: bool
    little_endian: bool
    length_is_undefined: bool
    start: int = 0
    end: int | None = None
    trace: Trace | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the value."""
        return (len(self.content) if self.end is None else self.end) - self.start


@dataclass(frozen=True, slots=True)
class Header:
    """Everything before the pixel data.

    Attributes
    ----------
    dataset
        File meta and data set, without pixel data and without (5200,9230).
    transfer_syntax
        UID; the one the bytes obey, where the meta header lies.
    per_frame
        The raw Per-Frame Functional Groups Sequence, or None.
    pixel
        Where the pixels are, or None for an object without.
    head
        The object's first bytes, as far as they were fetched: what lies just behind the
        header often came along.
    inflated
        The whole inflated data set of a deflated object, else None.
    """

    dataset: Dataset
    transfer_syntax: str
    per_frame: FunctionalGroups | None
    pixel: PixelElement | None
    head: bytes = field(repr=False)
    inflated: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Column:
    """The values that one element has in every frame.

    Attributes
    ----------
    values
        Shape ``(frames, multiplicity)``: float64 for DS, FD, FL, OF and OD; int64 for IS, US,
        SS, UL, SL, UV, SV and AT; fixed-width bytes (``S…``, padding stripped) for all else.
        Where a frame has fewer values the rest is NaN, 0 or empty.
    count
        How many values each frame has, shape ``(frames,)``; 0 where the element is absent.
    """

    values: NDArray[np.generic]
    count: NDArray[np.int32]
