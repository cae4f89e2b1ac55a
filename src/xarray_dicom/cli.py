"""The command ``xarray-dicom``: what an object holds, told from its header."""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import xarray as xr
from pydicom.uid import UID

from xarray_dicom.dataset import HANDLE, Handle
from xarray_dicom.errors import DicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.opening import OpenOptions, open_images
from xarray_dicom.parsing.inflated import InflatedSource
from xarray_dicom.parsing.offsets import ExactOffsets, ItemOffsets, NativeOffsets, SingleFrame
from xarray_dicom.runtime import run
from xarray_dicom.storage import ByteSource, RecordingSource, display, expand, list_folder

#: What makes each kind of store ask for no credentials; all others have none to ask for.
ANONYMOUS: dict[str, dict[str, Any]] = {
    "s3": {"anon": True},
    "s3a": {"anon": True},
    "gs": {"token": "anon"},
    "gcs": {"token": "anon"},
    "az": {"anon": True},
    "abfs": {"anon": True},
    "abfss": {"anon": True},
}

OFFSET_TABLES: dict[type, str] = {
    NativeOffsets: "native",
    ItemOffsets: "basic",
    SingleFrame: "not needed: one frame",
}

#: SOP classes newer than pydicom's table of names.
NEWER_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}

_URL = re.compile(r"\w[\w+.\-]*://[^\s'\"<>]+")

#: Errors whose message says enough without their name.
TOLD = (DicomError, OSError, ValueError, ImportError)


@dataclass(frozen=True)
class Image:
    """One image of an object, as opened."""

    attrs: Mapping[Any, Any]
    array: xr.DataArray
    handle: Handle

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances that its frames lie in."""
        return self.handle.instances


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process if None.

    Returns
    -------
    int
        0, or 1 if an object could not be opened. Wrong usage exits with 2.
    """
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    failed = False
    for number, url in enumerate(arguments.urls):
        options = {**_anonymous(url, arguments.anon), **dict(arguments.storage_option)}
        try:
            lines = list(describe(url, options, arguments.group))
        except Exception as error:
            failed = True
            print(f"error: {_one_line(error)}", file=sys.stderr)
            continue
        if number:
            print()
        for line in lines:
            print(_printable(line))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xarray-dicom", description="DICOM images where they lie, in any store."
    )
    release = f"%(prog)s {version('xarray-dicom')}"
    parser.add_argument("--version", action="version", version=release)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    info = commands.add_parser(
        "info",
        help="what objects hold",
        description="Show the images that objects hold, and how they are stored, from their "
        "headers alone. Nothing that names a patient is shown.",
    )
    info.add_argument(
        "urls",
        nargs="+",
        metavar="URL",
        help="an object, a folder or prefix, or a glob pattern: s3://…, gs://…, https://…, a path",
    )
    info.add_argument("--group", metavar="NAME", help="show this image alone, for example scale2")
    info.add_argument(
        "--anon",
        action="store_true",
        help="ask for no credentials, for public buckets (S3, GCS, Azure)",
    )
    info.add_argument(
        "--storage-option",
        action="append",
        default=[],
        type=_storage_option,
        metavar="KEY=VALUE",
        help="keyword of the fsspec filesystem; VALUE is JSON, else text; may be repeated",
    )
    return parser


def _storage_option(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _anonymous(url: str, wanted: bool) -> dict[str, Any]:
    """Options for anonymous access to `url`; those of links behind the first are nested."""
    first, *rest = (link.partition("://")[0] for link in url.split("::"))
    if not wanted:
        return {}
    behind = {protocol: ANONYMOUS[protocol] for protocol in rest if protocol in ANONYMOUS}
    return {**ANONYMOUS.get(first, {}), **behind}


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

    named = run(expand(url, storage_options))
    try:
        return opened(named, alone=len(named) == 1)
    except (FileNotFoundError, IsADirectoryError):
        if len(named) > 1:
            raise
        # Like the engine: what is no object may be a prefix.
        return opened(run(list_folder(named[0])), alone=False)


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
    total = sum(instance.n_frames for instance in image.instances)
    return f"{total:,} of {rows:,} × {columns:,}"


def _offset_table(instance: Instance) -> str:
    if isinstance(instance.source, InflatedSource):
        return "none: deflated as a whole"
    if not instance.has_offsets:
        return "none: scanned at first read"
    offsets = run(instance.frame_offsets())
    return offsets.table if isinstance(offsets, ExactOffsets) else OFFSET_TABLES[type(offsets)]


def _each(tell: Callable[[Instance], str]) -> Callable[[Image], str]:
    """What `tell` says of the instances of an image, each answer once."""
    return lambda image: "; ".join(dict.fromkeys(tell(instance) for instance in image.instances))


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


def _one_line(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"
    if not text or not isinstance(error, TOLD):
        text = f"{type(error).__name__}: {text}"
    # Messages of libraries quote URLs with their queries, which may hold a signature.
    shown = _URL.sub(lambda url: display(url.group()), " ".join(text.split()))
    return _printable(shown)


def _printable(line: str) -> str:
    """`line` without control characters: labels come from files, and terminals obey them."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
