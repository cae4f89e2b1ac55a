"""Where frames lie, as sections of a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xarray_dicom.frames.offsets import (
    ExactOffsets,
    FrameOffsets,
    ItemOffsets,
    NativeOffsets,
    SingleFrame,
)
from xarray_dicom.index_cache.sections import Reader, RecordError, Sections, number, text

Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """How one kind of offsets is written and read; the location is never written."""

    kind: type
    write: Callable[[Any, Sections], Told]
    read: Callable[[Told, Reader, str], FrameOffsets]


def _write_native(offsets: NativeOffsets, sections: Sections) -> Told:
    return {
        "n_frames": offsets.n_frames,
        "start": offsets.start,
        "frame_bits": offsets.frame_bits,
        "end": offsets.end,
        "unit": offsets.unit,
    }


def _read_native(told: Told, sections: Reader, location: str) -> NativeOffsets:
    names = ("n_frames", "start", "frame_bits", "end", "unit")
    n_frames, start, frame_bits, end, unit = (number(told[name]) for name in names)
    if unit not in (8, 16) or not frame_bits:
        raise RecordError("no such native frames")
    return NativeOffsets(n_frames, start, frame_bits, end, unit)


def _write_exact(offsets: ExactOffsets, sections: Sections) -> Told:
    # Gaps are an item header and a padding byte at most, so they cost next to nothing.
    length = offsets.length.astype(np.int64)
    gaps = offsets.offset.copy()
    gaps[1:] -= offsets.offset[:-1] + length[:-1]
    return {
        "gaps": sections.add_array(gaps),
        "lengths": sections.add_array(length),
        "end": offsets.end,
        "table": offsets.table,
    }


def _read_exact(told: Told, sections: Reader, location: str) -> ExactOffsets:
    gaps, length = (sections.array(told[name]) for name in ("gaps", "lengths"))
    if gaps.dtype != np.int64 or length.dtype != np.int64 or gaps.shape != length.shape:
        raise RecordError("gaps and lengths don't match")
    offset = np.cumsum(gaps)
    offset[1:] += np.cumsum(length[:-1])
    end, table = number(told["end"]), text(told["table"])
    if int(length.min()) < 0 or int(offset.min()) < 0:
        raise RecordError("a frame has no place")
    return ExactOffsets.from_lengths(offset, length, end, table)


def _write_items(offsets: ItemOffsets, sections: Sections) -> Told:
    if offsets.first:
        raise RecordError("offsets of some frames alone")
    return {
        "edges": sections.add_steps(offsets.edges),
        "n_frames": offsets.n_frames,
        "end": offsets.end,
    }


def _read_items(told: Told, sections: Reader, location: str) -> ItemOffsets:
    edges = sections.steps(told["edges"])
    n_frames, end = number(told["n_frames"]), number(told["end"])
    if edges.ndim != 1 or not 1 <= edges.size <= n_frames + 1 or int(edges.min()) < 0:
        raise RecordError("no such items")
    return ItemOffsets(edges, n_frames, end)


def _write_single(offsets: SingleFrame, sections: Sections) -> Told:
    return {"start": offsets.start, "end": offsets.end}


def _read_single(told: Told, sections: Reader, location: str) -> SingleFrame:
    return SingleFrame(number(told["start"]), number(told["end"]))


FORMS = {
    "native": Form(NativeOffsets, _write_native, _read_native),
    "exact": Form(ExactOffsets, _write_exact, _read_exact),
    "items": Form(ItemOffsets, _write_items, _read_items),
    "single": Form(SingleFrame, _write_single, _read_single),
}


def write_offsets(offsets: FrameOffsets, sections: Sections) -> Told:
    """What to note of `offsets`.

    Raises
    ------
    RecordError
        If they are of a kind without a form.
    """
    for name, form in FORMS.items():
        if type(offsets) is form.kind:
            return {"form": name, **form.write(offsets, sections)}
    raise RecordError(f"no form for {type(offsets).__name__}")


def read_offsets(told: Told, sections: Reader, location: str, n_frames: int) -> FrameOffsets:
    """The offsets that `write_offsets` was given, of an object at `location`."""
    offsets = FORMS[text(told["form"])].read(told, sections, location)
    if offsets.n_frames != n_frames:
        raise RecordError("offsets are not those of so many frames")
    return offsets
