"""Byte ranges of frames, divided into requests: arrays in, values out, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.framing import Framing
from xarray_dicom.frames.offsets.byte_ranges import ByteRanges
from xarray_dicom.frames.source import EncodedFrames, Int64s
from xarray_dicom.pixel_format import LARGE_FRAME, MAX_EXPANSION, PixelFormat
from xarray_dicom.runtime import Lease
from xarray_dicom.storage.ranges import merge
from xarray_dicom.storage.request_sizing import RequestSizing

#: Frames of a read that are divided without NumPy, whose calls cost more then.
FEW = 64

#: Bytes of decoded pixels of native frames that are decoded at once: a processor's cache.
NATIVE_RUN = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class LocatedFrames:
    """Frames of one instance, and where they lie in its object.

    Attributes
    ----------
    numbers
        Frame numbers from 0, shape ``(frames,)``.
    ranges
        Their byte ranges.
    framing
        Bytes that lie around the frames in their ranges.
    format
        How their pixels are encoded.
    """

    numbers: Int64s
    ranges: ByteRanges
    framing: Framing
    format: PixelFormat

    def __post_init__(self) -> None:
        require_proportion(self.format, self.numbers, self.ranges.length)


def require_proportion(pixel_format: PixelFormat, numbers: Int64s, length: Int64s) -> None:
    """Raise before memory is taken for frames that their bytes can't hold.

    Parameters
    ----------
    pixel_format
        Encoding of the frames.
    numbers, length
        Frame numbers from 0, and the bytes of each as it is stored.

    Raises
    ------
    CorruptDicomError
        If a frame is large and more than `MAX_EXPANSION` times its bytes.
    """
    nbytes = pixel_format.frame_nbytes
    if nbytes <= LARGE_FRAME:
        return
    small = np.flatnonzero(MAX_EXPANSION * length < nbytes)
    if len(small):
        raise CorruptDicomError(
            f"{int(length[small[0]])} bytes cannot hold the {nbytes} bytes of "
            f"{pixel_format.rows} × {pixel_format.columns} pixels: Rows (0028,0010) or Columns "
            "(0028,0011) is wrong",
            frame=int(numbers[small[0]]) + 1,
            tag="Rows",
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrameRequest:
    """One range of bytes of an object, and the frames that lie in it.

    Attributes
    ----------
    frames
        All frames that are read of the object.
    offset, length
        The range, in bytes of the object.
    members
        Positions in `frames` of those that lie in it, ascending.
    """

    frames: LocatedFrames
    offset: int
    length: int
    members: Int64s

    def cost(self, frames_at_once: int) -> int:
        """Return the bytes held for it: its own, and of frames that are decoded at a time."""
        frames = self.frames
        nbytes = frames.format.frame_nbytes
        at_once = max(nbytes, NATIVE_RUN) if frames.framing is Framing.BITS else nbytes
        return self.length + 2 * min(at_once * frames_at_once, nbytes * len(self.members))

    def batch(self, content: bytes, lease: Lease) -> EncodedFrames:
        """Return the frames, once their bytes have come."""
        frames, members = self.frames, self.members
        ranges = frames.ranges
        return EncodedFrames(
            frames.numbers[members],
            content,
            ranges.offset[members] - self.offset,
            ranges.length[members],
            ranges.bit[members],
            frames.framing,
            lease.release,
        )


def divide(frames: LocatedFrames, sizing: RequestSizing, limit: int) -> list[FrameRequest]:
    """Divide the ranges of frames into requests, in the order in which the frames are given.

    Parameters
    ----------
    frames
        What is to be read.
    sizing
        Gap between ranges that are merged, and largest size of a request, in bytes.
    limit
        Bytes that may be in flight in this process.
    """
    ranges = frames.ranges
    largest = min(sizing.largest, max(limit // 8, 1))
    if len(frames.numbers) <= FEW:
        return _divide_few(frames, sizing.gap, largest)
    merged = merge(ranges.offset, ranges.length, gap=sizing.gap, largest=largest)
    by_request = np.argsort(merged.request, kind="stable")
    cuts = np.flatnonzero(np.diff(merged.request[by_request])) + 1
    requests = []
    for members in np.split(by_request, cuts):
        position = int(merged.request[members[0]])
        # A frame of no bytes is in no request; its decoder reports it.
        place = (
            (int(ranges.offset[members[0]]), 0)
            if position < 0
            else (int(merged.offsets[position]), int(merged.lengths[position]))
        )
        requests.append(FrameRequest(frames, *place, members))
    return _in_order(requests)


def _divide_few(frames: LocatedFrames, gap: int, largest: int) -> list[FrameRequest]:
    """Divide as `divide` does, by the rules of `xarray_dicom.storage.ranges.merge`."""
    offset, length = frames.ranges.offset.tolist(), frames.ranges.length.tolist()
    requests = []
    members: list[int] = []
    start = end = 0
    for position in sorted(range(len(offset)), key=offset.__getitem__):
        if not length[position]:
            # A frame of no bytes is in no request; its decoder reports it.
            requests.append(FrameRequest(frames, offset[position], 0, np.array([position])))
            continue
        begin, stop = offset[position], offset[position] + length[position]
        if members and (begin - end > gap or (stop > end and stop - start > largest)):
            requests.append(FrameRequest(frames, start, end - start, np.sort(members)))
            members = []
        if not members:
            start, end = begin, stop
        members.append(position)
        end = max(end, stop)
    if members:
        requests.append(FrameRequest(frames, start, end - start, np.sort(members)))
    return _in_order(requests)


def _in_order(requests: list[FrameRequest]) -> list[FrameRequest]:
    """Sort requests by the first of their frames."""
    requests.sort(key=lambda request: int(request.members[0]))
    return requests
