"""Frames that have yet to be found: drawn from the very bytes that are searched for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import FrameOffsets, Lease, Passing
from xarray_dicom.pixel_format import LARGE_FRAME, MAX_EXPANSION
from xarray_dicom.reading.decode import Located, Request


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """The frames of one instance that a plan asks for, before anybody knows where they lie.

    Attributes
    ----------
    instance
        Where their bytes are from.
    first
        Position in the plan of the first of them; the others follow.
    numbers
        Their numbers in the instance, ascending.
    """

    frames: IndexedFrames
    first: int
    numbers: NDArray[np.int64]

    def split(self, n_known: int) -> tuple[Sought, Sought]:
        """Those among the first `n_known` frames of the instance, and the others."""
        cut = int(np.searchsorted(self.numbers, n_known))
        return self.part(0, cut), self.part(cut, self.numbers.size)

    def part(self, start: int, stop: int) -> Sought:
        """Those of them from `start` to before `stop`, counted here."""
        return Sought(self.frames, self.first + start, self.numbers[start:stop])

    def located(self, offsets: FrameOffsets) -> Located:
        """The same, once they are found."""
        spans = offsets.spans(self.numbers)
        return Located(self.frames, offsets, self.first, self.numbers, spans)

    def bounds(self, frames: NDArray[np.int64]) -> tuple[int, int]:
        """Where, counted here, those from the first to the last of `frames` start and stop."""
        start = np.searchsorted(self.numbers, frames[0])
        return int(start), int(np.searchsorted(self.numbers, frames[-1], "right"))

    def require_room(self) -> None:
        """Raise before memory is taken for frames that the whole object cannot hold."""
        nbytes, source = self.frames.format.frame_nbytes, self.frames.source
        size = source.fingerprint.size if source.fingerprint else 0
        needed = nbytes * np.unique(self.numbers).size
        if nbytes > LARGE_FRAME and needed > MAX_EXPANSION * size:
            raise CorruptDicomError(
                f"{source.location}: {size} bytes cannot hold the {needed} bytes of these frames: "
                "Rows (0028,0010) or Columns (0028,0011) is wrong"
            )


async def draw_passing(
    sought: Sought,
    memory_budget: int,
    check: Callable[[Located], None],
    draw: Callable[[Request, bytes], Awaitable[None]],
) -> list[Located]:
    """Draw the frames that pass by while their instance is searched for them.

    Parameters
    ----------
    sought
        The frames.
    memory_budget
        Bytes that may be in flight in this process.
    check
        Raises if bytes can't be those of the frames.
    draw
        Decodes and places frames whose bytes are at hand.

    Returns
    -------
    list of Located
        Frames that must be fetched: they were told apart only when their bytes had passed.
    """
    instance = sought.frames
    async with (
        instance.stream(np.unique(sought.numbers), memory_budget) as stream,
        asyncio.TaskGroup() as group,
    ):
        async for passing in stream:
            located = sought.part(*sought.bounds(passing.frames)).located(passing.offsets)
            task = group.create_task(_draw(located, passing, check, draw))
            # A task that is cancelled before it starts runs none of its own code.
            task.add_done_callback(_releasing(passing.lease))
    if not stream.left.size:
        return []
    offsets = await instance.locate(int(stream.left[-1]), memory_budget)
    places = np.flatnonzero(np.isin(sought.numbers, stream.left))
    runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
    found = [sought.part(int(run[0]), int(run[-1]) + 1).located(offsets) for run in runs]
    for one in found:
        check(one)
    return found


def _releasing(lease: Lease) -> Callable[[object], None]:
    return lambda _: lease.release()


async def _draw(
    located: Located,
    passing: Passing,
    check: Callable[[Located], None],
    draw: Callable[[Request, bytes], Awaitable[None]],
) -> None:
    check(located)
    members = np.arange(located.numbers.size)
    await draw(Request(located, passing.offset, len(passing.content), members), passing.content)
