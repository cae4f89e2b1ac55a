"""Strategies that locate the frames of an instance, tried one after another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np

from xarray_dicom.errors import CorruptDicomError, located
from xarray_dicom.frames.framing import ITEM_HEADER, ITEM_TAG
from xarray_dicom.frames.offsets.byte_ranges import FrameOffsets
from xarray_dicom.frames.offsets.native import NativeOffsets
from xarray_dicom.frames.offsets.pixel_data import PixelValue, UnusableTableError
from xarray_dicom.frames.offsets.tables import ExactOffsets, ItemOffsets, SingleFrame
from xarray_dicom.frames.offsets.tiff import tiff_directory
from xarray_dicom.parsing.element_values import as_tag
from xarray_dicom.parsing.header import Header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.transfer_syntax import TransferSyntax
from xarray_dicom.warn import warn

_EXTENDED_TABLE = 0x7FE00001
_EXTENDED_LENGTHS = 0x7FE00002


async def native(value: PixelValue) -> FrameOffsets | None:
    """Locate frames of uncompressed pixel data."""
    pixel = value.header.pixel
    if pixel is None or pixel.length is None:
        return None
    if TransferSyntax.of(value.format.transfer_syntax).encapsulated:
        return None
    return NativeOffsets.of_length(
        value.n_frames,
        value.start,
        pixel.length,
        value.format.frame_bits,
        value.size,
        16 if value.format.word_swapped else 8,
    )


async def extended_table(value: PixelValue) -> FrameOffsets | None:
    """Read the Extended Offset Table: exact offsets and lengths (PS3.3 C.7.6.3.1.8)."""
    # Their bytes, which conversion by pydicom would leave as they are.
    table, lengths = (
        getattr(value.header.dataset.get_item(as_tag(number)), "value", None)
        for number in (_EXTENDED_TABLE, _EXTENDED_LENGTHS)
    )
    if not table or not lengths:
        return None
    if {len(table), len(lengths)} != {8 * value.n_frames}:
        raise UnusableTableError(
            f"it has {len(table) // 8} offsets and {len(lengths) // 8} lengths for "
            f"{value.n_frames} frames"
        )
    relative, length = (np.frombuffer(column, "<u8") for column in (table, lengths))
    room = value.end - value.start
    if int(relative.max()) >= room or int(length.max()) > room:
        raise UnusableTableError("it leads behind the pixel data")
    # Offsets count from the first item after the Basic Offset Table, which should be empty.
    first = value.start + ITEM_HEADER + await _basic_table_length(value)
    item = first + relative.astype(np.int64)
    size = length.astype(np.int64)
    if int(length.min()) == 0 or (item[:-1] + ITEM_HEADER + size[:-1] > item[1:]).any():
        raise UnusableTableError("frames overlap or are empty")
    if int(item[-1] + ITEM_HEADER + size[-1]) > value.end:
        raise UnusableTableError("it leads behind the pixel data")
    value.check_items(item)
    return ExactOffsets.from_lengths(item + ITEM_HEADER, size, value.size)


async def single_frame(value: PixelValue) -> FrameOffsets | None:
    """Take every fragment for the only frame's."""
    if value.n_frames != 1:
        return None
    return SingleFrame(value.start, value.end)


async def basic_table(value: PixelValue) -> FrameOffsets | None:
    """Read the Basic Offset Table: where the first item of each frame starts (PS3.5 A.4)."""
    # Header and table in one request, and the tag behind them as a check.
    wanted = min(2 * ITEM_HEADER + 4 * value.n_frames, value.end - value.start)
    opening = await value.read(value.start, wanted)
    length = _table_length(opening, value)
    if not length:
        return None
    if length != 4 * value.n_frames:
        raise UnusableTableError(f"it has {length / 4:g} offsets for {value.n_frames} frames")
    relative = np.frombuffer(opening, "<u4", value.n_frames, ITEM_HEADER).astype(np.int64)
    first = value.start + ITEM_HEADER + length
    edges = np.append(first + relative, value.end)
    if relative[0] != 0:
        raise UnusableTableError("its first offset is not 0")
    if (np.diff(edges[:-1]) <= ITEM_HEADER).any():
        raise UnusableTableError("its offsets do not ascend; beyond 4 GiB they wrap")
    if int(edges[-2]) + ITEM_HEADER > value.end:
        raise UnusableTableError("it leads behind the pixel data")
    value.check_items(edges[:-1])
    return ItemOffsets(edges, value.n_frames, value.size)


