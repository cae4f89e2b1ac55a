"""From the bytes of one request to pixels on the canvas: all that decode threads do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError, DicomError
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import FrameOffsets, NativeOffsets, Spans
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.pixel_format import Buffer, PixelFormat
from xarray_dicom.pixels import FrameDecoder, decode_native_run
from xarray_dicom.pixels.transform import Stored
from xarray_dicom.reading.output import Canvas, Pixels
from xarray_dicom.reading.plan import Plan, Targets

#: Bytes of decoded pixels that native frames are taken in: what fits in a processor's cache.
RUN_BYTES = 2**20

#: Bytes of decoded pixels of native frames that are worth another thread.
LEAST_SHARE = 2 * RUN_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """The frames of one instance that a plan asks for, and where they lie.

    Attributes
    ----------
    instance, offsets
        Where their bytes are from.
    first
        Position in the plan of the first of them; the others follow.
    numbers
        Their numbers in the instance, ascending.
    spans
        Where each lies in the object.
    """

    frames: IndexedFrames
    offsets: FrameOffsets
    first: int
    numbers: NDArray[np.int64]
    spans: Spans

    @property
    def native(self) -> bool:
        """Whether neighbouring frames are one run of bits."""
        return isinstance(self.offsets, NativeOffsets)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One range of bytes of one instance, and the frames that lie in it.

    Attributes
    ----------
    located
        The frames of its instance.
    offset, length
        The range, in bytes of the object.
    members
        Which of the located frames lie in it, ascending.
    """

    located: Located
    offset: int
    length: int
    members: NDArray[np.int64]

    def cost(self, threads: int) -> int:
        """Bytes held while `threads` serve this: its own, and frames being decoded."""
        nbytes = self.located.frames.format.frame_nbytes
        at_once = max(nbytes, RUN_BYTES) if self.located.native else nbytes
        return self.length + 2 * min(at_once * threads, nbytes * len(self.members))

    def shares(self, parts: int) -> list[Request]:
        """The same in up to `parts` of about as many frames each."""
        n_frames = len(self.members)
        if self.located.native:
            # To hand a share to a thread takes as long as to unpack this much.
            decoded = n_frames * self.located.frames.format.frame_nbytes
            parts = min(parts, max(1, decoded // LEAST_SHARE))
        if parts == 1 or n_frames == 1:
            return [self]
        pieces = np.array_split(self.members, min(parts, n_frames))
        return [Request(self.located, self.offset, self.length, piece) for piece in pieces]


def draw(array: FrameArray, plan: Plan, canvas: Canvas, request: Request, content: Buffer) -> None:
    """Decode the frames of `request`, whose bytes are `content`, and place them.

    Raises
    ------
    DicomError
        If a frame's bytes are damaged or of an unknown kind; the message names the source and
        the frame.
    """
    # Stored NaN and infinity pass through; no pixel is worth a warning.
    with np.errstate(invalid="ignore", over="ignore"):
        if request.located.native:
            for run in _runs(request):
                _draw_run(array, plan, canvas, run, content)
        else:
            _draw_frames(array, plan, canvas, request, content)


def _draw_frames(
    array: FrameArray, plan: Plan, canvas: Canvas, request: Request, content: Buffer
) -> None:
    located, members = request.located, request.members
    spans, pixel_format = located.spans, located.frames.format
    view = memoryview(content)
    plain = isinstance(array.transform, Stored) and array.transform.dtype == pixel_format.dtype
    starts = (spans.offset[members] - request.offset).tolist()
    lengths, bits = spans.length[members].tolist(), spans.bit[members].tolist()
    decoder = None
    for member, start, length, bit in zip(members.tolist(), starts, lengths, bits, strict=True):
        target = plan.targets[located.first + member]
        out = canvas.direct(target) if plain else None
        scratch = _scratch(pixel_format) if out is None else out
        try:
            decoder = decoder or FrameDecoder(pixel_format)
            codestream = located.offsets.codestream(view[start : start + length])
            try:
                pixels: Pixels = decoder.decode_frame(codestream, bit=bit, out=scratch)
            except CorruptDicomError:
                # Some writers cut tiles off where the total pixel matrix ends.
                inside = array.placement.inside(target.frame)
                if inside == array.tile:
                    raise
                pixels = decoder.decode_frame(codestream, bit=bit, out=scratch, least=inside)
            if not plain:
                pixels = array.transform.apply(pixels, target.frame)
        except DicomError as error:
            location = located.frames.source.location
            told = str(error).removeprefix(f"{location}: ")
            frame = int(located.numbers[member]) + 1
            raise type(error)(f"{location}: frame {frame}: {told}") from error
        except (ValueError, RuntimeError, MemoryError) as error:
            location, frame = located.frames.source.location, int(located.numbers[member]) + 1
            raise CorruptDicomError(
                f"{location}: frame {frame} can't be decoded: {error}"
            ) from error
        if out is None:
            canvas.place(target, pixels)


def _runs(request: Request) -> Iterator[Request]:
    """The frames of a native request in pieces of `RUN_BYTES` decoded."""
    numbers = request.located.numbers[request.members]
    nbytes = request.located.frames.format.frame_nbytes
    piece = (numbers - numbers[0]) // max(RUN_BYTES // nbytes, 1)
    for members in np.split(request.members, np.flatnonzero(np.diff(piece)) + 1):
        yield Request(request.located, request.offset, request.length, members)


def _draw_run(array: FrameArray, plan: Plan, canvas: Canvas, run: Request, content: Buffer) -> None:
    """Decode native frames at once, with the few between them that nobody asked for."""
    located = run.located
    first, last = int(run.members[0]), int(run.members[-1])
    numbers = located.numbers[first : last + 1]
    start = int(located.spans.offset[first]) - run.offset
    stop = int(located.spans.offset[last] + located.spans.length[last]) - run.offset
    wanted = numbers - numbers[0]
    targets = plan.targets
    try:
        frames: Pixels = decode_native_run(
            memoryview(content)[start:stop],
            located.frames.format,
            int(wanted[-1]) + 1,
            int(located.spans.bit[first]),
        )
        if len(frames) != len(wanted) or (np.diff(wanted) != 1).any():
            frames = frames[wanted]
        if canvas.independent and isinstance(targets, Targets) and targets.aligned:
            canvas.place_run(targets, located.first + first, frames)
            return
        values = array.transform.apply(frames, plan.frames[located.first + run.members])
    except (DicomError, ValueError, RuntimeError, MemoryError):
        # One by one tells which of them it is.
        _draw_frames(array, plan, canvas, run, content)
        return
    for member, value in zip(run.members.tolist(), values, strict=True):
        canvas.place(targets[located.first + member], value)


_threads = threading.local()

#: Frames larger than this are decoded into memory of their own, given back at once.
LARGEST_SCRATCH = 8 * 2**20


def _scratch(pixel_format: PixelFormat) -> Pixels | None:
    # A fresh array costs its page faults for every frame: about a tenth of decoding a tile.
    if pixel_format.frame_nbytes > LARGEST_SCRATCH:
        return None
    known: tuple[PixelFormat, Pixels] | None = getattr(_threads, "scratch", None)
    if known is None or known[0] != pixel_format:
        known = (pixel_format, np.empty(pixel_format.shape, pixel_format.dtype))
        _threads.scratch = known
    return known[1]
