"""From the bytes of a frame to its stored values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomError, UnsupportedDicomError
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.pixels.bits import conform
from xarray_dicom.pixels.buffers import Buffer
from xarray_dicom.pixels.codecs import FAMILIES, codec_for, codec_of, native
from xarray_dicom.pixels.codecs.base import Codec, Raster, Request
from xarray_dicom.pixels.codestream import CodestreamHeader
from xarray_dicom.pixels.colour import UNSUPPORTED, YCBCR, ycbcr_to_rgb

#: Frames above this size must not be more than `MAX_EXPANSION` times their codestream.
LARGE_FRAME = 64 * 2**20
MAX_EXPANSION = 20_000


def decode_frame(
    codestream: Buffer,
    fmt: PixelFormat,
    *,
    bit: int = 0,
    out: NDArray[np.generic] | None = None,
    least: tuple[int, int] | None = None,
    fill: float = 0,
) -> NDArray[np.generic]:
    """Decode one frame to stored values, colour as RGB (PS3.3 C.7.6.3, PS3.5 8).

    Safe to call from many threads; the codecs release the interpreter's lock and use no
    threads of their own. Errors say what is wrong but not where: the caller names source
    and frame.

    Parameters
    ----------
    codestream
        The bytes of the frame, its fragments joined.
    fmt
        How they are encoded.
    bit
        First bit of the frame in `codestream`: 1-bit frames may start inside a byte, and
        8-bit frames in big endian words at an odd byte (then 8).
    out
        Array of shape ``fmt.shape`` and type ``fmt.dtype`` to decode into.
    least
        Rows and columns that suffice, where a codestream may have fewer than `fmt` says,
        such as an edge tile; it is placed at the top left. All of them by default.
    fill
        Value of the rest, when it is smaller.

    Returns
    -------
    numpy.ndarray
        Shape ``(rows, columns)`` or ``(rows, columns, 3)``, type ``fmt.dtype``, C order;
        `out` if it was given.

    Raises
    ------
    CorruptDicomError
        If bytes are missing or damaged, or contradict `fmt`.
    UnsupportedDicomError
        If the transfer syntax, photometric interpretation or depth is not read.
    """
    return FrameDecoder(fmt).decode(codestream, bit=bit, out=out, least=least, fill=fill)


class FrameDecoder:
    """Decodes frames of one format; what they have in common is looked up once.

    Safe to share between threads; see `decode_frame`, which does the same for one frame.

    Parameters
    ----------
    fmt
        How the frames are encoded.

    Raises
    ------
    UnsupportedDicomError
        If the photometric interpretation or depth is not read.
    """

    def __init__(self, fmt: PixelFormat) -> None:
        _require_supported(fmt)
        self.format = fmt
        self.shape = fmt.shape
        self.dtype = fmt.dtype
        self.nbytes = fmt.frame_nbytes
        self._known: _Known | None = None

    def decode(
        self,
        codestream: Buffer,
        *,
        bit: int = 0,
        out: NDArray[np.generic] | None = None,
        least: tuple[int, int] | None = None,
        fill: float = 0,
    ) -> NDArray[np.generic]:
        """Decode one frame; parameters, result and errors as for `decode_frame`."""
        fmt, known = self.format, self._known
        if known is None or least is not None or not known.starts(codestream):
            known = self._learn(codestream, least)
        if self.nbytes > LARGE_FRAME and known.header is not None:
            _require_proportion(codestream, fmt)
        target = out if out is not None and out.flags.c_contiguous else None
        try:
            raster = known.codec.decode(Request(codestream, fmt, known.header, bit, target))
        except (DicomError, MemoryError):
            raise
        except Exception as error:
            raise CorruptDicomError(
                f"its {known.codec.name} codestream cannot be decoded: {error}"
            ) from error
        as_it_is = raster.precision == 0 and not raster.ycbcr
        if as_it_is and raster.pixels is out and (out.shape, out.dtype) == (self.shape, self.dtype):
            return out
        return self._place(raster, out, least is not None, fill)

    def _learn(self, codestream: Buffer, least: tuple[int, int] | None) -> _Known:
        """Find the codec, and hold the header of `codestream` to the data set's."""
        fmt = self.format
        codec = codec_of(codestream, fmt.transfer_syntax)
        if codec.read_header is None:
            known = _Known(codec, None, b"")
            # The first bytes tell nothing of frames without a header.
            if codec.name not in FAMILIES:
                self._known = known
            return known
        header = codec.read_header(codestream)
        _require_agreement(header, fmt, least or (fmt.rows, fmt.columns))
        known = _Known(codec, header, bytes(codestream[: header.nbytes]))
        # Whatever is odd about a frame is looked at anew in the next one.
        if least is None and header.nbytes and codec == codec_for(fmt.transfer_syntax):
            self._known = known
        return known

    def _place(
        self,
        raster: Raster,
        out: NDArray[np.generic] | None,
        may_be_smaller: bool,
        fill: float,
    ) -> NDArray[np.generic]:
        """Finish what a codec delivered: colour, type, sign, and the place in the frame."""
        pixels, shape, dtype = raster.pixels, self.shape, self.dtype
        if raster.ycbcr and self.format.samples == 3:
            pixels = ycbcr_to_rgb(pixels)
        smaller = may_be_smaller and pixels.shape != shape
        if pixels.ndim != len(shape) or (not smaller and pixels.shape != shape):
            raise CorruptDicomError(f"its codestream has shape {pixels.shape}, not {shape}")
        ready = raster.precision == 0 and pixels.dtype == dtype and pixels.flags.c_contiguous
        if out is None:
            if ready and pixels.flags.writeable and not smaller:
                return pixels
            out = np.full(shape, fill, dtype) if smaller else np.empty(shape, dtype)
        elif smaller:
            out[...] = fill
        corner = out[: pixels.shape[0], : pixels.shape[1]] if smaller else out
        conform(corner if _same_memory(pixels, corner) else pixels, raster.precision, corner)
        return out


