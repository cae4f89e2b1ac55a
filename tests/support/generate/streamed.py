"""Slides of any number of frames, any coding and any kind of offset table, written as a stream."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, HTJ2KLossless, JPEGLSLossless

from .attributes import header_bytes
from .dual import Page, dual_file
from .slide import CODINGS, Coding, slide_header, tile_pixels

#: Codings of RGB and of one channel, besides those of `slide.CODINGS`.
MORE_CODINGS = {
    "htj2k": Coding(
        HTJ2KLossless,
        "YBR_RCT",
        functools.partial(imagecodecs.htj2k_encode, rgb=True, reversible=True),
    ),
    "jpeg-ls": Coding(JPEGLSLossless, "RGB", imagecodecs.jpegls_encode),
    "jpeg-ls-gray": Coding(JPEGLSLossless, "MONOCHROME2", imagecodecs.jpegls_encode),
    "native-gray": Coding(ExplicitVRLittleEndian, "MONOCHROME2", lambda pixels: pixels.tobytes()),
}

ALL_CODINGS = CODINGS | MORE_CODINGS

_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_DELIMITATION = b"\xfe\xff\xdd\xe0" + bytes(4)


@dataclass(frozen=True)
class Written:
    """Where the bytes of the frames went.

    Attributes
    ----------
    offsets, lengths
        Bytes of each frame in the file, int64, shape ``(frames,)``.
    table_nbytes
        Bytes of what tells where they are.
    """

    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    table_nbytes: int


def is_monochrome(codec: str) -> bool:
    """Whether frames of a coding have one sample per pixel."""
    return ALL_CODINGS[codec].photometric == "MONOCHROME2"


def textured_frames(codec: str, shape: tuple[int, int], tile: int) -> list[bytes]:
    """Encoded frames of histology, one for each tile of a matrix of `shape`.

    All have even lengths: some readers take no others from an Extended Offset Table.
    """
    coding, monochrome = ALL_CODINGS[codec], is_monochrome(codec)
    count = _tiles(shape[0], tile) * _tiles(shape[1], tile)

    def encoded(frame: int) -> bytes:
        return _even(coding.encode(tile_pixels(frame, shape, tile, monochrome=monochrome)))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(encoded, range(count)))


def repeated_frames(codec: str, shape: tuple[int, int], tile: int) -> list[bytes]:
    """The same tile, a disc, as often as a matrix of `shape` has tiles."""
    y, x = np.mgrid[:tile, :tile] - (tile - 1) / 2
    disc = np.where(np.hypot(y, x) < tile / 3, 90, 240).astype(np.uint8)
    pixels = disc if is_monochrome(codec) else np.repeat(disc[..., None], 3, axis=-1)
    frame = _even(ALL_CODINGS[codec].encode(np.ascontiguousarray(pixels)))
    return [frame] * (_tiles(shape[0], tile) * _tiles(shape[1], tile))


def streamed_slide(
    path: Path,
    frames: Sequence[bytes],
    *,
    codec: str,
    shape: tuple[int, int],
    tile: int,
    offset_table: str = "eot",
) -> Written:
    """Write a slide of frames that are encoded already, TILED_FULL.

    Parameters
    ----------
    path
        The file.
    frames
        Codestreams of even lengths, one for each tile.
    codec
        Key of `ALL_CODINGS`; all but the native ones.
    shape, tile
        Rows and columns of the total pixel matrix, and of a frame.
    offset_table
        ``"eot"`` (Extended Offset Table), ``"bot"`` (Basic), ``"none"``, or ``"dual"``: none,
        but the file is a TIFF as well (PS3.10 7.1).
    """
    dataset = _header(codec, shape, tile)
    lengths = np.fromiter(map(len, frames), np.int64, len(frames))
    sizes = 8 + lengths
    starts = np.cumsum(sizes) - sizes
    basic, table_nbytes = b"", 8 * len(frames) if offset_table == "dual" else 0
    if offset_table == "eot":
        dataset.ExtendedOffsetTable = starts.astype("<u8").tobytes()
        dataset.ExtendedOffsetTableLengths = lengths.astype("<u8").tobytes()
        table_nbytes = 16 * len(frames)
    elif offset_table == "bot":
        basic = starts.astype("<u4").tobytes()
        table_nbytes = len(basic)
    header = header_bytes(dataset, ALL_CODINGS[codec].transfer_syntax)
    header += _PIXEL_DATA + b"OB\0\0\xff\xff\xff\xff" + _ITEM + len(basic).to_bytes(4, "little")
    header += basic
    offsets = len(header) + starts + 8
    items = (_ITEM + len(frame).to_bytes(4, "little") + frame for frame in frames)
    with open(path, "wb") as file:
        file.writelines(itertools.chain([header], items, [_SEQUENCE_DELIMITATION]))
    if offset_table == "dual":
        page = Page(offsets.tolist(), lengths.tolist())
        path.write_bytes(dual_file(path.read_bytes(), [page]))
    return Written(offsets, lengths, table_nbytes)


def native_slide(path: Path, *, codec: str, shape: tuple[int, int], tile: int) -> Written:
    """Write an uncompressed slide that is black: a sparse file, whatever its size.

    Parameters
    ----------
    path
        The file.
    codec
        ``"native"`` or ``"native-gray"``.
    shape, tile
        Rows and columns of the total pixel matrix, and of a frame.
    """
    dataset = _header(codec, shape, tile)
    count = int(dataset.NumberOfFrames)
    frame_nbytes = tile * tile * (1 if is_monochrome(codec) else 3)
    header = header_bytes(dataset, ExplicitVRLittleEndian) + _PIXEL_DATA + b"OB\0\0"
    header += (count * frame_nbytes).to_bytes(4, "little")
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + count * frame_nbytes)
    offsets = len(header) + np.arange(count, dtype=np.int64) * frame_nbytes
    return Written(offsets, np.full(count, frame_nbytes, np.int64), 0)


def _header(codec: str, shape: tuple[int, int], tile: int) -> Dataset:
    name = f"{codec} {shape[0]} x {shape[1]}, {tile}"
    monochrome = is_monochrome(codec)
    return slide_header(
        name=name, shape=shape, tile=tile, coding=ALL_CODINGS[codec], monochrome=monochrome
    )


def _even(codestream: bytes) -> bytes:
    return bytes(codestream) + bytes(len(codestream) % 2)


def _tiles(size: int, tile: int) -> int:
    return -(-size // tile)
