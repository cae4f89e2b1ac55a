"""Read an object's header by ranged requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.parsing.deflate import inflate
from xarray_dicom.parsing.elements import FunctionalGroups, Header, Path
from xarray_dicom.parsing.encoding import EXPLICIT_LITTLE, Encoding, tag_name
from xarray_dicom.parsing.outline import PER_FRAME_GROUPS, Extent, Outline
from xarray_dicom.parsing.walk import NOTHING, Wanted
from xarray_dicom.runtime import in_thread
from xarray_dicom.storage.source import ByteSource
from xarray_dicom.warn import warn

#: Bytes of the first request: most headers whole, and not much of the pixels.
FIRST = 256 * 2**10

#: Each further request of unknown need reads this many times what is there already.
_GROWTH = 4

#: Large pieces are fetched as concurrent requests of this size.
BLOCK = 4 * 2**20

#: `Header.head` leaves out functional groups of more bytes than this, and what follows.
_LARGE_GROUPS = 2**20

#: Per-frame elements to note, with their VRs, given the elements before them.
ChoosePaths = Callable[[Dataset], Mapping[Path, str]]


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
        Given what precedes the Per-Frame Functional Groups, tells which of their elements
        `read_columns` will be asked for: where they must be walked to find their end, once is
        enough then.

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
    return await _read(source, first, False, paths)


async def complete_header(source: ByteSource, *, first: int = FIRST) -> Dataset:
    """Read the file meta information and the data set without pixel data.

    Unlike `Header.dataset` it has the Per-Frame Functional Groups Sequence.
    """
    return (await _read(source, first, True, None)).dataset


async def _read(source: ByteSource, first: int, whole: bool, paths: ChoosePaths | None) -> Header:
    head = await source.open(first)
    content = head.content
    outline = Outline(source.location, head.fingerprint.size)
    if paths is not None:
        outline.choose = partial(_wanted, outline, paths)
    while not await _extend(outline, content):
        content = await _grow(source, content, outline)
    inflated = None
    meta = content[outline.meta_start : outline.start]
    preamble = content[:128] if outline.meta_start else None
    if outline.deflated:
        warn(
            f"{source.location}: the data set is deflated as a whole, so it was read and inflated "
            "in full; there is no random access to its frames"
        )
        content = await _fetch(source, content, outline.size)
        stream = content[outline.start :]
        inflated = await in_thread(inflate, stream, source.location)
        outline.begin_inflated(inflated)
    file_meta = _parse_meta(meta, source.location)
    dataset, groups = _parse(inflated or content, outline, whole, source.location)
    complete = FileDataset(
        "",
        dataset,
        preamble,
        file_meta,
        outline.encoding.implicit_vr,
        outline.encoding.little_endian,
    )
    outline.choose = None
    if groups is not None and groups.nbytes > _LARGE_GROUPS:
        content = content[: head.fingerprint.size if inflated else len(head.content)]
    return Header(
        dataset=complete,
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


def _wanted(outline: Outline, paths: ChoosePaths, content: bytes) -> Wanted:
    """What to note in functional groups, judged by the elements before them."""
    try:
        dataset, _ = _parse(content, outline, False, outline.location)
        return Wanted(paths(dataset))
    except Exception:
        # What is damaged is reported by whoever needs it.
        return NOTHING


async def _grow(source: ByteSource, content: bytes, outline: Outline) -> bytes:
    """Fetch what is known to be needed, and a multiple of what is there if that is unknown."""
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


def _parse_meta(content: bytes, location: str) -> FileMetaDataset:
    try:
        return FileMetaDataset(_decode(content, EXPLICIT_LITTLE))
    except Exception as error:
        raise CorruptDicomError(
            f"{location}: the file meta information can't be parsed: {error}"
        ) from error


def _parse(
    content: bytes, outline: Outline, whole: bool, location: str
) -> tuple[Dataset, FunctionalGroups | None]:
    encoding = outline.encoding
    groups = None
    pieces = []
    view = memoryview(content)
    for extent in outline.elements:
        header = extent.header
        if header.tag == PER_FRAME_GROUPS and not whole:
            undefined = header.length is None
            groups = FunctionalGroups(
                content,
                encoding.implicit_vr,
                encoding.little_endian,
                undefined,
                header.value,
                extent.end,
                outline.groups if undefined else None,
            )
            continue
        pieces += _lazily_parsed(view, extent, encoding)
    try:
        return _decode(b"".join(pieces), encoding), groups
    except Exception as error:
        last = outline.elements[-1].header.tag if outline.elements else 0
        raise CorruptDicomError(
            f"{location}: the data set up to {tag_name(last)} can't be parsed: {error}"
        ) from error


def _lazily_parsed(
    content: memoryview, extent: Extent, encoding: Encoding
) -> list[bytes | memoryview]:
    """The bytes of an element; a sequence of undefined length gets a length.

    pydicom parses sequences of known length only when they are asked for.
    """
    header, end = extent.header, extent.end
    length = end - 8 - header.value
    if header.vr != b"SQ" or header.length is not None:
        return [content[header.start : end]]
    start = content[header.start : header.value - 4]
    return [start, encoding.long.pack(length), content[header.value : end - 8]]


def _decode(content: bytes, encoding: Encoding) -> Dataset:
    return read_dataset(BytesIO(content), encoding.implicit_vr, encoding.little_endian)
