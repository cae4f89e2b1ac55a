"""Items of a sequence as a trace through its bytes shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.encoding import TagPath


@dataclass(frozen=True, slots=True)
class ValueRanges:
    """Byte ranges of the values of one element, in the items that have it: parallel arrays.

    Attributes
    ----------
    item
        Number of the item, from 0.
    offset, length
        Bytes in the buffer.
    vr
        The two letters of the VR as a little-endian number, 0 where it is implicit.
    """

    item: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    vr: NDArray[np.uint16]

    def where(self, mask: NDArray[np.bool_]) -> ValueRanges:
        """Return the ranges that `mask` selects."""
        return ValueRanges(self.item[mask], self.offset[mask], self.length[mask], self.vr[mask])


def concatenate(parts: Sequence[ValueRanges]) -> ValueRanges:
    """Concatenate ranges of one element, in the order given."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        none = np.empty(0, np.int64)
        return ValueRanges(none, none, none, np.empty(0, np.uint16))
    return ValueRanges(
        np.concatenate([part.item for part in parts]),
        np.concatenate([part.offset for part in parts]),
        np.concatenate([part.length for part in parts]),
        np.concatenate([part.vr for part in parts]),
    )


@dataclass(slots=True)
class Trace:
    """The items of one sequence, as far as the buffer holds them.

    Attributes
    ----------
    count
        Complete items.
    end
        First byte after the sequence if `closed`, else the start of the first item that
        is not there in full.
    closed
        True if the end of the sequence was reached.
    values
        Byte ranges of the selected elements, `item` counting from 0 in file order.
    needed
        If not `closed`: how many bytes the buffer must have to show more.
    selected
        Paths of the elements whose values were located.
    """

    count: int = 0
    end: int = 0
    closed: bool = False
    values: dict[TagPath, list[ValueRanges]] = field(default_factory=dict)
    needed: int = 0
    selected: frozenset[TagPath] = frozenset()

    def followed_by(self, more: Trace) -> Trace:
        """Return this trace with `more`, which was traced from its end on in a longer buffer."""
        for path, parts in more.values.items():
            self.values.setdefault(path, []).extend(
                replace(part, item=part.item + self.count) for part in parts
            )
        return replace(
            more,
            count=self.count + more.count,
            values=self.values,
            selected=more.selected if not self.count else self.selected & more.selected,
        )
