"""Decoders by name: imagecodecs, highdicom, and those that other packages register.

A package registers a decoder under a name as an entry point of the group
``xarray_dicom.decoders``::

    [project.entry-points."xarray_dicom.decoders"]
    cuda = "my_package:decode"

The decoder is a function that takes a batch of encoded frames and an array to decode them into,
a `BatchDecoder`, so that a graphics card can decode many frames in one call::

    def decode(codestreams, format, out):
        if format.transfer_syntax != "1.2.840.10008.1.2.4.90":
            decoder_for("imagecodecs", format).decode_batch(codestreams, out)
            return
        for codestream, frame in zip(codestreams, out):
            frame[...] = ...

Only the name is part of a lazy array and is pickled with it: the package must be installed in
every process that reads. Its module is imported when the first frame is decoded. Frames of
native, which is uncompressed, transfer syntaxes are never given to a decoder: nothing is encoded
there, and their bytes become pixels without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomError
from xarray_dicom.pixel_format import Buffer, PixelFormat
from xarray_dicom.pixels.codecs import codec_for
from xarray_dicom.pixels.frame_decoder import (
    FrameDecoder,
    HighdicomDecoder,
    require_agreement,
    require_supported,
)
from xarray_dicom.transfer_syntax import TransferSyntax

#: Group of entry points that packages register decoders in.
ENTRY_POINTS = "xarray_dicom.decoders"

#: Name of the decoder that is used by default.
DEFAULT_DECODER = "imagecodecs"

#: Bytes of decoded pixels in one batch for a registered decoder: 85 tiles of 512² in RGB.
BATCH_BYTES = 64 * 2**20


class BatchDecoder(Protocol):
    """Function that a package registers as a decoder.

    It may be called from several threads at once.
    """

    def __call__(
        self, codestreams: Sequence[Buffer], format: PixelFormat, out: NDArray[np.generic], /
    ) -> None:
        """Decode a batch of frames to stored values (PS3.3 C.7.6.3, PS3.5 8).

        Parameters
        ----------
        codestreams
            The bytes of each frame, its fragments joined. They are valid during the call only.
        format
            Encoding that all of them share: transfer syntax, shape, depth, photometric
            interpretation.
        out
            Array to write to, in C order, shape ``(frames, *format.shape)``, type
            ``format.dtype``. Its content is undefined before; every value is due: colour as RGB
            by pixel, 1-bit pixels as 0 and 1, and bits above Bits Stored 0 or the sign
            (PS3.5 8.1.1).

        Raises
        ------
        xarray_dicom.UnsupportedDicomError
            If frames of this format can't be decoded.
        Exception
            Any other, if a codestream is damaged. The frames of the batch are then decoded one
            by one, and the error that the reader raises names the frame.
        """


class Decoder(Protocol):
    """Decoder of the frames of one format, as the reader calls it."""

    @property
    def format(self) -> PixelFormat:
        """Encoding of the frames."""
        ...

    @property
    def frames_at_once(self) -> int:
        """Frames that one call should decode: for 1 `decode_frame`, else `decode_batch`."""
        ...

    def decode_frame(
        self,
        codestream: Buffer,
        *,
        bit: int = 0,
        out: NDArray[np.generic] | None = None,
        least: tuple[int, int] | None = None,
    ) -> NDArray[np.generic]:
        """Decode one frame to stored values, colour as RGB (PS3.3 C.7.6.3, PS3.5 8).

        Parameters
        ----------
        codestream
            The bytes of the frame, its fragments joined.
        bit
            First bit of the frame in `codestream`: 1-bit frames may start inside a byte, and
            8-bit frames in big endian words at an odd byte (then 8).
        out
            Array of shape ``format.shape`` and type ``format.dtype`` to decode into.
        least
            Rows and columns that suffice, where a codestream may have fewer than the format
            says, such as an edge tile. It is placed at the top left, and the rest is 0. All of
            them by default.

        Returns
        -------
        numpy.ndarray
            Shape ``(rows, columns)`` or ``(rows, columns, 3)``, type ``format.dtype``, C order;
            `out` if it was given.

        Raises
        ------
        CorruptDicomError
            If bytes are missing or damaged, or contradict the format.
        UnsupportedDicomError
            If the transfer syntax is not read.
        """
        ...

    def decode_batch(self, codestreams: Sequence[Buffer], out: NDArray[np.generic]) -> None:
        """Decode several frames to stored values.

        Parameters
        ----------
        codestreams
            The bytes of each frame, its fragments joined.
        out
            Array to decode into, in C order, shape ``(frames, *format.shape)``, type
            ``format.dtype``.

        Raises
        ------
        CorruptDicomError
            If any of the frames can't be decoded; `decode_frame` tells which of them.
        UnsupportedDicomError
            If the transfer syntax is not read.
        """
        ...


class RegisteredDecoder:
    """Decoder of batches of frames of one format, by a function of another package.

    Parameters
    ----------
    name
        Name that the function is registered under.
    function
        The function.
    fmt
        Encoding of the frames.

    Raises
    ------
    UnsupportedDicomError
        If the photometric interpretation or depth is not read.
    """

    def __init__(self, name: str, function: BatchDecoder, fmt: PixelFormat) -> None:
        require_supported(fmt)
        self.name = name
        self.format = fmt
        self.frames_at_once = max(1, BATCH_BYTES // fmt.frame_nbytes)
        self._function = function

    def decode_frame(
        self,
        codestream: Buffer,
        *,
        bit: int = 0,
        out: NDArray[np.generic] | None = None,
        least: tuple[int, int] | None = None,
    ) -> NDArray[np.generic]:
        """Decode one frame to stored values, in a batch of its own.

        Parameters
        ----------
        codestream, bit, out, least
            As for `Decoder.decode_frame`, and so are the result and the errors. With `least` the
            function gets a format of the shape in the header of the codestream.
        """
        fmt = self.format if least is None else self._smaller_format(codestream, least)
        pixels = out
        if out is None or fmt is not self.format or not self._is_fit(out):
            pixels = np.empty(fmt.shape, fmt.dtype)
        assert pixels is not None
        self._decode([codestream], fmt, pixels[np.newaxis])
        if pixels is out or (out is None and fmt is self.format):
            return pixels
        if out is None:
            out = np.empty(self.format.shape, self.format.dtype)
        out[...] = 0
        out[: fmt.rows, : fmt.columns] = pixels
        return out

    def decode_batch(self, codestreams: Sequence[Buffer], out: NDArray[np.generic]) -> None:
        """Decode frames in one call, as `Decoder.decode_batch` describes."""
        self._decode(codestreams, self.format, out)

    def _decode(
        self, codestreams: Sequence[Buffer], fmt: PixelFormat, out: NDArray[np.generic]
    ) -> None:
        try:
            self._function(codestreams, fmt, out)
        except (DicomError, MemoryError):
            raise
        except Exception as error:
            raise CorruptDicomError(
                f"its codestream cannot be decoded by {self.name!r}: {error}"
            ) from error

    def _is_fit(self, out: NDArray[np.generic]) -> bool:
        fmt = self.format
        return out.flags.c_contiguous and (out.shape, out.dtype) == (fmt.shape, fmt.dtype)

    def _smaller_format(self, codestream: Buffer, least: tuple[int, int]) -> PixelFormat:
        """Return the format with the shape in the header of a codestream, where it has one."""
        fmt = self.format
        read_header = codec_for(fmt.transfer_syntax).read_header
        if read_header is None:
            return fmt
        header = read_header(codestream)
        require_agreement(header, fmt, least)
        if (header.rows, header.columns) == (fmt.rows, fmt.columns):
            return fmt
        return replace(fmt, rows=header.rows, columns=header.columns)


_BUILT_IN: dict[str, Callable[[PixelFormat], Decoder]] = {
    DEFAULT_DECODER: FrameDecoder,
    "highdicom": HighdicomDecoder,
}


def decoder_names() -> list[str]:
    """Return the names of all decoders that there are, those of this package first."""
    registered = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
    return [*_BUILT_IN, *sorted(registered - _BUILT_IN.keys())]


def require_decoder(name: str) -> None:
    """Check the name of a decoder, without importing the package that registers it.

    Parameters
    ----------
    name
        ``"imagecodecs"``, ``"highdicom"``, or the name of an entry point.

    Raises
    ------
    DicomError
        If there is no such decoder; it lists those that there are.
    """
    if name not in _BUILT_IN:
        _entry_point(name)


def decoder_for(name: str, fmt: PixelFormat) -> Decoder:
    """Return a decoder of the frames of one format.

    Parameters
    ----------
    name
        ``"imagecodecs"``, ``"highdicom"``, or the name of an entry point. It has no effect on
        native frames.
    fmt
        Encoding of the frames.

    Returns
    -------
    Decoder
        Safe to share between threads if the registered function is.

    Raises
    ------
    DicomError
        If there is no such decoder, or its package can't be imported.
    UnsupportedDicomError
        If the photometric interpretation or depth is not read.
    """
    if TransferSyntax.of(fmt.transfer_syntax).codec == "native":
        return FrameDecoder(fmt)
    built_in = _BUILT_IN.get(name)
    return built_in(fmt) if built_in else RegisteredDecoder(name, _registered(name), fmt)


def _entry_point(name: str) -> EntryPoint:
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return entry
    names = ", ".join(repr(existing) for existing in decoder_names())
    raise DicomError(
        f"there is no decoder {name!r}, only {names}; another one is registered by a package "
        f"as an entry point of the group {ENTRY_POINTS!r}"
    )


@cache
def _registered(name: str) -> BatchDecoder:
    """Import a registered decoder; once, as searching all packages takes milliseconds."""
    entry = _entry_point(name)
    try:
        function = entry.load()
    except Exception as error:
        raise DicomError(f"decoder {name!r} ({entry.value}) can't be imported: {error}") from error
    if not callable(function):
        raise DicomError(f"decoder {name!r} ({entry.value}) is not a function")
    return cast(BatchDecoder, function)
