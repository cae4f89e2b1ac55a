"""From the bytes of frames to their stored values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomError, UnsupportedDicomError
from xarray_dicom.pixel_format import LARGE_FRAME, MAX_EXPANSION, Buffer, PixelFormat
from xarray_dicom.pixels.bits import copy_significant_bits
from xarray_dicom.pixels.codecs import by_highdicom, codec_for, recognized_syntax
from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.pixels.codecs.uncompressed import ALLOCATED, native_frames, significant_bits
from xarray_dicom.pixels.codestream import CodestreamHeader, require_end_marker
from xarray_dicom.pixels.colour import UNSUPPORTED, YCBCR, ycbcr_to_rgb
from xarray_dicom.transfer_syntax import TransferSyntax


class FrameDecoder:
    """Decoder of single frames of one format, by the codecs of this package.

    The header of one frame is parsed and checked; frames that start with the same bytes need
    neither. Safe to share between threads: the codecs release the interpreter's lock and use
    no threads of their own.

    Parameters
    ----------
    fmt
        Encoding of the frames.

    Raises
    ------
    UnsupportedDicomError
        If the photometric interpretation or depth is not read.
    """

    #: Frames that one call decodes best: a batch gains nothing over single frames.
    frames_at_once = 1

    def __init__(self, fmt: PixelFormat) -> None:
        require_supported(fmt)
        self.format = fmt
        self.shape = fmt.shape
        self.dtype = fmt.dtype
        self.nbytes = fmt.frame_nbytes
        self._prepared: _Prepared | None = None

    def decode_frame(
        self,
        codestream: Buffer,
        *,
        bit: int = 0,
        out: NDArray[np.generic] | None = None,
        least: tuple[int, int] | None = None,
    ) -> NDArray[np.generic]:
        """Decode one frame to stored values, colour as RGB.

        Parameters
        ----------
        codestream, bit, out, least
            As for `xarray_dicom.pixels.decoders.Decoder.decode_frame`, and so are the result and
            the errors.
        """
        prepared = self._prepared
        if prepared is None or least is not None or not prepared.fits(codestream):
            prepared = self._prepare(codestream, least)
        codec = prepared.codec
        if self.nbytes > LARGE_FRAME and prepared.header is not None:
            _require_proportion(codestream, self.format)
        target = out if out is not None and out.flags.c_contiguous else None
        try:
            if codec.end_marker:
                require_end_marker(codestream)
            raster = codec.decode(
                EncodedFrame(codestream, prepared.format, prepared.header, bit, target)
            )
        except (DicomError, MemoryError):
            raise
        except Exception as error:
            raise CorruptDicomError(
                f"its {codec.name} codestream cannot be decoded: {error}"
            ) from error
        finished = raster.precision == 0 and not raster.ycbcr
        if finished and raster.pixels is out and (out.shape, out.dtype) == (self.shape, self.dtype):
            return out
        return self._place(raster, out, least is not None)

    def decode_batch(self, codestreams: Sequence[Buffer], out: NDArray[np.generic]) -> None:
        """Decode frames one after another, as `Decoder.decode_batch` describes."""
        for codestream, frame in zip(codestreams, out, strict=True):
            self.decode_frame(codestream, out=frame)

    def _codec(self, transfer_syntax: str) -> Codec:
        return codec_for(transfer_syntax)

    def _prepare(self, codestream: Buffer, least: tuple[int, int] | None) -> _Prepared:
        """Find the codec, and compare the header of a codestream with the format."""
        stated = self.format
        syntax = recognized_syntax(codestream, stated.transfer_syntax)
        fmt = stated
        if syntax != stated.transfer_syntax:
            fmt = replace(stated, transfer_syntax=syntax)
        codec = self._codec(syntax)
        if codec.read_header is None:
            self._prepared = prepared = _Prepared(codec, fmt, None, b"")
            return prepared
        header = codec.read_header(codestream)
        require_agreement(header, stated, least or (stated.rows, stated.columns))
        prepared = _Prepared(codec, fmt, header, bytes(codestream[: header.nbytes]))
        # Frames that differ from the data set are recognized, and warned of, one by one.
        if least is None and header.nbytes and fmt is stated:
            self._prepared = prepared
        return prepared

    def _place(
        self, raster: Raster, out: NDArray[np.generic] | None, may_be_smaller: bool
    ) -> NDArray[np.generic]:
        """Convert colour, type and sign of a codec's samples, and place them in the frame."""
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
            out = np.zeros(shape, dtype) if smaller else np.empty(shape, dtype)
        elif smaller:
            out[...] = 0
        corner = out[: pixels.shape[0], : pixels.shape[1]] if smaller else out
        source = corner if _same_memory(pixels, corner) else pixels
        copy_significant_bits(source, raster.precision, corner)
        return out


