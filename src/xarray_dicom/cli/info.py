"""``xarray-dicom info``: what an object holds, told from its header."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr
from pydicom.uid import UID

from xarray_dicom.cli.arguments import Commands, add_objects, storage_options
from xarray_dicom.cli.text import one_line, printable
from xarray_dicom.dataset import HANDLE, Handle
from xarray_dicom.errors import DicomError, DicomWarning
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.frames.offsets import ExactOffsets, ItemOffsets, NativeOffsets, SingleFrame
from xarray_dicom.frames.scanned import ScannedFrames
from xarray_dicom.frames.source import FrameSource
from xarray_dicom.index_cache.checksummed import SUFFIX
from xarray_dicom.opening import OpenOptions, open_images
from xarray_dicom.parsing.inflated import InflatedSource
from xarray_dicom.runtime import run
from xarray_dicom.storage import ByteSource, RecordingSource, display, expand, list_folder

OFFSET_TABLES: dict[type, str] = {
    NativeOffsets: "native",
    ItemOffsets: "basic",
    SingleFrame: "not needed: one frame",
}

#: SOP classes newer than pydicom's table of names.
NEWER_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}


@dataclass(frozen=True)
class Image:
    """One image of an object, as opened."""

    attrs: Mapping[Any, Any]
    array: xr.DataArray
    handle: Handle

    @property
    def sources(self) -> tuple[FrameSource, ...]:
        """The instances that its frames lie in."""
        return self.handle.sources


def add_to(commands: Commands) -> None:
    """Add the command to those of the program."""
    parser = commands.add_parser(
        "info",
        help="what objects hold",
        description="Show the images that objects hold, and how they are stored, from their "
        "headers alone. Nothing that names a patient is shown.",
    )
    add_objects(parser)
    parser.add_argument("--group", metavar="NAME", help="show this image alone, for example scale2")
    parser.set_defaults(command=info)


def info(arguments: argparse.Namespace) -> int:
    """Print what each object holds; 1 if one could not be opened."""
    failed = False
    for number, url in enumerate(arguments.urls):
        try:
            lines = list(describe(url, storage_options(url, arguments), arguments.group))
        except Exception as error:
            failed = True
            print(f"error: {one_line(error)}", file=sys.stderr)
            continue
        if number:
            print()
        for line in lines:
            print(printable(line))
    return int(failed)


def describe(
    url: str, storage_options: Mapping[str, Any] | None = None, group: str | None = None
) -> Iterator[str]:
    """Lines that tell what the object at `url` holds.

    Parameters
    ----------
    url
        Anything that the engine opens by name.
    storage_options, group
        As in `xarray.open_dataset`.

    Raises
    ------
    DicomError, OSError
        As opening does.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        datasets, sources = _open(url, storage_options, group)
        images = {path: _image(dataset) for path, dataset in datasets.items() if dataset.data_vars}
        facts = {path: list(_facts(image)) for path, image in images.items()}
    yield display(url)
    yield from _columns(_transport(sources), indent=2)
    for path, found in facts.items():
        yield f"  group {path}"
        yield from _columns(found, indent=4)
    # Warnings of libraries may quote values of the header, and so name a patient.
    ours = (str(one.message) for one in caught if issubclass(one.category, DicomWarning))
    for message in dict.fromkeys(ours):
        yield f"  warning: {message}"


def _open(
    url: str, storage_options: Mapping[str, Any] | None, group: str | None
) -> tuple[dict[str, xr.Dataset], list[RecordingSource]]:
    """The images at `url`, and its objects with an account of what opening asked of them."""
    options = OpenOptions(group=group)

    def opened(
        found: Iterable[ByteSource], *, alone: bool
    ) -> tuple[dict[str, xr.Dataset], list[RecordingSource]]:
        sources = [RecordingSource(source) for source in found]
        return open_images(sources[0] if alone else sources, options), sources

    named = run(expand(url, storage_options, skip=(SUFFIX,)))
    try:
        return opened(named, alone=len(named) == 1)
    except (FileNotFoundError, IsADirectoryError):
        if len(named) > 1:
            raise
        # Like the engine: what is no object may be a prefix.
        return opened(run(list_folder(named[0], skip=(SUFFIX,))), alone=False)


