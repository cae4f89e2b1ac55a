"""Pixels that are not compressed, or only by deflate (PS3.5 8.1, A.1 to A.5)."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError
from xarray_dicom.pixel_format import Buffer, PixelFormat
from xarray_dicom.pixels.bits import unpack_bits
from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.pixels.colour import YCBCR, by_pixel, expand_422
from xarray_dicom.transfer_syntax import TransferSyntax

#: Bits Allocated that NumPy has a type for, by pixel data element.
ALLOCATED = {
    "PixelData": (1, 8, 16, 32, 64),
    "FloatPixelData": (32,),
    "DoubleFloatPixelData": (64,),
}


def stored_dtype(fmt: PixelFormat) -> np.dtype[np.generic]:
    """Return the type of a sample as it lies in the file, byte order included."""
    little_endian = TransferSyntax.of(fmt.transfer_syntax).pixels_little_endian
    return fmt.dtype.newbyteorder("<" if little_endian else ">")


def _samples(buffer: Buffer, fmt: PixelFormat, count: int, bit: int) -> NDArray[np.generic]:
    """Return `count` consecutive samples, a view of `buffer` where bits need no unpacking."""
    dtype = stored_dtype(fmt)
    if fmt.word_swapped:
        buffer = _swap_words(buffer)
    if fmt.bits_allocated == 1:
        return unpack_bits(buffer, bit, count)
    offset, rest = divmod(bit, 8)
    if rest:
        raise ValueError("only 1-bit pixels can start inside a byte")
    present = len(buffer) - offset
    if present < count * dtype.itemsize:
        raise CorruptDicomError(
            f"{count * dtype.itemsize} bytes of pixels are due, but only {max(present, 0)} "
            "are present"
        )
    return np.frombuffer(buffer, dtype, count, offset)


def native_frames(buffer: Buffer, fmt: PixelFormat, n_frames: int, bit: int) -> NDArray[np.generic]:
    """Return consecutive frames as they lie in the file, colour by pixel, chroma repeated.

    Parameters
    ----------
    buffer
        The bytes of the frames, which follow each other without a gap.
    fmt
        Encoding of their pixels.
    n_frames
        Number of frames.
    bit
        First bit of the first frame in `buffer`.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_frames, rows, columns)`` or ``(n_frames, rows, columns, 3)``.

    Raises
    ------
    CorruptDicomError
        If `buffer` is too short.
    UnsupportedDicomError
        If chroma is halved and a frame has an odd number of pixels.
    """
    subsampled = fmt.samples == 3 and fmt.photometric == "YBR_FULL_422"
    if subsampled and fmt.rows * fmt.columns % 2:
        raise UnsupportedDicomError(
            "uncompressed YBR_FULL_422 frames with an odd number of pixels are not supported"
        )
    per_frame = fmt.rows * fmt.columns * (2 if subsampled else fmt.samples)
    values = _samples(buffer, fmt, n_frames * per_frame, bit)
    if subsampled:
        return expand_422(values).reshape(n_frames, *fmt.shape)
    if fmt.samples > 1 and fmt.planar == 1:
        return by_pixel(values.reshape(n_frames, fmt.samples, fmt.rows, fmt.columns))
    return values.reshape(n_frames, *fmt.shape)


def significant_bits(fmt: PixelFormat) -> int:
    """Return Bits Stored where it is less than Bits Allocated, else 0: all bits count."""
    if fmt.element == "PixelData" and 0 < fmt.bits_stored < fmt.bits_allocated:
        return fmt.bits_stored
    return 0


def _swap_words(buffer: Buffer) -> bytes:
    """Undo the 16-bit words of 8-bit pixels in big endian OW."""
    even = np.frombuffer(buffer, np.uint8, len(buffer) // 2 * 2)
    return even.view(np.uint16).byteswap().tobytes()


def _decode(frame: EncodedFrame) -> Raster:
    fmt = frame.format
    pixels = native_frames(frame.codestream, fmt, 1, frame.bit)[0]
    return Raster(pixels, significant_bits(fmt), fmt.photometric in YCBCR)


def _decode_deflated(frame: EncodedFrame) -> Raster:
    fmt = frame.format
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    native = inflater.decompress(frame.codestream, (fmt.frame_bits + 7) // 8 + 1)
    if not inflater.eof:
        native += inflater.decompress(inflater.unconsumed_tail, 1)
    if not inflater.eof:
        raise CorruptDicomError("its deflate stream does not end where the frame is complete")
    return Raster(
        native_frames(native, fmt, 1, 0)[0], significant_bits(fmt), fmt.photometric in YCBCR
    )


NATIVE = Codec("native", _decode)
DEFLATED_FRAME = Codec("deflated frame", _decode_deflated)