@dataclass(frozen=True, slots=True)
class _Known:
    """What a codestream was found to be, and the first bytes that said so."""

    codec: Codec
    header: CodestreamHeader | None
    start: bytes

    def starts(self, codestream: Buffer) -> bool:
        """Whether all that was found holds for `codestream` too."""
        return bytes(codestream[: len(self.start)]) == self.start


def decode_native_run(
    buffer: Buffer, fmt: PixelFormat, n_frames: int, bit: int = 0
) -> NDArray[np.generic]:
    """Decode consecutive frames of a native transfer syntax at once.

    Parameters
    ----------
    buffer
        The bytes of the frames, which follow each other without a gap.
    fmt
        How they are encoded.
    n_frames
        How many there are.
    bit
        First bit of the first frame in `buffer`.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_frames, rows, columns)`` or ``(n_frames, rows, columns, 3)``. Where
        nothing needs changing it is a read-only view of `buffer`.

    Raises
    ------
    CorruptDicomError
        If `buffer` is too short.
    """
    _require_supported(fmt)
    if codec_for(fmt.transfer_syntax) is not native.NATIVE:
        raise ValueError(f"{fmt.transfer_syntax} is not a native transfer syntax")
    pixels = native.frames(buffer, fmt, n_frames, bit)
    precision = native.significant_bits(fmt)
    if fmt.samples == 3 and fmt.photometric in YCBCR:
        pixels = ycbcr_to_rgb(pixels)
    if precision == 0 and pixels.dtype == fmt.dtype:
        return pixels
    return conform(pixels, precision, np.empty(pixels.shape, fmt.dtype))


def _require_supported(fmt: PixelFormat) -> None:
    if fmt.samples not in (1, 3) or fmt.photometric in UNSUPPORTED:
        raise UnsupportedDicomError(
            f"Photometric Interpretation (0028,0004) {fmt.photometric} with {fmt.samples} "
            "samples per pixel is not supported"
        )
    if fmt.bits_allocated not in native.ALLOCATED[fmt.element]:
        raise UnsupportedDicomError(
            f"Bits Allocated (0028,0100) of {fmt.bits_allocated} is not supported for {fmt.element}"
        )


def _require_agreement(header: CodestreamHeader, fmt: PixelFormat, least: tuple[int, int]) -> None:
    """Hold a codestream to the data set before a codec believes its dimensions."""
    fits_down = max(least[0], 1) <= header.rows <= fmt.rows
    fits_across = max(least[1], 1) <= header.columns <= fmt.columns
    if not fits_down or not fits_across:
        raise CorruptDicomError(
            f"its codestream has {header.rows} x {header.columns} pixels, but Rows (0028,0010) "
            f"and Columns (0028,0011) are {fmt.rows} x {fmt.columns}"
        )
    if header.components not in (0, fmt.samples):
        raise CorruptDicomError(
            f"its codestream has {header.components} components, but Samples per Pixel "
            f"(0028,0002) is {fmt.samples}"
        )
    if header.precision > max(8, fmt.bits_allocated):
        raise CorruptDicomError(
            f"its codestream has {header.precision} bits per sample, but Bits Allocated "
            f"(0028,0100) is {fmt.bits_allocated}"
        )


def _require_proportion(codestream: Buffer, fmt: PixelFormat) -> None:
    if fmt.frame_nbytes > max(LARGE_FRAME, MAX_EXPANSION * len(codestream)):
        raise CorruptDicomError(
            f"{len(codestream)} bytes cannot hold a frame of {fmt.frame_nbytes} bytes"
        )


def _same_memory(a: NDArray[np.generic], b: NDArray[np.generic]) -> bool:
    """Whether a codec wrote straight into the output, perhaps under another sign."""
    where = "__array_interface__"
    return a.shape == b.shape and getattr(a, where)["data"] == getattr(b, where)["data"]
