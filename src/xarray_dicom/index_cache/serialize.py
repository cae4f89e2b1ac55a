"""The record of one instance: a JSON head, and sections of bytes and arrays.

The first four bytes are the length of the head, little endian; sections follow it and are
named in it by offset, stored length and length. Arrays are stored little endian, bytes of equal
significance together, deflated where that helps. A column that all frames share is one row.
No record holds a location, and nothing of the header but what
`xarray_dicom.index_cache.header_subset` lists.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from sys import intern
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import FrameOffsets
from xarray_dicom.frames.scanned import ScannedFrames
from xarray_dicom.frames.source import FrameSource
from xarray_dicom.index_cache.header_subset import (
    allow_list,
    read_kept,
    require_kept_paths,
    write_kept,
)
from xarray_dicom.index_cache.sections import Reader, RecordError, Sections, number, text
from xarray_dicom.index_cache.serialize_offsets import read_offsets, write_offsets
from xarray_dicom.instance import Instance
from xarray_dicom.parsing.elements import Column, Header, Path, PixelElement
from xarray_dicom.parsing.inflated import InflatedSource
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.storage.source import ByteSource, Fingerprint

#: Changes with the arrangement of records.
FORMAT = 1

#: Stands for the location of the object in what was noticed of it.
_HERE = "\N{NULL}"

#: Frames of one byte of an object, at most: of one bit each.
_FRAMES_PER_BYTE = 8

_PIXEL_ELEMENTS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})


def encode(opened: Instance, notices: Sequence[str] = ()) -> bytes | None:
    """What another process needs to open the same version of an object.

    Parameters
    ----------
    opened
        The instance.
    notices
        What was noticed while it was opened.

    Returns
    -------
    bytes or None
        None if the version of the object can't be told, or laying it out takes something of
        its header that is not to be kept.
    """
    try:
        return _encoded(opened, notices)
    except Exception:
        # Whatever is odd about an object, it is opened the long way next time as well.
        return None


def complete(
    record: bytes, offsets: FrameOffsets, notices: Sequence[str], location: str
) -> bytes | None:
    """A record with the offsets that a scan has found since it was made.

    Parameters
    ----------
    record
        What `encode` returned.
    offsets
        Where all frames lie.
    notices
        What was noticed during the scan.
    location
        Of the object.

    Returns
    -------
    bytes or None
        None if the offsets can't be noted.
    """
    try:
        head, content = _parted(record)
        sections = Sections(content)
        head["offsets"] = write_offsets(offsets, sections)
        head["notices"] += [notice.replace(location, _HERE) for notice in notices]
        head.pop("unscanned", None)
        return _joined(head, sections)
    except Exception:
        return None


def decode(record: bytes, source: ByteSource) -> tuple[Instance, list[str]] | None:
    """Open an instance from what is known of it.

    Parameters
    ----------
    record
        What `encode` returned.
    source
        The object, opened.

    Returns
    -------
    tuple or None
        The instance, and what is to be noticed of it; None if the record is damaged, made by
        another release, or of another version of the object.
    """
    try:
        return _decoded(record, source)
    except Exception:
        # Whatever is wrong with a record, the object itself is there.
        return None


def version_in(record: bytes) -> Fingerprint | None:
    """The version of the object that a record tells of; None if it tells none."""
    try:
        head, _ = _parted(record)
        return Fingerprint(number(head["size"]), text(head["version"]))
    except Exception:
        return None


@cache
def rules() -> str:
    """What tells records apart that other releases made, or that keep other elements."""
    parts = (version("xarray-dicom").encode(), FORMAT.to_bytes(4, "little"), allow_list())
    return blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def _encoded(opened: Instance, notices: Sequence[str]) -> bytes:
    instance = opened.frames
    if not isinstance(instance, IndexedFrames | ScannedFrames):
        raise RecordError("no frames of an object in a store")
    source = instance.source
    inflated = None
    if isinstance(source, InflatedSource):
        inflated = source.fingerprint.size if source.fingerprint else None
        source = source.source
    fingerprint = source.fingerprint
    if fingerprint is None or not fingerprint.version:
        raise RecordError("the version can't be told")
    sections = Sections()
    require_kept_paths(opened.columns)
    head: dict[str, Any] = {
        "rules": rules(),
        "size": fingerprint.size,
        "version": fingerprint.version,
        "inflated": inflated,
        "format": asdict(instance.format),
        "n_frames": instance.n_frames,
        "header": sections.add(write_kept(opened.dataset)),
        "columns": [
            _write_column(path, column, sections) for path, column in opened.columns.items()
        ],
        "notices": [notice.replace(opened.location, _HERE) for notice in notices],
    }
    unscanned = None if isinstance(instance, IndexedFrames) else instance.header
    if isinstance(instance, IndexedFrames):
        head["offsets"] = write_offsets(instance.offsets, sections)
    elif unscanned is not None and unscanned.pixel is not None and inflated is None:
        head["unscanned"] = asdict(unscanned.pixel) | {"syntax": unscanned.transfer_syntax}
    else:
        raise RecordError("frames can't be found again")
    return _joined(head, sections)


def _joined(head: dict[str, Any], sections: Sections) -> bytes:
    spelled = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([len(spelled).to_bytes(4, "little"), spelled, sections.joined()])


def _parted(record: bytes) -> tuple[dict[str, Any], bytes]:
    """The head of a record, and its sections."""
    start = 4 + int.from_bytes(record[:4], "little")
    head: dict[str, Any] = json.loads(record[4:start])
    if head["rules"] != rules():
        raise RecordError("made by other rules")
    return head, record[start:]


def _decoded(record: bytes, source: ByteSource) -> tuple[Instance, list[str]]:
    head, content = _parted(record)
    if source.fingerprint != Fingerprint(head["size"], head["version"]):
        raise RecordError("of another version of the object")
    sections = Reader(content)
    location = source.location
    size = number(head["size"])
    if head["inflated"] is not None:
        size = number(head["inflated"])
        source = InflatedSource(source, None, size)
    n_frames = number(head["n_frames"])
    if not 1 <= n_frames <= size * _FRAMES_PER_BYTE:
        raise RecordError("so many frames don't fit the object")
    dataset = read_kept(sections.bytes(head["header"]))
    columns = dict(_read_column(told, sections, n_frames) for told in head["columns"])
    pixel_format = _format(head["format"])
    if "offsets" in head:
        offsets = read_offsets(head["offsets"], sections, location, n_frames)
        instance: FrameSource = IndexedFrames(source, pixel_format, n_frames, offsets)
    else:
        place = _unscanned(head["unscanned"])
        instance = ScannedFrames(source, pixel_format, n_frames, place)
    notices = [text(notice).replace(_HERE, location) for notice in head["notices"]]
    return Instance(source, dataset, columns, instance), notices


def _format(told: dict[str, Any]) -> PixelFormat:
    kinds = {field.name: str(field.type) for field in fields(PixelFormat)}
    if told.keys() != kinds.keys() or any(type(told[n]).__name__ != k for n, k in kinds.items()):
        raise RecordError("no such pixel format")
    # One string for all instances of a series, also when they are pickled.
    values: dict[str, Any] = {
        name: intern(v) if isinstance(v, str) else v for name, v in told.items()
    }
    pixel_format = PixelFormat(**values)
    if min(pixel_format.rows, pixel_format.columns, pixel_format.samples) < 1:
        raise RecordError("frames without pixels")
    return pixel_format


def _unscanned(told: dict[str, Any]) -> Header:
    keyword, length = text(told["keyword"]), told["length"]
    if keyword not in _PIXEL_ELEMENTS:
        raise RecordError("no such pixel data")
    pixel = PixelElement(
        keyword, number(told["offset"]), length and number(length), text(told["vr"])
    )
    return Header(Dataset(), text(told["syntax"]), None, pixel, b"")


def _write_column(path: Path, column: Column, sections: Sections) -> dict[str, Any]:
    return {
        "path": list(path),
        "values": sections.add_array(_rows(column.values)),
        "count": sections.add_array(_rows(column.count)),
    }


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """The rows of `array`; one if they are all alike, bit for bit."""
    rows = np.ascontiguousarray(array)
    octets = rows.view(np.uint8).reshape(len(rows), -1)
    return rows[:1] if (octets == octets[0]).all() else rows


def _read_column(told: dict[str, Any], sections: Reader, n_frames: int) -> tuple[Path, Column]:
    path = tuple(number(tag) for tag in told["path"])
    values, count = (sections.array(told[name]) for name in ("values", "count"))
    if values.ndim != 2 or count.ndim != 1 or count.dtype != np.int32:
        raise RecordError("no such column")
    if values.dtype.kind not in "fiS" or not {len(values), len(count)} <= {1, n_frames}:
        raise RecordError("a column of other frames")
    if int(count.min()) < 0 or int(count.max()) > values.shape[1]:
        raise RecordError("a column with other values than it tells")
    return path, Column(
        np.broadcast_to(values, (n_frames, values.shape[1])), np.broadcast_to(count, (n_frames,))
    )
