"""Header of an object, read by ranged requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from xarray_dicom.errors import CorruptDicomError, located
from xarray_dicom.parsing.deflate import inflate
from xarray_dicom.parsing.encoding import TagPath, tag_name
from xarray_dicom.parsing.functional_groups import FunctionalGroups
from xarray_dicom.parsing.outline import PER_FRAME_GROUPS, Outline, PixelElement
from xarray_dicom.parsing.raw_dataset import file_meta, raw_dataset
from xarray_dicom.parsing.walk import NO_ELEMENTS, TagSelection
from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.warn import warn

#: Bytes of the first request: most headers whole, and few of the pixels.
FIRST = 256 * 2**10

#: A request whose need is unknown reads this many times the bytes that are there already.
_GROWTH = 4

#: Large pieces are fetched as concurrent requests of this size.
BLOCK = 4 * 2**20

#: `Header.head` leaves out functional groups of more bytes than this, and what follows.
_LARGE_GROUPS = 2**20

#: Paths of per-frame elements with their VRs, given the elements before them.
ChoosePaths = Callable[[Dataset], Mapping[TagPath, str]]


@dataclass(frozen=True, slots=True)
class Header:
    """Everything before the pixel data.

    Attributes
    ----------
    dataset
        File meta and data set, without pixel data and without (5200,9230).
    transfer_syntax
        UID; the one that the bytes obey, where the file meta information states another.
    per_frame
        The undecoded Per-Frame Functional Groups Sequence, or None.
    pixel
        Place of the pixels, or None for an object without.
    head
        The first bytes of the object, as far as they were fetched: an offset table just
        behind the header often is among them.
    inflated
        The whole inflated data set of a deflated object, else None.
    """

    dataset: Dataset
    transfer_syntax: str
    per_frame: FunctionalGroups | None
    pixel: PixelElement | None
    head: bytes = field(repr=False)
    inflated: bytes | None = field(default=None, repr=False)


async def read_header(
    source: ByteSource, *, first: int = FIRST, paths: ChoosePaths | None = None
) -> Header:
    """Read everything before the pixel data.

    Parameters
    ----------
    source
        The object; it is opened here.
    first
        Bytes to fetch with the first request.
    paths
        Given the elements before the Per-Frame Functional Groups, returns paths of the
        elements in these that `read_columns` will be asked for: where the groups must be
        walked to find their end, one walk is enough then.

    Raises
    ------
    NotDicomError
        If the object is something else.
    CorruptDicomError
        If the header is cut short or damaged; names the element.
    UnsupportedDicomError
        If it is larger than this package reads.

    Warns
    -----
    DicomWarning
        If the data set is deflated, so that all of it had to be read, or if it obeys
        another transfer syntax than stated.
    """
    with located(source.location):
        return await _read(source, first, False, paths)


async def complete_header(source: ByteSource, *, first: int = FIRST) -> Dataset:
    """Read the file meta information and the data set without pixel data.

    Unlike `Header.dataset` it has the Per-Frame Functional Groups Sequence.

    Parameters
    ----------
    source
        The object; it is opened here.
    first
        Bytes to fetch with the first request.

    Raises
    ------
    NotDicomError, CorruptDicomError, UnsupportedDicomError
        As `read_header`.
    """
    with located(source.location):
        return (await _read(source, first, True, None)).dataset


async def _read(source: ByteSource, first: int, whole: bool, paths: ChoosePaths | None) -> Header:
    head = await source.open(first)
    content = head.content
    outline = Outline(head.fingerprint.size)
    if paths is not None:
        outline.select = partial(_select, outline, paths)
    while not await _extend(outline, content):
        content = await _grow(source, content, outline)
    outline.select = None
    preamble = content[:128] if outline.meta_start else None
    meta = _file_meta(content, outline)
    inflated = None
    if outline.deflated:
        warn(
            "the data set is deflated as a whole, so it was read and inflated in full; there is "
            "no random access to its frames"
        )
        content = await _fetch(source, content, outline.size)
        inflated = await in_thread(inflate, content[outline.start :])
        outline.begin_inflated(inflated)
    data = content if inflated is None else inflated
    groups = None if whole else _functional_groups(data, outline)
    if groups is not None and groups.nbytes > _LARGE_GROUPS:
        content = content[: head.fingerprint.size if inflated else len(head.content)]
    return Header(
        dataset=_dataset(data, outline, whole, preamble, meta),
        transfer_syntax=outline.transfer_syntax,
        per_frame=groups,
        pixel=outline.pixel,
        head=content,
        inflated=inflated,
    )


async def _extend(outline: Outline, content: bytes) -> bool:
    """Draw more of an outline, in a thread if that may take long."""
    if len(content) < _LARGE_GROUPS:
        return outline.extend(content)
    return await in_thread(outline.extend, content)


def _select(outline: Outline, paths: ChoosePaths, content: bytes) -> TagSelection:
    """Select elements of functional groups, given the elements before these."""
    try:
        return TagSelection(paths(_dataset(content, outline, False)))
    except Exception:
        # Damaged elements are reported by the code that needs them.
        return NO_ELEMENTS


async def _grow(source: ByteSource, content: bytes, outline: Outline) -> bytes:
    """Fetch the bytes that the outline needs, or a multiple of those there if it can't tell."""
    needed = outline.needed
    if needed <= len(content) + 16:
        needed = len(content) * _GROWTH
    return await _fetch(source, content, min(outline.size, max(needed + 2**14, 2**16)))


async def _fetch(source: ByteSource, content: bytes, end: int) -> bytes:
    start = len(content)
    ranges = [(at, min(BLOCK, end - at)) for at in range(start, end, BLOCK)]
    if not ranges:
        return content
    return b"".join([content, *await source.read_many(ranges)])


def _file_meta(content: bytes, outline: Outline) -> FileMetaDataset:
    try:
        return file_meta(content, outline.meta)
    except Exception as error:
        raise CorruptDicomError(f"the file meta information can't be parsed: {error}") from error


def _dataset(
    content: bytes,
    outline: Outline,
    whole: bool,
    preamble: bytes | None = None,
    meta: FileMetaDataset | None = None,
) -> FileDataset:
    """Return the data set in `content`, with its functional groups if it is to be `whole`."""
    extents = outline.elements
    if not whole:
        extents = [extent for extent in extents if extent.tag != PER_FRAME_GROUPS]
    try:
        return raw_dataset(content, extents, outline.encoding, preamble, meta)
    except Exception as error:
        last = outline.elements[-1].tag if outline.elements else 0
        raise CorruptDicomError(
            f"the data set up to {tag_name(last)} can't be parsed: {error}", tag=last
        ) from error


def _functional_groups(content: bytes, outline: Outline) -> FunctionalGroups | None:
    groups = [extent for extent in outline.elements if extent.tag == PER_FRAME_GROUPS]
    if not groups:
        return None
    extent = groups[-1]
    return FunctionalGroups(
        content,
        outline.encoding.implicit_vr,
        outline.encoding.little_endian,
        extent.delimited,
        extent.value,
        extent.end,
        outline.groups if extent.delimited else None,
    )
