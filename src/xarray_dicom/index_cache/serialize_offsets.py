"""Byte ranges of frames as sections of an entry."""

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
from xarray_dicom.index_cache.sections import (
    EntryError,
    SectionReader,
    SectionWriter,
    checked_size,
    checked_text,
)

#: JSON object.
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OffsetSerializer:
    """Functions that write and read one class of offsets.

    Attributes
    ----------
    offsets_class
        The class.
    write
        Add sections, and return the JSON that refers to them.
    read
        Read what `write` returned.
    """

    offsets_class: type
    write: Callable[[Any, SectionWriter], JsonObject]
    read: Callable[[JsonObject, SectionReader], FrameOffsets]


def _write_native(offsets: NativeOffsets, sections: SectionWriter) -> JsonObject:
    return {
        "n_frames": offsets.n_frames,
        "start": offsets.start,
        "frame_bits": offsets.frame_bits,
        "end": offsets.end,
        "unit": offsets.unit,
    }


def _read_native(stored: JsonObject, sections: SectionReader) -> NativeOffsets:
    names = ("n_frames", "start", "frame_bits", "end", "unit")
    n_frames, start, frame_bits, end, unit = (checked_size(stored[name]) for name in names)
    if unit not in (8, 16) or not frame_bits:
        raise EntryError("these are no native frames")
    return NativeOffsets(n_frames, start, frame_bits, end, unit)


def _write_exact(offsets: ExactOffsets, sections: SectionWriter) -> JsonObject:
    # Gaps are an item header and a padding byte at most, so they compress to next to nothing.
    length = offsets.length.astype(np.int64)
    gaps = offsets.offset.copy()
    gaps[1:] -= offsets.offset[:-1] + length[:-1]
    return {
        "gaps": sections.add_array(gaps),
        "lengths": sections.add_array(length),
        "end": offsets.end,
        "table": offsets.table,
    }


def _read_exact(stored: JsonObject, sections: SectionReader) -> ExactOffsets:
    gaps, length = (sections.read_array(stored[name]) for name in ("gaps", "lengths"))
    if gaps.dtype != np.int64 or length.dtype != np.int64 or gaps.shape != length.shape:
        raise EntryError("gaps and lengths don't match")
    offset = np.cumsum(gaps)
    offset[1:] += np.cumsum(length[:-1])
    end, table = checked_size(stored["end"]), checked_text(stored["table"])
    if int(length.min()) < 0 or int(offset.min()) < 0:
        raise EntryError("the byte range of a frame is negative")
    return ExactOffsets.from_lengths(offset, length, end, table)


def _write_items(offsets: ItemOffsets, sections: SectionWriter) -> JsonObject:
    if offsets.first:
        raise EntryError("these are the offsets of some frames only")
    return {
        "edges": sections.add_increasing(offsets.edges),
        "n_frames": offsets.n_frames,
        "end": offsets.end,
    }


def _read_items(stored: JsonObject, sections: SectionReader) -> ItemOffsets:
    edges = sections.read_increasing(stored["edges"])
    n_frames, end = checked_size(stored["n_frames"]), checked_size(stored["end"])
    if edges.ndim != 1 or not 1 <= edges.size <= n_frames + 1 or int(edges.min()) < 0:
        raise EntryError("these are no items of frames")
    return ItemOffsets(edges, n_frames, end)


def _write_single(offsets: SingleFrame, sections: SectionWriter) -> JsonObject:
    return {"start": offsets.start, "end": offsets.end}


def _read_single(stored: JsonObject, sections: SectionReader) -> SingleFrame:
    return SingleFrame(checked_size(stored["start"]), checked_size(stored["end"]))


#: Serializers by the name of the kind of offsets in an entry.
OFFSET_SERIALIZERS = {
    "native": OffsetSerializer(NativeOffsets, _write_native, _read_native),
    "exact": OffsetSerializer(ExactOffsets, _write_exact, _read_exact),
    "items": OffsetSerializer(ItemOffsets, _write_items, _read_items),
    "single": OffsetSerializer(SingleFrame, _write_single, _read_single),
}


def write_offsets(offsets: FrameOffsets, sections: SectionWriter) -> JsonObject:
    """Add sections for `offsets`, and return the JSON that refers to them.

    Raises
    ------
    EntryError
        If they are of a class without a serializer.
    """
    for kind, serializer in OFFSET_SERIALIZERS.items():
        if type(offsets) is serializer.offsets_class:
            return {"kind": kind, **serializer.write(offsets, sections)}
    raise EntryError(f"there is no serializer of {type(offsets).__name__}")


def read_offsets(stored: JsonObject, sections: SectionReader, n_frames: int) -> FrameOffsets:
    """Read the offsets that `write_offsets` was given.

    Parameters
    ----------
    stored
        What `write_offsets` returned.
    sections
        The sections that it refers to.
    n_frames
        Number of Frames that they must be of.

    Raises
    ------
    EntryError
        If they contradict themselves or `n_frames`; a missing key is a `KeyError`.
    """
    serializer = OFFSET_SERIALIZERS[checked_text(stored["kind"])]
    offsets = serializer.read(stored, sections)
    if offsets.n_frames != n_frames:
        raise EntryError("offsets are of another number of frames")
    return offsets
