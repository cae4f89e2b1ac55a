"""Subcommand ``xarray-dicom info``: images and storage of objects, from their headers."""

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

#: Names of SOP classes that pydicom 3.0 has no name for.
NEWER_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}


@dataclass(frozen=True)
class Image:
    """Image of an object, as opened.

    Attributes
    ----------
    attrs
        Attributes of its dataset.
    array
        Its variable.
    handle
        Handle of the variable.
    """

    attrs: Mapping[Any, Any]
    array: xr.DataArray
    handle: Handle

    @property
    def sources(self) -> tuple[FrameSource, ...]:
        """Frame sources of its instances."""
        return self.handle.sources


def add_parser(commands: Commands) -> None:
    """Add the subcommand to the program."""
    parser = commands.add_parser(
        "info",
        help="what objects hold",
        description="Show the images that objects hold, and how they are stored, from their "
        "headers alone. Nothing that names a patient is shown.",
    )
    add_objects(parser)
    parser.add_argument("--group", metavar="NAME", help="show this image alone, for example scale2")
    parser.set_defaults(command=show_objects)


def show_objects(arguments: argparse.Namespace) -> int:
    """Describe each object; return 1 if one could not be opened."""
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
    """Yield the lines that describe the object at a URL.

    Parameters
    ----------
    url
        URL or path that the engine opens.
    storage_options, group
        As for the engine.

    Raises
    ------
    DicomError, OSError
        As the engine does.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        datasets, sources = _open(url, storage_options, group)
        images = {path: _image(dataset) for path, dataset in datasets.items() if dataset.data_vars}
        properties = {path: list(_properties(image)) for path, image in images.items()}
    yield display(url)
    yield from _columns(_transport(sources), indent=2)
    for path, rows in properties.items():
        yield f"  group {path}"
        yield from _columns(rows, indent=4)
    # Warnings of libraries are left out: they may quote values of the header, and so a name.
    messages = [str(w.message) for w in caught if issubclass(w.category, DicomWarning)]
    for message in dict.fromkeys(messages):
        yield f"  warning: {message}"


def _open(
    url: str, storage_options: Mapping[str, Any] | None, group: str | None
) -> tuple[dict[str, xr.Dataset], list[RecordingSource]]:
    """Open the images at a URL.

    Returns
    -------
    tuple
        Datasets by path, and the objects with a record of the requests that opening made.
    """
    options = OpenOptions(group=group)

    def opened(
        sources: Iterable[ByteSource], *, is_one_object: bool
    ) -> tuple[dict[str, xr.Dataset], list[RecordingSource]]:
        recorded = [RecordingSource(source) for source in sources]
        return open_images(recorded[0] if is_one_object else recorded, options), recorded

    sources = run(expand(url, storage_options, skip=(SUFFIX,)))
    try:
        return opened(sources, is_one_object=len(sources) == 1)
    except (FileNotFoundError, IsADirectoryError):
        if len(sources) > 1:
            raise
        # As for the engine, a URL that is no object may be a prefix.
        return opened(run(list_folder(sources[0], skip=(SUFFIX,))), is_one_object=False)


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
    texts = []
    for dim in ("z", "y", "x"):
        if array.sizes.get(dim, 0) < 2 or dim not in array.coords:
            continue
        # One axis at a time, so that an uneven one does not hide the spacing of the others.
        line = array.isel(dict.fromkeys(set(array.dims) - {dim}, 0))
        try:
            texts.append(f"{dim} {line.dicom.spacing[dim]:g} mm")
        except DicomError as error:
            texts.append(str(error))
    return ", ".join(texts) or "not known"


def _frames(image: Image) -> str:
    rows, columns = image.handle.array.frames.tile
    total = sum(frames.n_frames for frames in image.sources)
    return f"{total:,} of {rows:,} × {columns:,}"


def _offset_table(frames: FrameSource) -> str:
    if not isinstance(frames, IndexedFrames | ScannedFrames):
        return "none: frames come by number"
    if isinstance(frames.source, InflatedSource):
        return "none: deflated as a whole"
    if not frames.has_offsets:
        return "none: scanned at first read"
    offsets = run(frames.frame_offsets())
    return offsets.table if isinstance(offsets, ExactOffsets) else OFFSET_TABLES[type(offsets)]


def _of_each(describe_frames: Callable[[FrameSource], str]) -> Callable[[Image], str]:
    """Return a function that lists the distinct descriptions of an image's frame sources."""
    return lambda image: "; ".join(dict.fromkeys(map(describe_frames, image.sources)))


#: Properties of an image in the order in which they are shown; None is left out.
PROPERTIES: tuple[tuple[str, Callable[[Image], str | None]], ...] = (
    ("kind", _kind),
    ("variable", lambda image: str(image.array.name)),
    ("dimensions", _dimensions),
    ("type", lambda image: str(image.array.dtype)),
    ("spacing", _spacing),
    ("coordinates", lambda image: image.array.attrs.get("coordinate_system")),
    ("transfer syntax", _of_each(lambda frames: UID(frames.format.transfer_syntax).name)),
    ("photometric", _of_each(lambda frames: frames.format.photometric)),
    ("frames", _frames),
    ("offset table", _of_each(_offset_table)),
)


def _properties(image: Image) -> Iterator[tuple[str, str]]:
    for name, describe_image in PROPERTIES:
        text = describe_image(image)
        if text is not None:
            yield name, text
    for position, segment in enumerate(image.handle.segments):
        yield "" if position else "segments", f"{segment.number} {segment.label}"


def _columns(rows: Iterable[tuple[str, str]], *, indent: int) -> Iterator[str]:
    for name, text in rows:
        yield f"{'':{indent}}{name:<18}{text}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
