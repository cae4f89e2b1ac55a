"""Lazy highdicom objects that read through the frame source of an instance.

highdicom's own lazy reader needs a file: it reads an item's header, then the item, frame after
frame, and walks over all items where there is no offset table. Here its public method
`get_raw_frame` is replaced, so that a frame is one request and the offsets of this package are
used; methods that need many frames have them fetched together before they use them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import highdicom
from numpy.typing import NDArray
from pydicom.uid import UID, ParametricMapStorage, SegmentationStorage

from xarray_dicom.accessor.headers import read_headers
from xarray_dicom.errors import DicomError, UnsupportedDicomError
from xarray_dicom.frames.prefetch import PrefetchedFrames
from xarray_dicom.frames.source import FrameSource
from xarray_dicom.runtime import run

Pixels = NDArray[Any]

#: Label Map Segmentation Storage, which pydicom 3.0 has no name for.
LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")


class FrameSourceMixin:
    """Methods of the lazy kinds of image: encoded frames come from `encoded_frames`."""

    encoded_frames: PrefetchedFrames
    _stored: Pixels | None = None

    def get_raw_frame(self, frame_number: int, as_index: bool = False) -> bytes:
        """Return the encoded bytes of one frame, as `highdicom.Image.get_raw_frame` does."""
        index = frame_number if as_index else frame_number - 1
        n_frames = self.encoded_frames.source.n_frames
        if not 0 <= index < n_frames:
            kind, first = ("index", 0) if as_index else ("number", 1)
            raise IndexError(
                f"{self.encoded_frames.source.location}: no frame has the {kind} "
                f"{frame_number}; they run from {first} to {n_frames - 1 + first}"
            )
        return self.encoded_frames.read(index)

    def get_frames(
        self, frame_numbers: Iterable[int] | None = None, as_indices: bool = False, **options: Any
    ) -> Pixels:
        """Return frames after pixel transforms, as `highdicom.Image.get_frames` does.

        Parameters
        ----------
        frame_numbers
            Numbers of the frames; all if None.
        as_indices
            True for numbers that count from 0.
        **options
            As for highdicom.
        """
        numbers = self._prefetch(frame_numbers, as_indices)
        frames: Pixels = super().get_frames(numbers, as_indices, **options)  # type: ignore[misc]
        return frames

    def get_stored_frames(
        self, frame_numbers: Iterable[int] | None = None, as_indices: bool = False
    ) -> Pixels:
        """Return stored values of frames, as `highdicom.Image.get_stored_frames` does.

        Parameters
        ----------
        frame_numbers
            Numbers of the frames; all if None.
        as_indices
            True for numbers that count from 0.
        """
        numbers = self._prefetch(frame_numbers, as_indices)
        frames: Pixels = super().get_stored_frames(numbers, as_indices)  # type: ignore[misc]
        return frames

    @property
    def pixel_array(self) -> Pixels:
        """Stored values of all frames, read once."""
        if self._stored is None:
            stored = self.get_stored_frames()
            self._stored = stored if len(stored) > 1 else stored[0]
        return self._stored

    def _prefetch(self, frame_numbers: Iterable[int] | None, as_indices: bool) -> Iterable[int]:
        first = 0 if as_indices else 1
        if frame_numbers is None:
            frame_numbers = range(first, self.encoded_frames.source.n_frames + first)
        return self.encoded_frames.prefetch(frame_numbers, lambda number: number - first)

    def _prefetch_placed(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a method that places frames, with these frames prefetched.

        No public method of highdicom is called by all that make volumes and matrices. Where the
        private one has no such option, frames are fetched one by one.
        """
        name = "indices_iterator"
        if name not in options:
            return options
        return {
            **options,
            name: self.encoded_frames.prefetch(options[name], lambda entry: entry[0]),
        }


class LazyImage(FrameSourceMixin, highdicom.Image):
    """`highdicom.Image` whose frames are fetched as they are needed."""

    def _get_pixels_by_frame(self, *args: Any, **options: Any) -> Pixels:
        pixels: Pixels = super()._get_pixels_by_frame(*args, **self._prefetch_placed(options))
        return pixels


class LazyParametricMap(LazyImage, highdicom.pm.ParametricMap):
    """`highdicom.pm.ParametricMap` whose frames are fetched as they are needed."""


class LazySegmentation(FrameSourceMixin, highdicom.seg.Segmentation):
    """`highdicom.seg.Segmentation` whose frames are fetched as they are needed."""

    def _get_pixels_by_seg_frame(self, *args: Any, **options: Any) -> Pixels:
        pixels: Pixels = super()._get_pixels_by_seg_frame(*args, **self._prefetch_placed(options))
        return pixels


#: Classes for SOP classes; all others are images.
KINDS: dict[UID, type[LazyImage] | type[LazySegmentation]] = {
    SegmentationStorage: LazySegmentation,
    LABEL_MAP_STORAGE: LazySegmentation,
    ParametricMapStorage: LazyParametricMap,
}


def open_with_highdicom(sources: Sequence[FrameSource]) -> LazyImage | LazySegmentation:
    """Open the lazy highdicom object of an instance.

    Parameters
    ----------
    sources
        Frame sources of the instances that an array was opened from: one.

    Returns
    -------
    highdicom.Image or highdicom.seg.Segmentation
        Its header is read. A frame is one request; those of a region, volume or list of
        frames are merged into concurrent requests. It pickles.

    Raises
    ------
    DicomError
        If there are several instances, or frames without a header to read.
    UnsupportedDicomError
        If highdicom refuses the object; chains its error.
    SourceChangedError
        If the object was replaced.
    """
    if len(sources) != 1:
        raise DicomError(
            f"is one of {len(sources)} objects of an array, and highdicom opens one at a time: "
            "open the one you need by its own URL, or read all of their headers with "
            ".dicom.headers",
            location=sources[0].location,
        )
    (frames,) = sources
    (header,) = run(read_headers(sources))
    kind = KINDS.get(UID(str(header.get("SOPClassUID"))), LazyImage)
    try:
        image = kind.from_dataset(header, copy=False)
    except Exception as error:
        raise UnsupportedDicomError(
            f"highdicom {highdicom.__version__} does not take this object: {error}",
            location=frames.location,
        ) from error
    image.encoded_frames = PrefetchedFrames(frames)
    return image
