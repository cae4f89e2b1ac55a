"""One SOP instance: what reading needs of it, and what laying it out needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError, located
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import find_offsets
from xarray_dicom.frames.scanned import ScannedFrames
from xarray_dicom.frames.source import FrameSource
from xarray_dicom.parsing.columns import read_columns
from xarray_dicom.parsing.conversions import Conversions, as_tag, plain_numbers
from xarray_dicom.parsing.damage import values_read
from xarray_dicom.parsing.elements import Column, Path
from xarray_dicom.parsing.encoding import tag_name
from xarray_dicom.parsing.functional import FUNCTIONAL_GROUPS, tag, wanted_paths
from xarray_dicom.parsing.header import read_header
from xarray_dicom.parsing.image_pixel import common_format
from xarray_dicom.parsing.inflated import InflatedSource
from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.transfer_syntax import require_frames


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An instance with its header and per-frame columns: what laying it out needs.

    Attributes
    ----------
    source
        Bytes of the object.
    dataset
        File meta and data set, without pixel data and per-frame functional groups.
    columns
        Values per frame by path in the Per-Frame Functional Groups Sequence.
    frame_source
        Its frames; None for an object without pixels.
    conversions
        What was converted already; the instances of a series share it.
    """

    source: ByteSource
    dataset: Dataset
    columns: dict[Path, Column]
    frame_source: FrameSource | None
    conversions: Conversions = field(default_factory=Conversions, repr=False)

    @property
    def location(self) -> str:
        """Where the object lies, fit to be shown."""
        return self.source.location

    @property
    def frames(self) -> FrameSource:
        """Frames of the instance.

        Raises
        ------
        UnsupportedDicomError
            If it has no pixels; names its SOP class.
        """
        if self.frame_source is None:
            with values_read(self.location, OSError):
                name = getattr(self.dataset.get("SOPClassUID"), "name", "object")
            raise UnsupportedDicomError(f"this {name} has no pixel data", location=self.location)
        return self.frame_source

    def get(self, keyword: str) -> Any:
        """Value of an element at the root; None where it is absent."""
        return self.conversions.value(self.dataset, tag(keyword))

    def column(self, keyword: str) -> Column | None:
        """Values of an element in every frame: per-frame group, else shared group, else root.

        Values are shaped ``(frames, multiplicity)``; None where the element is nowhere.
        """
        group = FUNCTIONAL_GROUPS.get(keyword)
        try:
            if group is not None:
                return self.pointed(tag(keyword), tag(group))
            return self._at_root(tag(keyword), _dictionary_vr(keyword))
        except (ValueError, TypeError, OverflowError) as error:
            raise CorruptDicomError(
                f"{self.location}: {keyword} {tag_name(tag(keyword))} can't be read: {error}"
            ) from error

    def pointed(self, element: int, group: int | None) -> Column | None:
        """Values of `element` inside functional group `group`, as a dimension points to it."""
        path = (element,) if group is None else (group, element)
        found = self.columns.get(path)
        if found is not None and found.count.any():
            return found
        for place in (_first_item(self.dataset, "SharedFunctionalGroupsSequence"), self.dataset):
            if place is None:
                continue
            if group is None:
                holder: Dataset | None = place
            else:
                holder = _first_item(place, group)
            if holder is not None and element in holder:
                item = holder[element]
                return self._broadcast(item.value, item.VR)
        return None if group is None else self._at_root(element)

    def _at_root(self, element: int, vr: str = "") -> Column | None:
        """Value of a root element as that of every frame, as if it were of `vr`."""
        dataset = self.dataset

        def convert() -> Column | None:
            row = plain_numbers(dataset, element) if vr in ("", "DS") else None
            if row is not None:
                return self._rows(row)
            found = dataset[element]
            return self._broadcast(found.value, vr or found.VR)

        return self.conversions.once(dataset, element, (vr, self.frames.n_frames), convert)

    def per_frame(self, keyword: str) -> Column | None:
        """Values in the per-frame functional groups alone; None where no frame has one."""
        found = self.columns.get((tag(FUNCTIONAL_GROUPS[keyword]), tag(keyword)))
        return found if found is not None and found.count.any() else None

    def floats(self, keyword: str, width: int) -> NDArray[np.float64] | None:
        """Numbers of an element in every frame, shape ``(frames, width)``; None if nowhere.

        Raises
        ------
        CorruptDicomError
            If some frames have another number of values.
        """
        column = self.column(keyword)
        if column is None:
            return None
        wrong = np.flatnonzero(column.count != width)
        if len(wrong):
            raise CorruptDicomError(
                f"{self.location}: {keyword} has {int(column.count[wrong[0]])} values in frame "
                f"{int(wrong[0]) + 1}, not {width}"
            )
        return np.asarray(column.values[:, :width], np.float64)

    def shared(self, keyword: str) -> Any:
        """Value of an element that all frames share, from its shared group or the root."""
        shared = _first_item(self.dataset, "SharedFunctionalGroupsSequence")
        group = FUNCTIONAL_GROUPS.get(keyword)
        if shared is not None and group is not None:
            holder = _first_item(shared, group)
            if holder is not None and keyword in holder:
                return holder[keyword].value
        return self.dataset.get(keyword)

    def _broadcast(self, value: Any, vr: str) -> Column | None:
        if value is None or value == "":
            return None
        values = (
            list(value) if not isinstance(value, (str, bytes)) and np.iterable(value) else [value]
        )
        if vr in {"DS", "FD", "FL", "IS", "US", "SS", "UL", "SL", "UV", "SV", "AT"}:
            kind = np.float64 if vr in {"DS", "FD", "FL"} else np.int64
            row = np.asarray([kind(v) for v in values])
        else:
            row = np.asarray([str(v).encode() for v in values])
        return self._rows(row)

    def _rows(self, row: NDArray[Any]) -> Column:
        n = self.frames.n_frames
        return Column(
            np.broadcast_to(row, (n, len(row))), np.broadcast_to(np.int32(len(row)), (n,))
        )


