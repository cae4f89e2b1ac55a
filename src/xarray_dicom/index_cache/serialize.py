"""Payload of an entry: a JSON text, and sections of bytes and arrays that it refers to.

The first four bytes are the length of the JSON text, little endian; the text and the sections
follow. A section is referred to by offset, stored length and length. Arrays are stored little
endian, bytes of equal significance together, compressed where that helps. A column that all
frames share is one row. No entry holds the location of its object, and nothing of the header
but what `xarray_dicom.index_cache.header_subset` allows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import DicomWarning
from xarray_dicom.frames.offsets import FrameOffsets
from xarray_dicom.index_cache.header_subset import (
    allow_list_digest,
    read_subset,
    require_allowed_paths,
    write_subset,
)
from xarray_dicom.index_cache.sections import (
    EntryError,
    SectionReader,
    SectionWriter,
    checked_size,
    checked_text,
)
from xarray_dicom.index_cache.serialize_frames import (
    add_scanned_offsets,
    read_frames,
    stored_version,
    write_frames,
)
from xarray_dicom.index_cache.serialize_offsets import JsonObject
from xarray_dicom.instance import Instance
from xarray_dicom.parsing.column_values import Column
from xarray_dicom.parsing.encoding import TagPath
from xarray_dicom.storage.source import ByteSource, Fingerprint

#: Version of the payload; entries of other versions are ignored.
FORMAT = 2

#: Largest tag of an element, (FFFF,FFFF).
_MAX_TAG = 0xFFFFFFFF


class Entry(NamedTuple):
    """An entry, read.

    Attributes
    ----------
    instance
        The instance, as opening it by its header would give it.
    warnings
        Warnings that opening it drew, without location.
    """

    instance: Instance
    warnings: list[DicomWarning]


def serialize(opened: Instance, warnings: Sequence[DicomWarning] = ()) -> bytes | None:
    """Return an entry, from which another process opens the same version of an object.

    Parameters
    ----------
    opened
        The instance.
    warnings
        Warnings that opening it drew.

    Returns
    -------
    bytes or None
        None if the instance has no pixels, its store has no version of it, or laying it out
        takes an element of its header that may not be stored.
    """
    try:
        return _serialize(opened, warnings)
    except Exception:
        # Whatever is odd about the object, the next open reads its header again.
        return None


def add_offsets(
    entry: bytes, offsets: FrameOffsets, warnings: Sequence[DicomWarning]
) -> bytes | None:
    """Return an entry with the offsets that a scan has found since it was made.

    Parameters
    ----------
    entry
        What `serialize` returned.
    offsets
        Byte ranges of all frames.
    warnings
        Warnings that the scan drew.

    Returns
    -------
    bytes or None
        None if the entry is damaged, or the offsets can't be written.
    """
    try:
        head, content = _split(entry)
        sections = SectionWriter(content)
        add_scanned_offsets(head, offsets, sections)
        head["warnings"] += [_write_warning(warning) for warning in warnings]
        return _join(head, sections)
    except Exception:
        return None


def deserialize(entry: bytes, source: ByteSource) -> Entry | None:
    """Open an instance from an entry.

    Parameters
    ----------
    entry
        What `serialize` returned.
    source
        The object, opened.

    Returns
    -------
    Entry or None
        None if the entry is damaged, made by another release, or of another version of the
        object.
    """
    try:
        return _deserialize(entry, source)
    except Exception:
        # Whatever is wrong with an entry, the object itself can be read.
        return None


def entry_fingerprint(entry: bytes) -> Fingerprint | None:
    """Return the fingerprint of the object that an entry is of; None if it is damaged."""
    try:
        head, _ = _split(entry)
        return Fingerprint(checked_size(head["size"]), checked_text(head["version"]))
    except Exception:
        return None


@cache
def rules_digest() -> str:
    """Return a digest of release, format and allow-list: entries with another one are ignored."""
    parts = (version("xarray-dicom").encode(), FORMAT.to_bytes(4, "little"), allow_list_digest())
    return blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def _serialize(opened: Instance, warnings: Sequence[DicomWarning]) -> bytes:
    if opened.frame_source is None:
        raise EntryError("the object has no pixels")
    fingerprint = stored_version(opened.frame_source)
    if fingerprint is None or not fingerprint.version:
        raise EntryError("the store has no version of the object")
    require_allowed_paths(opened.columns)
    sections = SectionWriter()
    head: JsonObject = {
        "rules": rules_digest(),
        "size": fingerprint.size,
        "version": fingerprint.version,
        "header": sections.add_bytes(write_subset(opened.dataset)),
        "columns": [
            _write_column(path, column, sections) for path, column in opened.columns.items()
        ],
        "warnings": [_write_warning(warning) for warning in warnings],
        **write_frames(opened.frame_source, sections),
    }
    return _join(head, sections)


def _join(head: JsonObject, sections: SectionWriter) -> bytes:
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, sections.to_bytes()])


def _split(entry: bytes) -> tuple[JsonObject, bytes]:
    """Return the JSON of an entry, and its sections."""
    start = 4 + int.from_bytes(entry[:4], "little")
    head: JsonObject = json.loads(entry[4:start])
    if head["rules"] != rules_digest():
        raise EntryError("the entry was made by another release")
    return head, entry[start:]


def _deserialize(entry: bytes, source: ByteSource) -> Entry:
    head, content = _split(entry)
    if source.fingerprint != Fingerprint(head["size"], head["version"]):
        raise EntryError("the entry is of another version of the object")
    sections = SectionReader(content)
    frames = read_frames(head, sections, source)
    dataset = read_subset(sections.read_bytes(head["header"]))
    columns = dict(_read_column(column, sections, frames.n_frames) for column in head["columns"])
    warnings = [_read_warning(warning) for warning in head["warnings"]]
    return Entry(Instance(frames.location, dataset, columns, frames), warnings)


def _write_warning(warning: DicomWarning) -> JsonObject:
    """Return the JSON of a warning; its location is that of the object, wherever it lies."""
    tag = None if warning.tag is None else int(warning.tag)
    return {"message": warning.message, "frame": warning.frame, "tag": tag}


def _read_warning(stored: JsonObject) -> DicomWarning:
    frame, tag = (None if stored[n] is None else checked_size(stored[n]) for n in ("frame", "tag"))
    if frame == 0 or (tag is not None and tag > _MAX_TAG):
        raise EntryError("this is no warning about a frame or an element")
    return DicomWarning(checked_text(stored["message"]), frame=frame, tag=tag)


def _write_column(path: TagPath, column: Column, sections: SectionWriter) -> JsonObject:
    return {
        "path": list(path),
        "values": sections.add_array(_distinct_rows(column.values)),
        "count": sections.add_array(_distinct_rows(column.count)),
    }


def _distinct_rows(array: NDArray[Any]) -> NDArray[Any]:
    """Return the rows of `array`; a single one if all are equal, bit for bit."""
    rows = np.ascontiguousarray(array)
    octets = rows.view(np.uint8).reshape(len(rows), -1)
    return rows[:1] if (octets == octets[0]).all() else rows


def _read_column(
    stored: JsonObject, sections: SectionReader, n_frames: int
) -> tuple[TagPath, Column]:
    path = tuple(checked_size(tag) for tag in stored["path"])
    values, count = (sections.read_array(stored[name]) for name in ("values", "count"))
    if values.ndim != 2 or count.ndim != 1 or count.dtype != np.int32:
        raise EntryError("this is no column")
    if values.dtype.kind not in "fiS" or not {len(values), len(count)} <= {1, n_frames}:
        raise EntryError("a column is of another number of frames")
    if int(count.min()) < 0 or int(count.max()) > values.shape[1]:
        raise EntryError("a column has fewer values than it counts")
    return path, Column(
        np.broadcast_to(values, (n_frames, values.shape[1])), np.broadcast_to(count, (n_frames,))
    )