async def _basic_table_length(value: PixelValue) -> int:
    opening = await value.read(value.start, min(ITEM_HEADER, value.end - value.start))
    return _table_length(opening, value)


def _table_length(opening: bytes, value: PixelValue) -> int:
    if opening[:4] != ITEM_TAG or len(opening) < ITEM_HEADER:
        raise CorruptDicomError(
            f"the encapsulated pixel data at byte {value.start} does not start with an item"
        )
    length = int.from_bytes(opening[4:ITEM_HEADER], "little")
    if value.start + ITEM_HEADER + length > value.end:
        raise CorruptDicomError(
            f"the Basic Offset Table of {length} bytes reaches behind the object"
        )
    return length


Strategy = Callable[[PixelValue], Awaitable[FrameOffsets | None]]

#: Strategies with their names in warnings, in the order they are tried; the first that succeeds
#: is taken.
STRATEGIES: tuple[tuple[str, Strategy], ...] = (
    ("native layout", native),
    ("Extended Offset Table", extended_table),
    ("only frame", single_frame),
    ("Basic Offset Table", basic_table),
    ("TIFF directory", tiff_directory),
)


def pixel_value(
    source: ByteSource, header: Header, n_frames: int, pixel_format: PixelFormat
) -> PixelValue:
    """Return the pixel data of an instance, which can hold as many frames as it should.

    Parameters
    ----------
    source, header, n_frames, pixel_format
        As for `find_offsets`.

    Raises
    ------
    CorruptDicomError
        If there is no pixel data, or there can't be as many frames in it.
    """
    if header.pixel is None:
        raise CorruptDicomError("the object has no pixel data", location=source.location)
    if header.inflated is not None:
        size = len(header.inflated)
    elif source.fingerprint is not None:
        size = source.fingerprint.size
    else:
        raise RuntimeError("the source must be opened before its frames are located")
    start, length = header.pixel.offset, header.pixel.length
    end = size if length is None else min(size, start + length)
    if n_frames < 1:
        raise CorruptDicomError(
            f"Number of Frames (0028,0008) is {n_frames}",
            location=source.location,
            tag="NumberOfFrames",
        )
    encapsulated = length is None or TransferSyntax.of(pixel_format.transfer_syntax).encapsulated
    if encapsulated and n_frames > (end - start) // ITEM_HEADER:
        raise CorruptDicomError(
            f"{n_frames} frames can't lie in {max(0, end - start)} bytes: Number of Frames "
            "(0028,0008) is wrong, or the object is truncated",
            location=source.location,
            tag="NumberOfFrames",
        )
    return PixelValue(source, header, pixel_format, n_frames, start, end, size)


async def find_offsets(
    source: ByteSource, header: Header, n_frames: int, pixel_format: PixelFormat
) -> FrameOffsets | None:
    """Locate frames without reading the pixel data.

    Parameters
    ----------
    source
        The object, opened.
    header
        Its header.
    n_frames
        Number of Frames.
    pixel_format
        How its pixels are encoded.

    Returns
    -------
    FrameOffsets or None
        None if there is no usable table: a `Scan` reads the items when a frame is needed.

    Raises
    ------
    CorruptDicomError
        If the frames can't be where the header says.

    Warns
    -----
    DicomWarning
        For each table that is not used because it contradicts the object.
    """
    value = pixel_value(source, header, n_frames, pixel_format)
    with located(source.location):
        for name, strategy in STRATEGIES:
            try:
                offsets = await strategy(value)
            except UnusableTableError as error:
                warn(f"the {name} is not used: {error}")
                continue
            if offsets is not None:
                return offsets
    return None
