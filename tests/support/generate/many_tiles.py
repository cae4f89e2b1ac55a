"""A slide of any number of tiles, of which few are written: the rest of the file is a hole.

Its offset table and its lengths are those of a slide of real size, its disk space is that of
the table.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from .attributes import header_bytes
from .slide import CODINGS, slide_header
from .texture import histology


def tile_lengths(n_frames: int, low: int = 8_000, high: int = 30_000) -> NDArray[np.int64]:
    """Bytes of each tile, between `low` and `high`: neighbours are alike, as on real slides."""
    rng = np.random.default_rng(11)
    across = max(1, math.isqrt(n_frames))
    tissue = np.sin(np.arange(n_frames) % across / 40) * np.cos(np.arange(n_frames) / across / 40)
    around = low + (high - low) * (0.5 + 0.4 * tissue)
    lengths = rng.normal(around, (high - low) / 30).clip(low, high)
    return lengths.astype(np.int64)


def slide_of_holes(
    path: str | Path,
    lengths: NDArray[np.int64],
    *,
    table: Literal["eot", "bot"] = "eot",
    tile: int = 256,
    written: tuple[int, ...] = (0, -1),
) -> NDArray[np.uint8]:
    """Write a TILED_FULL slide with a tile for each of `lengths`, a square number of them.

    Parameters
    ----------
    path
        File to write.
    lengths
        Bytes of each codestream; a square number of tiles.
    table
        Kind of offset table (PS3.5 A.4, PS3.3 C.7.6.3.1.8).
    tile
        Rows and columns of a tile.
    written
        Frames whose bytes are there.

    Returns
    -------
    NDArray[np.uint8]
        The pixels of each frame that is there, as libjpeg decodes them.
    """
    n_frames = len(lengths)
    across = math.isqrt(n_frames)
    assert across**2 == n_frames
    coding = CODINGS["jpeg-ybr422"]
    side = across * tile
    dataset = slide_header(name="slide of holes", shape=(side, side), tile=tile, coding=coding)
    assert int(dataset.NumberOfFrames) == n_frames
    pixels = histology(slice(0, tile), slice(0, tile), focal_plane=9)
    frame = imagecodecs.jpeg8_encode(pixels, level=10, subsampling="422")
    lengths = lengths.copy()
    lengths[list(written)] = len(frame)
    padded = lengths + lengths % 2
    item = np.concatenate([[0], np.cumsum(padded + 8)])
    basic = b""
    if table == "eot":
        dataset.ExtendedOffsetTable = item[:-1].astype("<u8").tobytes()
        dataset.ExtendedOffsetTableLengths = lengths.astype("<u8").tobytes()
    else:
        assert item[-2] < 2**32
        basic = item[:-1].astype("<u4").tobytes()
    with open(path, "wb") as file:
        file.write(header_bytes(dataset, coding.transfer_syntax))
        file.write(b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff")
        file.write(b"\xfe\xff\x00\xe0" + len(basic).to_bytes(4, "little") + basic)
        first = file.tell()
        for number in written:
            number %= n_frames
            file.seek(first + int(item[number]))
            file.write(b"\xfe\xff\x00\xe0" + int(padded[number]).to_bytes(4, "little") + frame)
        file.seek(first + int(item[-1]))
        file.write(b"\xfe\xff\xdd\xe0" + bytes(4))
    return np.asarray(imagecodecs.jpeg8_decode(frame))
