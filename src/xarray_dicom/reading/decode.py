"""From the bytes of a batch to pixels in the output: all that decode threads do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomError, located
from xarray_dicom.frames.framing import Framing
from xarray_dicom.frames.requests import NATIVE_RUN
from xarray_dicom.frames.source import EncodedFrames, FrameSource
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.pixels import Decoder, decode_native_run, decoder_for
from xarray_dicom.pixels.transform import Stored
from xarray_dicom.reading.output import Output, Pixels
from xarray_dicom.reading.plan import Plan, Targets

#: Bytes of decoded pixels of native frames that are worth another thread: handing over takes as
#: long as unpacking this much.
LEAST_SHARE = 2 * NATIVE_RUN

#: Frames larger than this are decoded into memory of their own, given back at once.
LARGEST_SCRATCH = 8 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """Frames of one batch that one thread decodes and places.

    Attributes
    ----------
    source
        The instance that they are of.
    batch
        Their bytes.
    members
        Positions in `batch` of the frames, ascending.
    first, stop
        For every frame of `batch`, the range of its targets in the plan.
    """

    source: FrameSource
    batch: EncodedFrames
    members: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]

    @property
    def is_native(self) -> bool:
        """True if neighbouring frames are one run of bits."""
        return self.batch.framing is Framing.BITS

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded frames."""
        return len(self.members) * self.source.format.frame_nbytes

    def split(self, parts: int) -> list[Share]:
        """Divide into up to `parts` shares of about as many frames each."""
        n_frames = len(self.members)
        if self.is_native:
            parts = min(parts, max(1, self.nbytes // LEAST_SHARE))
        if parts == 1 or n_frames == 1:
            return [self]
        return [self._part(piece) for piece in np.array_split(self.members, min(parts, n_frames))]

    def runs(self) -> Iterator[Share]:
        """Divide native frames into pieces of `NATIVE_RUN` decoded bytes."""
        numbers = self.batch.numbers[self.members]
        piece = (numbers - numbers[0]) // max(NATIVE_RUN // self.source.format.frame_nbytes, 1)
        for members in np.split(self.members, np.flatnonzero(np.diff(piece)) + 1):
            yield self._part(members)

    def pieces(self, n_frames: int) -> Iterator[Share]:
        """Divide into pieces of up to `n_frames` frames."""
        for start in range(0, len(self.members), n_frames):
            yield self._part(self.members[start : start + n_frames])

    def _part(self, members: NDArray[np.int64]) -> Share:
        return Share(self.source, self.batch, members, self.first, self.stop)


def decode_share(array: FrameArray, plan: Plan, output: Output, share: Share) -> None:
    """Decode frames and place them.

    Parameters
    ----------
    array, plan, output
        The read that they are for.
    share
        The frames.

    Raises
    ------
    DicomError
        If a frame's bytes are damaged or of an unknown kind; names the source and the frame.
    """
    # Stored NaN and infinity pass through; no pixel is worth a warning.
    with located(share.source.location), np.errstate(invalid="ignore", over="ignore"):
        decoder = _decoder(array.decoder, share.source.format)
        if share.is_native:
            for run in share.runs():
                _decode_run(array, plan, output, run, decoder)
        elif decoder.frames_at_once > 1:
            for batch in share.pieces(decoder.frames_at_once):
                _decode_batch(array, plan, output, batch, decoder)
        else:
            _decode_each(array, plan, output, share, decoder)


def _decode_each(
    array: FrameArray, plan: Plan, output: Output, share: Share, decoder: Decoder
) -> None:
    """Decode frame by frame, where possible straight into the output."""
    batch, pixel_format = share.batch, share.source.format
    plain = isinstance(array.transform, Stored) and array.transform.dtype == pixel_format.dtype
    members = share.members
    columns = (members, share.first[members], share.stop[members], batch.bit[members])
    for member, first, stop, bit in zip(*(column.tolist() for column in columns), strict=True):
        target = plan.targets[first]
        out = output.direct(target) if plain and stop == first + 1 else None
        try:
            codestream = batch.codestream(member)
            buffer = _scratch(pixel_format) if out is None else out
            try:
                pixels: Pixels = decoder.decode_frame(codestream, bit=bit, out=buffer)
            except CorruptDicomError:
                # Some writers cut tiles off at the edges of the total pixel matrix.
                inside = array.placement.inside(target.frame)
                if inside == array.tile:
                    raise
                pixels = decoder.decode_frame(codestream, bit=bit, out=buffer, least=inside)
            if out is None:
                for position in range(first, stop):
                    target = plan.targets[position]
                    values = pixels if plain else array.transform.apply(pixels, target.frame)
                    output.place(target, values)
        except DicomError as error:
            error.complete(share.source.location, int(batch.numbers[member]) + 1)
            raise
        except (ValueError, RuntimeError, MemoryError) as error:
            raise CorruptDicomError(
                f"it can't be decoded: {error}",
                location=share.source.location,
                frame=int(batch.numbers[member]) + 1,
            ) from error


def _decode_batch(
    array: FrameArray, plan: Plan, output: Output, share: Share, decoder: Decoder
) -> None:
    """Decode frames in one call of a decoder that takes several."""
    batch, pixel_format = share.batch, share.source.format
    try:
        codestreams = [batch.codestream(member) for member in share.members.tolist()]
        frames = np.empty((len(codestreams), *pixel_format.shape), pixel_format.dtype)
        decoder.decode_batch(codestreams, frames)
        _place(array, plan, output, share, frames)
    except (DicomError, ValueError, RuntimeError, MemoryError):
        # Frame by frame, the error names the one that is damaged.
        _decode_each(array, plan, output, share, decoder)


def _decode_run(
    array: FrameArray, plan: Plan, output: Output, run: Share, decoder: Decoder
) -> None:
    """Decode native frames at once, with the few between them that are not needed."""
    batch, members = run.batch, run.members
    head, tail = int(members[0]), int(members[-1])
    numbers = batch.numbers[members] - batch.numbers[head]
    start, stop = int(batch.start[head]), int(batch.start[tail] + batch.length[tail])
    try:
        frames: Pixels = decode_native_run(
            memoryview(batch.content)[start:stop],
            run.source.format,
            int(numbers[-1]) + 1,
            int(batch.bit[head]),
        )
        if len(frames) != len(numbers) or (np.diff(numbers) != 1).any():
            frames = frames[numbers]
        _place(array, plan, output, run, frames)
    except (DicomError, ValueError, RuntimeError, MemoryError):
        # Frame by frame, the error names the one that is damaged.
        _decode_each(array, plan, output, run, decoder)


def _place(array: FrameArray, plan: Plan, output: Output, share: Share, frames: Pixels) -> None:
    """Transform and place decoded frames, together where their targets are alike."""
    targets, members = plan.targets, share.members
    first, stop = int(share.first[members[0]]), int(share.stop[members[-1]])
    if stop - first != len(members):
        frames = np.repeat(frames, (share.stop - share.first)[members], axis=0)
    elif output.independent and isinstance(targets, Targets) and targets.aligned:
        output.place_run(targets, first, frames)
        return
    values = array.transform.apply(frames, plan.frames[first:stop])
    for position, value in enumerate(values, first):
        output.place(targets[position], value)


_threads = threading.local()


def _decoder(name: str, pixel_format: PixelFormat) -> Decoder:
    """Return this thread's decoder, which knows the headers of the frames before."""
    known: tuple[str, PixelFormat, Decoder] | None = getattr(_threads, "decoder", None)
    if known is None or known[:2] != (name, pixel_format):
        known = _threads.decoder = (name, pixel_format, decoder_for(name, pixel_format))
    return known[2]


def _scratch(pixel_format: PixelFormat) -> Pixels | None:
    """Return this thread's buffer for one decoded frame; None for large ones.

    A fresh array costs its page faults for every frame: about a tenth of decoding a tile.
    """
    known: tuple[PixelFormat, Pixels] | None = getattr(_threads, "scratch", None)
    if known is None or known[0] != pixel_format:
        if pixel_format.frame_nbytes > LARGEST_SCRATCH:
            return None
        known = (pixel_format, np.empty(pixel_format.shape, pixel_format.dtype))
        _threads.scratch = known
    return known[1]
