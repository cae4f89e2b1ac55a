"""What every codec is: a way to learn the shape, and a way to get the samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.pixels.buffers import Buffer
from xarray_dicom.pixels.codestream import CodestreamHeader


@dataclass(frozen=True, slots=True)
class Request:
    """One frame to decode.

    Attributes
    ----------
    codestream
        The bytes of the frame.
    format
        What the data set says of its pixels.
    header
        What the codestream says; None for syntaxes without a header.
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
    def source(self) -> bytes:
        """The codestream as imagecodecs' signatures want it; it reads any buffer."""
        return cast(bytes, self.codestream)

    @property
    def known_header(self) -> CodestreamHeader:
        """The header, for the codecs that always have one."""
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
        """`out` as an array of `dtype`, if a codec that delivers `dtype` can write there."""
        out = self.out
        if out is None or out.dtype.itemsize != dtype.itemsize or out.shape != self.shape:
            return None
        return out if out.dtype == dtype else out.view(dtype)


@dataclass(frozen=True, slots=True)
class Raster:
    """What a codec made of a codestream, before DICOM's corrections.

    Attributes
    ----------
    pixels
        Shape ``(rows, columns)`` or ``(rows, columns, 3)``; any type, any order in memory.
    precision
        Significant low bits, for `xarray_dicom.pixels.bits.conform`; 0 for all.
    ycbcr
        Whether the samples are full-range YCbCr still.
    """

    pixels: NDArray[np.generic]
    precision: int
    ycbcr: bool = False


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Codec:
    """A family of transfer syntaxes.

    Attributes
    ----------
    name
        For messages.
    decode
        May raise anything on bad bytes; `decode_frame` makes it a `CorruptDicomError`.
    read_header
        Reads shape and precision from a codestream, None where there is no header.
    available
        Whether the library behind it was compiled in.
    """

    name: str
    decode: Callable[[Request], Raster]
    read_header: Callable[[Buffer], CodestreamHeader] | None = None
    available: Callable[[], bool] = _always
