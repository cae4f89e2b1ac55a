"""The lazy highdicom object of an instance, reading through the instance's own source.

highdicom's lazy reader needs a file: it reads an item's header, then the item, frame after
frame, and walks over all items where there is no offset table. Here its public
`get_raw_frame` is what reads, so that a frame is one request and every object whose frames
this package finds will do; methods that need many frames tell which before they read them.
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

#: Newer than pydicom's table of names.
LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")


class FetchedFrames:
    """What the lazy kinds of image have in common: frames come from `encoded_frames`."""

    encoded_frames: PrefetchedFrames
    _stored: Pixels | None = None

    def get_raw_frame(self, frame_number: int, as_index: bool = False) -> bytes:
        """Encoded bytes of one frame, as `highdicom.Image.get_raw_frame`."""
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
        """Frames after pixel transforms, as `highdicom.Image.get_frames`."""
        ahead = self._ahead_of_numbers(frame_numbers, as_indices)
        found: Pixels = super().get_frames(ahead, as_indices, **options)  # type: ignore[misc]
        return found

    def get_stored_frames(
        self, frame_numbers: Iterable[int] | None = None, as_indices: bool = False
    ) -> Pixels:
        """Frames as they are stored, as `highdicom.Image.get_stored_frames`."""
        ahead = self._ahead_of_numbers(frame_numbers, as_indices)
        found: Pixels = super().get_stored_frames(ahead, as_indices)  # type: ignore[misc]
        return found

    @property
    def pixel_array(self) -> Pixels:
        """All frames as they are stored, kept once read."""
        if self._stored is None:
            stored = self.get_stored_frames()
            self._stored = stored if len(stored) > 1 else stored[0]
        return self._stored

    def _ahead_of_numbers(
        self, frame_numbers: Iterable[int] | None, as_indices: bool
    ) -> Iterable[int]:
        first = 0 if as_indices else 1
        if frame_numbers is None:
            frame_numbers = range(first, self.encoded_frames.source.n_frames + first)
        return self.encoded_frames.prefetch(frame_numbers, lambda number: number - first)

    def _fetching_ahead(self, options: dict[str, Any]) -> dict[str, Any]:
        """`options` of a method that places frames, with those fetched that it is to place.

        highdicom has no public method that all of its volumes and matrices go through. The
        one that there is may change: frames would then be fetched one by one.
        """
        name = "indices_iterator"
        if name not in options:
            return options
        return {
            **options,
            name: self.encoded_frames.prefetch(options[name], lambda entry: entry[0]),
        }


class FetchedImage(FetchedFrames, highdicom.Image):
    """A `highdicom.Image` whose frames are fetched as they are needed."""

    def _get_pixels_by_frame(self, *args: Any, **options: Any) -> Pixels:
        found: Pixels = super()._get_pixels_by_frame(*args, **self._fetching_ahead(options))
        return found


class FetchedParametricMap(FetchedImage, highdicom.pm.ParametricMap):
    """A `highdicom.pm.ParametricMap` whose frames are fetched as they are needed."""


class FetchedSegmentation(FetchedFrames, highdicom.seg.Segmentation):
    """A `highdicom.seg.Segmentation` whose frames are fetched as they are needed."""

    def _get_pixels_by_seg_frame(self, *args: Any, **options: Any) -> Pixels:
        found: Pixels = super()._get_pixels_by_seg_frame(*args, **self._fetching_ahead(options))
        return found


#: SOP classes that highdicom has a class for; all others are images.
KINDS: dict[UID, type[FetchedImage] | type[FetchedSegmentation]] = {
    SegmentationStorage: FetchedSegmentation,
    LABEL_MAP_STORAGE: FetchedSegmentation,
    ParametricMapStorage: FetchedParametricMap,
}


def open_with_highdicom(instances: Sequence[FrameSource]) -> FetchedImage | FetchedSegmentation:
    """The lazy highdicom object of the one instance in `instances`.

    Parameters
    ----------
    instances
        The instances that an array was opened from.

    Returns
    -------
    highdicom.Image or highdicom.seg.Segmentation
        Its header is read; a frame is fetched in one request, and those of a region, volume
        or list of frames in merged, concurrent requests. It pickles.

    Raises
    ------
    DicomError
        If there are several instances.
    UnsupportedDicomError
        If highdicom refuses the object; chains its error.
    SourceChangedError
        If the object was replaced.
    """
    if len(instances) != 1:
        raise DicomError(
            f"{instances[0].location} is one of {len(instances)} objects of an array, and "
            "highdicom opens one at a time: open the one you need by its own URL, or read all of "
            "their headers with .dicom.headers"
        )
    (instance,) = instances
    (header,) = run(read_headers((instance,)))
    kind = KINDS.get(UID(str(header.get("SOPClassUID"))), FetchedImage)
    try:
        image = kind.from_dataset(header, copy=False)
    except Exception as error:
        raise UnsupportedDicomError(
            f"{instance.location}: highdicom {highdicom.__version__} does not take this "
            f"object: {error}"
        ) from error
    image.encoded_frames = PrefetchedFrames(instance)
    return image
