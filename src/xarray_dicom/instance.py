"""One SOP instance, opened: its header, per-frame columns and frames."""

from __future__ import annotations

from collections.abc import Sequence
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
from xarray_dicom.parsing.column_values import Column
from xarray_dicom.parsing.columns import read_columns
from xarray_dicom.parsing.element_values import Conversions, as_tag, plain_numbers
from xarray_dicom.parsing.encoding import TagPath, tag_name
from xarray_dicom.parsing.functional_groups import FUNCTIONAL_GROUPS, layout_paths, tag
from xarray_dicom.parsing.header import read_header
from xarray_dicom.parsing.image_pixel import common_format, number_of_frames
from xarray_dicom.parsing.inflated_source import InflatedSource
from xarray_dicom.parsing.sequence_items import sequence_items
from xarray_dicom.parsing.value_errors import values_read
from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.transfer_syntax import require_frames


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An instance with its header, per-frame columns and frames.

    Attributes
    ----------
    location
        URL or path of the object, fit to be shown.
    dataset
        File meta and data set, without pixel data and per-frame functional groups.
    columns
        Values per frame by path in the Per-Frame Functional Groups Sequence.
    frame_source
        Its frames; None for an object without pixels.
    conversions
        Values that were converted before; the instances of a series share them.
    """

    location: str
    dataset: Dataset
    columns: dict[TagPath, Column]
    frame_source: FrameSource | None
    conversions: Conversions = field(default_factory=Conversions, repr=False)

    @property
    def frames(self) -> FrameSource:
        """Frames of the instance.

        Raises
        ------
        UnsupportedDicomError
            If it has no pixels; names its SOP class.
        """
        if self.frame_source is None:
            with located(self.location), values_read(OSError):
                name = getattr(self.dataset.get("SOPClassUID"), "name", "object")
            raise UnsupportedDicomError(f"this {name} has no pixel data", location=self.location)
        return self.frame_source

    def get(self, keyword: str, sequence: str | None = None) -> Any:
        """Return the value of an element at the root; None where it is absent.

        Parameters
        ----------
        keyword
            Keyword of the element.
        sequence
            Keyword of a sequence at the root, whose first item has the element.
        """
        place = self.dataset if sequence is None else self._first_item(self.dataset, sequence)
        return None if place is None else self.conversions.value(place, tag(keyword))

    def items(self, keyword: str) -> Sequence[Dataset]:
        """Return the items of a sequence at the root; none where it is absent."""
        return sequence_items(self.dataset, tag(keyword), self.conversions)

    def column(self, keyword: str) -> Column | None:
        """Return an element's values per frame: of its per-frame group, shared group, or the root.

        Values have shape ``(frames, multiplicity)``; None where the element is absent.
        """
        group = FUNCTIONAL_GROUPS.get(keyword)
        try:
            if group is not None:
                return self.pointed(tag(keyword), tag(group))
            return self._at_root(tag(keyword), _dictionary_vr(keyword))
        except (ValueError, TypeError, OverflowError) as error:
            raise CorruptDicomError(
                f"{keyword} {tag_name(tag(keyword))} can't be read: {error}",
                location=self.location,
                tag=keyword,
            ) from error

    def pointed(self, element: int, group: int | None) -> Column | None:
        """Return the values of an element that a dimension points to.

        Parameters
        ----------
        element
            Tag of the element.
        group
            Tag of the functional group that it is in; None for the root.
        """
        path = (element,) if group is None else (group, element)
        found = self.columns.get(path)
        if found is not None and found.count.any():
            return found
        for place in (
            self._first_item(self.dataset, "SharedFunctionalGroupsSequence"),
            self.dataset,
        ):
            if place is None:
                continue
            if group is None:
                holder: Dataset | None = place
            else:
                holder = self._first_item(place, group)
            if holder is not None and element in holder:
                item = holder[element]
                return self._broadcast(item.value, item.VR)
        return None if group is None else self._at_root(element)

    def _at_root(self, element: int, vr: str = "") -> Column | None:
        """Return the value of a root element, read as `vr`, for every frame."""
        dataset = self.dataset

        def convert() -> Column | None:
            row = plain_numbers(dataset, element) if vr in ("", "DS") else None
            if row is not None:
                return self._rows(row)
            found = dataset[element]
            return self._broadcast(found.value, vr or found.VR)

        return self.conversions.once(dataset, element, (vr, self.frames.n_frames), convert)

    def per_frame(self, keyword: str) -> Column | None:
        """Return values of the per-frame functional groups alone; None where no frame has one."""
        found = self.columns.get((tag(FUNCTIONAL_GROUPS[keyword]), tag(keyword)))
        return found if found is not None and found.count.any() else None

    def floats(self, keyword: str, width: int) -> NDArray[np.float64] | None:
        """Return an element's numbers per frame, shape ``(frames, width)``; None if absent.

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
                f"{keyword} has {int(column.count[wrong[0]])} values in frame "
                f"{int(wrong[0]) + 1}, not {width}",
                location=self.location,
                tag=keyword,
            )
        return np.asarray(column.values[:, :width], np.float64)

    def shared(self, keyword: str) -> Any:
        """Return the value that all frames share, from the shared group or the root."""
        shared = self._first_item(self.dataset, "SharedFunctionalGroupsSequence")
        group = FUNCTIONAL_GROUPS.get(keyword)
        if shared is not None and group is not None:
            holder = self._first_item(shared, group)
            if holder is not None and as_tag(tag(keyword)) in holder:
                return self.conversions.value(holder, tag(keyword))
        return self.get(keyword)

    def _first_item(self, dataset: Dataset, sequence: str | int) -> Dataset | None:
        number = tag(sequence) if isinstance(sequence, str) else sequence
        return next(iter(sequence_items(dataset, number, self.conversions)), None)

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
    header = await read_header(source, first=first, paths=layout_paths)
    dataset = header.dataset
    with located(source.location):
        require_frames(header.transfer_syntax)
    if header.inflated is not None:
        source = InflatedSource(source, header.inflated)
    if header.pixel is None:
        return Instance(source.location, dataset, {}, None)
    with located(source.location), values_read(OSError):
        pixel_format = common_format(header, header.pixel)
        n_frames = number_of_frames(dataset)
        wanted = {} if header.per_frame is None else layout_paths(dataset)
    with located(source.location), values_read():
        offsets = await find_offsets(source, header, n_frames, pixel_format)
    columns: dict[TagPath, Column] = {}
    if header.per_frame is not None:
        with located(source.location):
            columns = await in_thread(read_columns, header.per_frame, wanted, n_frames)
    if offsets is not None:
        frames: FrameSource = IndexedFrames(source, pixel_format, n_frames, offsets)
    else:
        place = replace(header, dataset=Dataset(), per_frame=None)
        frames = ScannedFrames(source, pixel_format, n_frames, place)
    return Instance(source.location, dataset, columns, frames)


@cache
def _dictionary_vr(keyword: str) -> str:
    return dictionary_VR(keyword)
