"""Array of frames: the table that layouts make, and that all reading goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.frames.source import FrameSource
from xarray_dicom.layout.placement import Placement
from xarray_dicom.pixels.transform import Transform
from xarray_dicom.runtime import MEMORY_BUDGET

Overlap = Literal["error", "first", "last"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelPaint:
    """Labels that masks paint into one label map, frame by frame.

    Attributes
    ----------
    labels
        The label of each frame, positive; ascending labels are ascending rank.
    overlap
        Label of a pixel in several masks: the lowest (``"first"``), the highest
        (``"last"``), or an error.
    dtype
        Type of the label map.
    """

    labels: NDArray[np.int64]
    overlap: Overlap
    dtype: np.dtype[np.generic]


@dataclass(frozen=True, eq=False)
class FrameArray:
    """Array whose pixels are the frames of one or more instances.

    The array's axes are `outer_shape`, rows, columns and, for colour, three samples.

    Attributes
    ----------
    sources
        Frames of each instance. Frame numbers run on from one instance to the next.
    outer_shape
        Sizes of the axes before rows and columns.
    plane
        Rows and columns of the array.
    placement
        Places of the frames.
    transform
        Conversion of stored values to the array's values.
    fill
        Value where no frame is; for colour one per sample.
    paint
        Labels that frames paint into a label map; None where frames are the pixels themselves.
    memory_budget
        Bytes held, in flight and being decoded, by this process while reading.
    decoder
        Name of the decoder of frames.
    """

    sources: tuple[FrameSource, ...]
    outer_shape: tuple[int, ...]
    plane: tuple[int, int]
    placement: Placement
    transform: Transform
    fill: float | tuple[float, ...] = 0
    paint: LabelPaint | None = None
    memory_budget: int = MEMORY_BUDGET
    decoder: str = "imagecodecs"

    def __getstate__(self) -> dict[str, Any]:
        # Equal bytes before and after reads, so that dask gives both the same token.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of one frame."""
        pixel_format = self.sources[0].format
        return pixel_format.rows, pixel_format.columns

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return self.sources[0].format.samples

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        spatial = (*self.outer_shape, *self.plane)
        return spatial if self.samples == 1 else (*spatial, self.samples)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the array's values."""
        return self.paint.dtype if self.paint else self.transform.dtype

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Number of the first frame of each instance, and the total."""
        return frame_starts(self.sources)


def frame_starts(sources: Sequence[FrameSource]) -> NDArray[np.int64]:
    """Return the number of the first frame of each source, and the total of frames."""
    counts = [source.n_frames for source in sources]
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
