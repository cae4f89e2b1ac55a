"""RLE Lossless: PackBits, one segment for each byte of a sample (PS3.5 annex G)."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.pixel_format import Buffer
from xarray_dicom.pixels.bits import unpack_bits
from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.pixels.codecs.uncompressed import significant_bits
from xarray_dicom.pixels.colour import YCBCR, by_pixel

_HEADER = 64


def rle_segments(codestream: Buffer) -> list[memoryview]:
    """Return the segments that the header of an RLE frame lists.

    Raises
    ------
    CorruptDicomError
        If the header is incomplete or contradicts itself.
    """
    view = memoryview(codestream)
    if len(view) < _HEADER:
        raise CorruptDicomError(f"its RLE header has {len(view)} of {_HEADER} bytes")
    count, *offsets = np.frombuffer(view[:_HEADER], "<u4").tolist()
    if count > len(offsets):
        raise CorruptDicomError(f"its RLE header lists {count} segments, 15 at most are possible")
    bounds = [*offsets[:count], len(view)]
    if bounds[0] < _HEADER or any(a > b for a, b in pairwise(bounds)):
        raise CorruptDicomError("its RLE segments do not follow each other within the frame")
    return [view[a:b] for a, b in pairwise(bounds)]


def _unpack(segment: memoryview, length: int) -> NDArray[np.uint8]:
    unpacked = np.frombuffer(imagecodecs.packbits_decode(cast(bytes, segment)), np.uint8)
    if unpacked.size < length:
        raise CorruptDicomError(f"an RLE segment has {unpacked.size} of {length} bytes")
    return unpacked[:length]


def _decode(frame: EncodedFrame) -> Raster:
    fmt = frame.format
    pixels = fmt.rows * fmt.columns
    packed = fmt.bits_allocated == 1
    itemsize = 1 if packed else fmt.dtype.itemsize
    segments = rle_segments(frame.codestream)
    if len(segments) != fmt.samples * itemsize:
        raise CorruptDicomError(
            f"it has {len(segments)} RLE segments where {fmt.samples * itemsize} are due"
        )
    length = (pixels + 7) // 8 if packed else pixels
    # Segments run from the most significant byte of the first sample on.
    columns = np.empty((fmt.samples, length, itemsize), np.uint8)
    for index, segment in enumerate(segments):
        sample, byte = divmod(index, itemsize)
        columns[sample, :, byte] = _unpack(segment, length)
    if packed:
        plane = unpack_bits(columns.tobytes(), 0, pixels).reshape(fmt.shape)
        return Raster(plane, 0)
    planes = columns.view(fmt.dtype.newbyteorder(">")).reshape(-1, fmt.rows, fmt.columns)
    ordered = planes[0] if fmt.samples == 1 else by_pixel(planes)
    return Raster(ordered, significant_bits(fmt), fmt.photometric in YCBCR)


RLE = Codec("RLE", _decode, available=lambda: bool(imagecodecs.PACKBITS.available))