class HighdicomDecoder(FrameDecoder):
    """Decoder of single frames by highdicom, with the plugins that pydicom finds installed.

    Headers are checked as by `FrameDecoder`.
    """

    def _codec(self, transfer_syntax: str) -> Codec:
        return by_highdicom(codec_for(transfer_syntax))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Codec and header of all codestreams that start with the same bytes."""

    codec: Codec
    format: PixelFormat
    header: CodestreamHeader | None
    start: bytes

    def fits(self, codestream: Buffer) -> bool:
        """Return True if a codestream starts with these bytes."""
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
        Encoding of the frames.
    n_frames
        Number of frames.
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
    require_supported(fmt)
    if TransferSyntax.of(fmt.transfer_syntax).codec != "native":
        raise ValueError(f"{fmt.transfer_syntax} is not a native transfer syntax")
    pixels = native_frames(buffer, fmt, n_frames, bit)
    precision = significant_bits(fmt)
    if fmt.samples == 3 and fmt.photometric in YCBCR:
        pixels = ycbcr_to_rgb(pixels)
    if precision == 0 and pixels.dtype == fmt.dtype:
        return pixels
    return copy_significant_bits(pixels, precision, np.empty(pixels.shape, fmt.dtype))


def require_supported(fmt: PixelFormat) -> None:
    """Raise `UnsupportedDicomError` unless the colour and depth of a format are read."""
    if fmt.samples not in (1, 3) or fmt.photometric in UNSUPPORTED:
        raise UnsupportedDicomError(
            f"Photometric Interpretation (0028,0004) {fmt.photometric} with {fmt.samples} "
            "samples per pixel is not supported",
            tag="PhotometricInterpretation",
        )
    if fmt.bits_allocated not in ALLOCATED[fmt.element]:
        raise UnsupportedDicomError(
            f"Bits Allocated (0028,0100) of {fmt.bits_allocated} is not supported for "
            f"{fmt.element}",
            tag="BitsAllocated",
        )


def require_agreement(header: CodestreamHeader, fmt: PixelFormat, least: tuple[int, int]) -> None:
    """Compare a codestream with the data set before a codec relies on its dimensions.

    Parameters
    ----------
    header
        Header of the codestream.
    fmt
        Encoding of the frame as the data set describes it.
    least
        Rows and columns that the codestream must have at least.

    Raises
    ------
    CorruptDicomError
        If they contradict each other.
    """
    fits_down = max(least[0], 1) <= header.rows <= fmt.rows
    fits_across = max(least[1], 1) <= header.columns <= fmt.columns
    if not fits_down or not fits_across:
        raise CorruptDicomError(
            f"its codestream has {header.rows} x {header.columns} pixels, but Rows (0028,0010) "
            f"and Columns (0028,0011) are {fmt.rows} x {fmt.columns}",
            tag="Columns" if fits_down else "Rows",
        )
    if header.components not in (0, fmt.samples):
        raise CorruptDicomError(
            f"its codestream has {header.components} components, but Samples per Pixel "
            f"(0028,0002) is {fmt.samples}",
            tag="SamplesPerPixel",
        )
    if header.precision > max(8, fmt.bits_allocated):
        raise CorruptDicomError(
            f"its codestream has {header.precision} bits per sample, but Bits Allocated "
            f"(0028,0100) is {fmt.bits_allocated}",
            tag="BitsAllocated",
        )


def _require_proportion(codestream: Buffer, fmt: PixelFormat) -> None:
    if fmt.frame_nbytes > max(LARGE_FRAME, MAX_EXPANSION * len(codestream)):
        raise CorruptDicomError(
            f"{len(codestream)} bytes cannot hold a frame of {fmt.frame_nbytes} bytes"
        )


def _same_memory(a: NDArray[np.generic], b: NDArray[np.generic]) -> bool:
    """Return True if a codec wrote straight into the output, perhaps under another sign."""
    interface = "__array_interface__"
    return a.shape == b.shape and getattr(a, interface)["data"] == getattr(b, interface)["data"]