def _image(dataset: xr.Dataset) -> Image:
    (array,) = (array for array in dataset.data_vars.values() if HANDLE in array.encoding)
    return Image(dataset.attrs, array, array.encoding[HANDLE])


def _transport(sources: Sequence[RecordingSource]) -> Iterator[tuple[str, str]]:
    size = sum(source.fingerprint.size for source in sources if source.fingerprint)
    requests = sum(len(source.requests) for source in sources)
    fetched = sum(source.bytes_read for source in sources)
    objects = f" in {len(sources):,} objects" if len(sources) > 1 else ""
    yield "size", f"{size:,} bytes{objects}"
    yield "opened with", f"{_count(requests, 'request')}, {fetched:,} bytes"


def _kind(image: Image) -> str:
    uid = UID(str(image.attrs.get("SOPClassUID", "several SOP classes")))
    return NEWER_CLASSES.get(uid, uid.name)


def _dimensions(image: Image) -> str:
    return " × ".join(f"{dim} {size:,}" for dim, size in image.array.sizes.items())


def _spacing(image: Image) -> str:
    array = image.array
    told = []
    for dim in ("z", "y", "x"):
        if array.sizes.get(dim, 0) < 2 or dim not in array.coords:
            continue
        # One axis at a time: an uneven one says so, and the others are told all the same.
        line = array.isel(dict.fromkeys(set(array.dims) - {dim}, 0))
        try:
            told.append(f"{dim} {line.dicom.spacing[dim]:g} mm")
        except DicomError as error:
            told.append(str(error))
    return ", ".join(told) or "not known"


def _frames(image: Image) -> str:
    rows, columns = image.handle.array.frames.tile
    total = sum(instance.n_frames for instance in image.sources)
    return f"{total:,} of {rows:,} × {columns:,}"


def _offset_table(instance: FrameSource) -> str:
    if not isinstance(instance, IndexedFrames | ScannedFrames):
        return "none"
    if isinstance(instance.source, InflatedSource):
        return "none: deflated as a whole"
    if not instance.has_offsets:
        return "none: scanned at first read"
    offsets = run(instance.frame_offsets())
    return offsets.table if isinstance(offsets, ExactOffsets) else OFFSET_TABLES[type(offsets)]


def _each(tell: Callable[[FrameSource], str]) -> Callable[[Image], str]:
    """What `tell` says of the instances of an image, each answer once."""
    return lambda image: "; ".join(dict.fromkeys(tell(instance) for instance in image.sources))


#: What is shown of an image, in this order; None is left out.
FACTS: tuple[tuple[str, Callable[[Image], str | None]], ...] = (
    ("kind", _kind),
    ("variable", lambda image: str(image.array.name)),
    ("dimensions", _dimensions),
    ("type", lambda image: str(image.array.dtype)),
    ("spacing", _spacing),
    ("coordinates", lambda image: image.array.attrs.get("coordinate_system")),
    ("transfer syntax", _each(lambda instance: UID(instance.format.transfer_syntax).name)),
    ("photometric", _each(lambda instance: instance.format.photometric)),
    ("frames", _frames),
    ("offset table", _each(_offset_table)),
)


def _facts(image: Image) -> Iterator[tuple[str, str]]:
    for name, tell in FACTS:
        told = tell(image)
        if told is not None:
            yield name, told
    for position, segment in enumerate(image.handle.segments):
        yield "" if position else "segments", f"{segment.number} {segment.label}"


def _columns(rows: Iterable[tuple[str, str]], *, indent: int) -> Iterator[str]:
    for name, told in rows:
        yield f"{'':{indent}}{name:<18}{told}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
