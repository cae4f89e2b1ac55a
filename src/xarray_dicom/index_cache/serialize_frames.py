"""Frame source of an instance, as part of an entry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from sys import intern
from typing import Any

from pydicom.dataset import Dataset

from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import FrameOffsets
from xarray_dicom.frames.scanned import ScannedFrames
from xarray_dicom.frames.source import FrameSource
from xarray_dicom.index_cache.sections import (
    EntryError,
    SectionReader,
    SectionWriter,
    checked_size,
    checked_text,
)
from xarray_dicom.index_cache.serialize_offsets import JsonObject, read_offsets, write_offsets
from xarray_dicom.parsing.header import Header
from xarray_dicom.parsing.inflated_source import InflatedSource
from xarray_dicom.parsing.outline import PixelElement
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.storage.source import ByteSource, Fingerprint

#: Frames in one byte of an object, at most: of one bit each.
_MAX_FRAMES_PER_BYTE = 8

#: Names of the types of a pixel format's fields.
_FORMAT_TYPES = {field.name: str(field.type) for field in fields(PixelFormat)}

_PIXEL_ELEMENTS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})


def write_frames(frames: FrameSource, sections: SectionWriter) -> JsonObject:
    """Add sections for a frame source, and return the JSON that refers to them.

    Raises
    ------
    EntryError
        If it is no source of an object in a store, or could not find its frames again.
    """
    if not isinstance(frames, IndexedFrames | ScannedFrames):
        raise EntryError("frames are not those of an object in a store")
    source = frames.source
    inflated = None
    if isinstance(source, InflatedSource):
        inflated = source.fingerprint.size if source.fingerprint else None
    stored: JsonObject = {
        "inflated": inflated,
        "format": asdict(frames.format),
        "n_frames": frames.n_frames,
    }
    if isinstance(frames, IndexedFrames):
        stored["offsets"] = write_offsets(frames.offsets, sections)
    elif frames.header.pixel is not None and inflated is None:
        stored["unscanned"] = asdict(frames.header.pixel) | {
            "syntax": frames.header.transfer_syntax
        }
    else:
        raise EntryError("frames can't be found again")
    return stored


def stored_version(frames: FrameSource) -> Fingerprint | None:
    """Return the version of the object in its store; None where it has none."""
    if not isinstance(frames, IndexedFrames | ScannedFrames):
        return None
    source = frames.source
    return (source.source if isinstance(source, InflatedSource) else source).fingerprint


def add_scanned_offsets(stored: JsonObject, offsets: FrameOffsets, sections: SectionWriter) -> None:
    """Put the offsets that a scan found into what `write_frames` returned.

    Parameters
    ----------
    stored
        What `write_frames` returned; changed in place.
    offsets
        Byte ranges of all frames.
    sections
        Sections of the entry, to which those of the offsets are added.

    Raises
    ------
    EntryError
        If the offsets can't be written.
    """
    stored["offsets"] = write_offsets(offsets, sections)
    stored.pop("unscanned", None)


def read_frames(
    stored: JsonObject, sections: SectionReader, source: ByteSource
) -> IndexedFrames | ScannedFrames:
    """Read the frame source that `write_frames` was given.

    Parameters
    ----------
    stored
        What `write_frames` returned.
    sections
        The sections that it refers to.
    source
        The object, opened.

    Raises
    ------
    EntryError
        If the JSON contradicts itself or the object; a missing key is a `KeyError`.
    """
    size = source.fingerprint.size if source.fingerprint else 0
    if stored["inflated"] is not None:
        size = checked_size(stored["inflated"])
        source = InflatedSource(source, None, size)
    n_frames = checked_size(stored["n_frames"])
    if not 1 <= n_frames <= size * _MAX_FRAMES_PER_BYTE:
        raise EntryError("the object has no room for so many frames")
    pixel_format = _read_format(stored["format"])
    if "offsets" in stored:
        offsets = read_offsets(stored["offsets"], sections, n_frames)
        return IndexedFrames(source, pixel_format, n_frames, offsets)
    return ScannedFrames(source, pixel_format, n_frames, _read_unscanned(stored["unscanned"]))


def call_after_scan(
    frames: FrameSource, callback: Callable[[FrameOffsets], Awaitable[None]]
) -> None:
    """Have `callback` awaited with the offsets of all frames once a scan has found them.

    It is never called where the offsets are known already.
    """
    if isinstance(frames, ScannedFrames) and not frames.has_offsets:
        frames.on_located(callback)


def _read_format(stored: JsonObject) -> PixelFormat:
    if {name: type(value).__name__ for name, value in stored.items()} != _FORMAT_TYPES:
        raise EntryError("this is no pixel format")
    # One string for all instances of a series, also when they are pickled.
    values: dict[str, Any] = {
        name: intern(value) if isinstance(value, str) else value for name, value in stored.items()
    }
    pixel_format = PixelFormat(**values)
    if min(pixel_format.rows, pixel_format.columns, pixel_format.samples) < 1:
        raise EntryError("frames have no pixels")
    return pixel_format


def _read_unscanned(stored: JsonObject) -> Header:
    """Read the header that a scan for frames starts from: the place of the pixel data."""
    keyword, length = checked_text(stored["keyword"]), stored["length"]
    if keyword not in _PIXEL_ELEMENTS:
        raise EntryError("this is no element of pixel data")
    pixel = PixelElement(
        keyword,
        checked_size(stored["offset"]),
        length and checked_size(length),
        checked_text(stored["vr"]),
    )
    return Header(Dataset(), checked_text(stored["syntax"]), None, pixel, b"")
