"""Codec: a way to learn the shape of a frame from its bytes, and a way to get its samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.pixel_format import Buffer, PixelFormat
from xarray_dicom.pixels.codestream import CodestreamHeader


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One frame to decode.

    Attributes
    ----------
    codestream
        The bytes of the frame.
    format
        Encoding of its pixels, as the data set describes it.
    header
        Header of the codestream; None for transfer syntaxes without one.
    bit
        First bit of the frame in `codestream`; native syntaxes only.
    out
        Contiguous array of the frame's shape and type that a codec may decode into.
    """

    codestream: Buffer
    format: PixelFormat
    header: CodestreamHeader | None = None
    bit: int = 0
    out: NDArray[np.generic] | None = None

    @property
    def content(self) -> bytes:
        """Codestream, typed as imagecodecs' signatures want it; it reads any buffer."""
        return cast(bytes, self.codestream)

    @property
    def parsed_header(self) -> CodestreamHeader:
        """Header, for codecs whose codestreams always have one."""
        assert self.header is not None
        return self.header

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image in the codestream, which may be smaller than the frame."""
        if self.header is None:
            return self.format.shape
        plane = (self.header.rows, self.header.columns)
        return plane if self.format.samples == 1 else (*plane, self.format.samples)

    def target(self, dtype: np.dtype[np.generic]) -> NDArray[np.generic] | None:
        """Return `out` as an array of `dtype`, None if a codec of that type can't write there."""
        out = self.out
        if out is None or out.dtype.itemsize != dtype.itemsize or out.shape != self.shape:
            return None
        return out if out.dtype == dtype else out.view(dtype)


@dataclass(frozen=True, slots=True)
class Raster:
    """Samples as a codec delivers them, before DICOM's corrections.

    Attributes
    ----------
    pixels
        Shape ``(rows, columns)`` or ``(rows, columns, 3)``; any type, any order in memory.
    precision
        Significant low bits, for `xarray_dicom.pixels.bits.copy_significant_bits`; 0 for all.
    ycbcr
        True if the samples are full-range YCbCr still.
    """

    pixels: NDArray[np.generic]
    precision: int
    ycbcr: bool = False


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Codec:
    """Codec of a family of transfer syntaxes.

    Attributes
    ----------
    name
        Family in the table of transfer syntaxes, `xarray_dicom.transfer_syntax.CodecFamily`.
    decode
        May raise anything on bad bytes; `FrameDecoder` makes it a `CorruptDicomError`.
    read_header
        Reads shape and precision from a codestream, None where there is no header.
    end_marker
        True if the marker FFD9 ends every codestream: without it, bytes are missing.
    available
        Returns True if the library behind it was compiled in.
    """

    name: str
    decode: Callable[[EncodedFrame], Raster]
    read_header: Callable[[Buffer], CodestreamHeader] | None = None
    end_marker: bool = False
    available: Callable[[], bool] = _always
