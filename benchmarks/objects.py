"""Generated DICOM objects that are measured, by name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from benchmarks.scale import Scale
from support.generate.many_frames import big_segmentation
from support.generate.series import ct_series
from support.generate.streamed import Written, native_slide, repeated_frames, streamed_slide
from support.generate.streamed import textured_frames as encoded_frames

TILE = 256
#: Rows and columns of the frames of objects that have very many.
TINY = 32
LARGE_TILE = 512

#: Offset tables of slides, with their names in the report.
TABLES = {
    "eot": "Extended Offset Table",
    "bot": "Basic Offset Table",
    "none": "no table",
    "dual": "no table, but a TIFF directory",
    "native": "uncompressed",
}

CODINGS = {
    "j2k": "JPEG 2000",
    "htj2k": "High-Throughput JPEG 2000, lossless",
    "jpeg-ls": "JPEG-LS, lossless",
    "native": "uncompressed",
}

#: The coding that most peers decode to equal pixels.
CODEC = "jpeg-ybr422"


@dataclass(frozen=True)
class Object:
    """An object that was written, or a folder of them.

    Attributes
    ----------
    path
        File or folder.
    kind
        ``"slide"``, ``"segmentation"`` or ``"series"``.
    codec
        Key of `support.generate.streamed.ALL_CODINGS`; None unless it is a slide.
    shape, tile
        Rows and columns of the whole, and of a square frame.
    offsets, lengths
        Bytes of each frame in its file, int64, shape ``(frames,)``.
    table_nbytes
        Bytes of the offset table.
    segments
        Number of segments; the frames of a segmentation are ordered by segment.
    """

    path: Path
    kind: str
    codec: str | None
    shape: tuple[int, int]
    tile: int
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    table_nbytes: int = 0
    segments: int = 1

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.offsets)


@dataclass(frozen=True)
class Recipe:
    """A title for the report, and a function that writes the object to a path."""

    title: str
    write: Callable[[Path], Object]


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the recipe of every object of a run, by the name of its file."""
    # The slides with different offset tables share their encoded frames.
    textured = functools.cache(encoded_frames)
    table: dict[str, Recipe] = {}
    for key, words in TABLES.items():
        table[f"slide-{key}"] = Recipe(
            f"slide of {_tile_count(scale.slide, TILE):,} frames, {words}",
            functools.partial(_slide, textured, CODEC, scale.slide, TILE, key),
        )
        side = _side(scale.many)
        table[f"many-{key}"] = Recipe(
            f"slide of {_tile_count(side, TINY):,} frames, {words}",
            functools.partial(_slide, repeated_frames, "jpeg-ls-gray", side, TINY, key),
        )
    for key, words in CODINGS.items():
        table[f"coded-{key}"] = Recipe(
            f"slide, {words}", functools.partial(_slide, textured, key, scale.coded, TILE, "eot")
        )
    for count in scale.growth:
        for key in ("eot", "native"):
            table[f"slide-{count}-{key}"] = Recipe(
                f"slide, {TABLES[key]}, {count:,} frames",
                functools.partial(_slide, repeated_frames, "jpeg-ls-gray", _side(count), TINY, key),
            )
    for count in scale.segmentation_growth:
        table[f"segmentation-{count}"] = Recipe(
            f"segmentation of {count:,} frames",
            functools.partial(_segmentation, scale.segments, count // scale.segments, 16),
        )
    for size in scale.zarr:
        table[f"repeated-{size}"] = Recipe(
            f"slide of {3 * size**2 / 2**30:.1f} GiB",
            functools.partial(_slide, repeated_frames, CODEC, size, LARGE_TILE, "eot"),
        )
    table["organs"] = Recipe(
        f"segmentation of {scale.segments} segments on {scale.planes} planes",
        functools.partial(_segmentation, scale.segments, scale.planes, TILE),
    )
    table["ct"] = Recipe(
        f"CT series of {scale.files} files", functools.partial(_series, scale.files, scale.plane)
    )
    return table


def _slide(
    frames: Callable[[str, tuple[int, int], int], list[bytes]],
    codec: str,
    side: int,
    tile: int,
    table: str,
    path: Path,
) -> Object:
    shape = (side, side)
    if table == "native":
        codec = "native-gray" if codec.endswith("gray") else "native"
    written: Written
    if codec == "native" and table == "eot":
        written = native_slide(path, codec=codec, shape=shape, tile=tile)
        _fill(path, written, frames(codec, shape, tile))
    elif table == "native":
        written = native_slide(path, codec=codec, shape=shape, tile=tile)
    else:
        written = streamed_slide(
            path, frames(codec, shape, tile), codec=codec, shape=shape, tile=tile,
            offset_table=table,
        )  # fmt: skip
    return Object(
        path, "slide", codec, shape, tile, written.offsets, written.lengths, written.table_nbytes
    )


def _fill(path: Path, written: Written, frames: list[bytes]) -> None:
    with open(path, "r+b") as file:
        file.seek(int(written.offsets[0]))
        file.writelines(frames)


def _segmentation(segments: int, planes: int, size: int, path: Path) -> Object:
    big_segmentation(path, planes=planes, segments=segments, shape=(size, size))
    length = size * size // 8
    count = segments * planes
    first = path.stat().st_size - length * count
    return Object(
        path,
        "segmentation",
        None,
        (size, size),
        size,
        first + np.arange(count, dtype=np.int64) * length,
        np.full(count, length, np.int64),
        segments=segments,
    )


def _series(files: int, plane: int, path: Path) -> Object:
    path.mkdir()
    ct_series(path, planes=files, shape=(plane, plane))
    sizes = [file.stat().st_size for file in sorted(path.iterdir())]
    nbytes = len(dcmread(next(path.iterdir())).PixelData)
    return Object(
        path,
        "series",
        None,
        (plane, plane),
        plane,
        np.array(sizes, np.int64) - nbytes,
        np.full(files, nbytes, np.int64),
    )


def _side(count: int) -> int:
    """Return rows and columns of a square of about `count` tiny tiles."""
    return TINY * max(1, round(math.sqrt(count)))


def _tile_count(side: int, tile: int) -> int:
    return math.ceil(side / tile) ** 2
