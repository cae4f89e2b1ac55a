"""What parsing finds in an object, before anything is known about its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field

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
class FunctionalGroups:
    """The undecoded value of the Per-Frame Functional Groups Sequence (5200,9230)."""

    content: bytes
    implicit_vr: bool
    little_endian: bool
    length_is_undefined: bool


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