async def open_instance(source: ByteSource, *, first: int) -> Instance:
    """Read the header, the offset table and the per-frame columns of one object.

    Parameters
    ----------
    source
        The object.
    first
        Bytes to fetch with the first request.

    Raises
    ------
    NotDicomError, CorruptDicomError
        If the object is not DICOM, is cut short, or contradicts itself.
    UnsupportedDicomError
        If it holds no image.
    """
    header = await read_header(source, first=first, paths=wanted_paths)
    dataset = header.dataset
    with located(source.location):
        require_frames(header.transfer_syntax)
    if header.inflated is not None:
        source = InflatedSource(source, header.inflated)
    if header.pixel is None:
        return Instance(source, dataset, {}, None)
    with values_read(source.location, OSError):
        pixel_format = common_format(header, header.pixel, source.location)
        n_frames = _number_of_frames(dataset)
        wanted = {} if header.per_frame is None else wanted_paths(dataset)
    with values_read(source.location):
        offsets = await find_offsets(source, header, n_frames, pixel_format)
    columns: dict[Path, Column] = {}
    if header.per_frame is not None:
        read = await in_thread(read_columns, header.per_frame, wanted, n_frames, source.location)
        columns = dict(read.columns)
    if offsets is not None:
        frames: FrameSource = IndexedFrames(source, pixel_format, n_frames, offsets)
    else:
        place = replace(header, dataset=Dataset(), per_frame=None)
        frames = ScannedFrames(source, pixel_format, n_frames, place)
    return Instance(source, dataset, columns, frames)


def _number_of_frames(dataset: Dataset) -> int:
    value = dataset.get("NumberOfFrames")
    if value in (None, ""):
        return 1
    try:
        n_frames = int(value)
    except (TypeError, ValueError) as error:
        raise CorruptDicomError(
            f"Number of Frames (0028,0008) is {value!r}, not a number", tag="NumberOfFrames"
        ) from error
    if n_frames < 1:
        raise CorruptDicomError(f"Number of Frames (0028,0008) is {n_frames}", tag="NumberOfFrames")
    return n_frames


@cache
def _dictionary_vr(keyword: str) -> str:
    return dictionary_VR(keyword)


def _first_item(dataset: Dataset, sequence: str | int) -> Dataset | None:
    number = tag(sequence) if isinstance(sequence, str) else sequence
    if as_tag(number) not in dataset:
        return None
    items: Iterable[Dataset] | None = dataset[as_tag(number)].value
    if not items:
        return None
    return next(iter(items), None)
