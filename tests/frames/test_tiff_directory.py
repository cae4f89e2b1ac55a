"""Frame offsets from the directory of files that are TIFF as well as DICOM."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from support.encoded_objects import image, opened, part10, wait
from support.generate.dual import Page, dual_file, tiles
from support.generate.slide import slide
from xarray_dicom.errors import DicomWarning
from xarray_dicom.frames.framing import unwrap
from xarray_dicom.frames.offsets import ExactOffsets, FrameOffsets, find_offsets
from xarray_dicom.frames.scan import Scan
from xarray_dicom.parsing.header import read_header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.storage import RecordingSource

FORMAT = PixelFormat(JPEGBaseline8Bit, 4, 5, 1, 8, 8, 0, "MONOCHROME2")
KINDS = [(False, "<"), (False, ">"), (True, "<"), (True, ">")]


def jpegs(n: int, size: int = 40) -> list[bytes]:
    """Like JPEG from outside, of odd and even lengths."""
    rng = np.random.default_rng(n)
    return [b"\xff\xd8\xff" + rng.bytes(size + k % 7) + b"\xff\xd9" for k in range(n)]


def encapsulated(frames: list[bytes], fragments: int = 1) -> bytes:
    dataset = image(frames=len(frames))
    dataset.PixelData = encapsulate(frames, fragments, has_bot=False)
    dataset["PixelData"].VR = "OB"
    return part10(dataset, JPEGBaseline8Bit)


def located(
    content: bytes, n_frames: int, first: int = 2**18
) -> tuple[FrameOffsets | None, RecordingSource]:
    source = RecordingSource(opened(content))
    header = wait(read_header(source, first=first))
    source.clear()
    return wait(find_offsets(source, header, n_frames, FORMAT)), source


def scanned(content: bytes, n_frames: int) -> FrameOffsets:
    source = opened(content)
    return wait(Scan(source, wait(read_header(source)), n_frames, FORMAT).finish())


def read_frames(offsets: FrameOffsets, content: bytes) -> list[bytes]:
    spans = offsets.byte_ranges(np.arange(offsets.n_frames))
    pairs = zip(spans.offset.tolist(), spans.length.tolist(), strict=True)
    return [bytes(unwrap(offsets.framing, content[start : start + size])) for start, size in pairs]


@pytest.mark.parametrize(("big", "byte_order"), KINDS)
@pytest.mark.parametrize("n_frames", [2, 3, 150])
@pytest.mark.parametrize("first", [2**18, 1])
def test_every_kind_of_directory(big: bool, byte_order: str, n_frames: int, first: int) -> None:
    frames = jpegs(n_frames)
    content = dual_file(encapsulated(frames), big=big, byte_order=byte_order)
    offsets, _ = located(content, n_frames, first)
    assert isinstance(offsets, ExactOffsets)
    assert offsets.table == "TIFF directory"
    copy = pickle.loads(pickle.dumps(offsets))
    assert copy.table == "TIFF directory"
    assert read_frames(offsets, content) == read_frames(copy, content) == frames
    padded = read_frames(scanned(content, n_frames), content)
    assert padded == [frame + b"\0" * (len(frame) % 2) for frame in frames]


@pytest.mark.parametrize("types", [(4, 3), (4, 16), (16, 4)])
@pytest.mark.parametrize("n_frames", [2, 9])
def test_types_of_numbers(types: tuple[int, int], n_frames: int) -> None:
    frames = jpegs(n_frames)
    content = encapsulated(frames)
    for big, byte_order in KINDS:
        page = replace(tiles(content), types=types)
        both = dual_file(content, [page], big=big, byte_order=byte_order)
        offsets, _ = located(both, n_frames)
        assert offsets is not None
        assert read_frames(offsets, both) == frames


@pytest.mark.parametrize(("big", "byte_order"), KINDS)
def test_tifffile_sees_the_same_tiles(big: bool, byte_order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    n_frames = 12
    content = encapsulated(jpegs(n_frames))
    page = tiles(content)
    page.extra = [(256, 4, 4 * 16), (257, 4, 3 * 16), (322, 4, 16), (323, 4, 16), (259, 3, 7)]
    both = dual_file(content, [page], big=big, byte_order=byte_order)
    with tifffile.TiffFile(io.BytesIO(both)) as tiff:
        wanted = tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts
    offsets, _ = located(both, n_frames)
    assert offsets is not None
    spans = offsets.byte_ranges(np.arange(n_frames))
    assert (tuple(spans.offset.tolist()), tuple(spans.length.tolist())) == wanted


def test_one_more_request_and_few_bytes() -> None:
    content = dual_file(encapsulated(jpegs(2000, 12_000)), big=True)
    offsets, source = located(content, 2000, first=2**16)
    assert isinstance(offsets, ExactOffsets)
    # Directory, columns and the last item come with one request; `located` read the header.
    assert len(source.requests) == 1
    assert source.bytes_read < len(content) / 100


def test_columns_far_from_the_directory_cost_a_request_more() -> None:
    content = dual_file(encapsulated(jpegs(20_000, 700)), big=True)
    offsets, source = located(content, 20_000, first=2**16)
    assert isinstance(offsets, ExactOffsets)
    assert len(source.requests) <= 4
    assert source.bytes_read < len(content) / 20


def test_no_bytes_are_fetched_twice_of_a_small_object() -> None:
    content = dual_file(encapsulated(jpegs(20)))
    offsets, source = located(content, 20)
    assert isinstance(offsets, ExactOffsets)
    assert source.requests == []


def test_the_page_with_as_many_tiles_as_frames_counts() -> None:
    frames = jpegs(9)
    content = encapsulated(frames)
    page = tiles(content)
    other = Page(page.offsets[:4], page.counts[:4])
    both = dual_file(content, [other, page])
    # The first directory has to lead to the second, which `dual_file` links.
    offsets, _ = located(both, 9)
    assert offsets is not None
    assert read_frames(offsets, both) == frames


def test_files_that_are_no_tiff_have_no_directory() -> None:
    content = encapsulated(jpegs(9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert located(content, 9)[0] is None


def test_fragmented_frames_are_no_tiles() -> None:
    frames = [frame[: len(frame) // 2 * 2] for frame in jpegs(6)]
    content = encapsulated(frames, 2)
    page = tiles(content)
    halves = Page(
        page.offsets[::2],
        [a + 8 + b for a, b in zip(page.counts[::2], page.counts[1::2], strict=True)],
    )
    with pytest.warns(DicomWarning, match="TIFF directory is not used: the item at byte"):
        assert located(dual_file(content, [halves]), 6)[0] is None


@functools.cache
def plain_slide() -> bytes:
    buffer = io.BytesIO()
    slide(buffer, shape=(300, 400), tile=128, offset_table="none")
    return buffer.getvalue()


def patched(content: bytes, position: int, replacement: bytes) -> bytes:
    return content[:position] + replacement + content[position + len(replacement) :]


def with_page(change: Callable[[Page], None]) -> bytes:
    page = tiles(plain_slide())
    change(page)
    return dual_file(plain_slide(), [page])


def directory_at(content: bytes) -> int:
    return int(struct.unpack_from("<L", content, 4)[0])


def shift(page: Page) -> None:
    page.offsets = [offset + 2 for offset in page.offsets]


def circle() -> bytes:
    few = Page([200], [10])
    return dual_file(plain_slide(), [few], last=directory_at(dual_file(plain_slide(), [few])))


def truncated_directory() -> bytes:
    whole = dual_file(plain_slide())
    return whole[: directory_at(whole) + 20]


def many_pages() -> bytes:
    return dual_file(plain_slide(), [*[Page([200], [10])] * 8, tiles(plain_slide())])


DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "far tile": (
        lambda: with_page(lambda page: page.offsets.__setitem__(5, 2**32 - 5)),
        "behind the pixel data",
    ),
    "far last tile": (
        lambda: with_page(lambda page: page.counts.__setitem__(-1, page.counts[-1] + 10**4)),
        "behind the pixel data|do not end|not the",
    ),
    "early tile": (
        lambda: with_page(lambda page: page.offsets.__setitem__(0, 3)),
        "not in the item",
    ),
    "one tile too few": (
        lambda: with_page(lambda page: (page.offsets.pop(), page.counts.pop())),
        "none of its 1 pages",
    ),
    "one count too few": (lambda: with_page(lambda page: page.counts.pop()), "none of its"),
    "huge counts": (
        lambda: with_page(lambda page: setattr(page, "stated", (2**32 - 1, 2**32 - 1))),
        "none of its",
    ),
    "empty tile": (
        lambda: with_page(lambda page: page.counts.__setitem__(3, 0)),
        "tile 4 is empty",
    ),
    "overlap": (
        lambda: with_page(lambda page: page.counts.__setitem__(3, page.counts[3] + 60)),
        "tile 5 is not in the item",
    ),
    "order": (lambda: with_page(lambda page: page.offsets.reverse()), "not in the item"),
    "shifted": (lambda: with_page(shift), "the first item starts"),
    "field type": (
        lambda: patched(
            whole := dual_file(plain_slide()), directory_at(whole) + 4, struct.pack("<H", 12)
        ),
        "of type 12",
    ),
    "columns behind the end": (
        lambda: patched(
            whole := dual_file(plain_slide()), directory_at(whole) + 10, b"\xf0\xff\xff\xff"
        ),
        "lie behind the object's end",
    ),
    "no directory": (
        lambda: patched(dual_file(plain_slide()), 4, bytes(4)),
        "none of its 0 pages",
    ),
    "directory behind the end": (
        lambda: patched(dual_file(plain_slide()), 4, b"\xff\xff\xff\xff"),
        "behind the object's end",
    ),
    "truncated directory": (truncated_directory, "cut short"),
    "too many entries": (
        lambda: patched(whole := dual_file(plain_slide()), directory_at(whole), b"\xff\xff"),
        "cut short",
    ),
    "circle": (circle, "none of its 1 pages"),
    "too many pages": (many_pages, "none of its 8 pages"),
    "huge BigTIFF": (
        lambda: patched(dual_file(plain_slide(), big=True), 8, b"\xff" * 8),
        "behind the object's end",
    ),
}


@pytest.mark.parametrize(("make", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_directories_are_passed_over(
    tmp_path: Path, make: Callable[[], bytes], reason: str
) -> None:
    path = tmp_path / "dual.dcm"
    path.write_bytes(plain_slide())
    with xr.open_dataset(path, engine="dicom") as plain:
        wanted = plain.image.values
    path.write_bytes(make())
    with (
        pytest.warns(DicomWarning, match=f"TIFF directory is not used: .*({reason})"),
        xr.open_dataset(path, engine="dicom") as found,
    ):
        np.testing.assert_array_equal(found.image.values, wanted)


def test_a_whole_directory_gives_the_same_pixels(tmp_path: Path) -> None:
    path, dual = tmp_path / "plain.dcm", tmp_path / "dual.dcm"
    path.write_bytes(plain_slide())
    dual.write_bytes(dual_file(plain_slide()))
    with xr.open_dataset(path, engine="dicom") as one, xr.open_dataset(dual, engine="dicom") as two:
        xr.testing.assert_equal(one.image, two.image)


@pytest.mark.parametrize("frame", [0, 4, 8])
@pytest.mark.parametrize(("at", "reason"), [(-8, "no item starts|first item"), (-4, "not the")])
def test_items_that_are_not_there(frame: int, at: int, reason: str) -> None:
    content = encapsulated(jpegs(9))
    both = dual_file(content)
    wrong = patched(both, tiles(content).offsets[frame] + at, b"\x11\x22")
    with pytest.warns(DicomWarning, match=f"TIFF directory is not used: .*({reason})"):
        assert located(wrong, 9)[0] is None


def test_more_items_than_tiles() -> None:
    """As many tiles as the header has frames, but the pixel data goes on."""
    content = encapsulated(jpegs(9))
    page = tiles(content)
    few = dual_file(content, [Page(page.offsets[:8], page.counts[:8])])
    with pytest.warns(DicomWarning, match="TIFF directory is not used: the items do not end"):
        assert located(few, 8)[0] is None


_CONTENT = encapsulated(jpegs(5))
_DUAL = {kind: dual_file(_CONTENT, big=kind[0], byte_order=kind[1]) for kind in KINDS}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 300), st.integers(1, 255), st.booleans())
def test_damage_never_leads_to_other_frames(
    kind: tuple[bool, str], place: int, change: int, in_preamble: bool
) -> None:
    both = _DUAL[kind]
    position = place % 16 if in_preamble else len(_CONTENT) + place % (len(both) - len(_CONTENT))
    broken = patched(both, position, bytes([both[position] ^ change]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DicomWarning)
        offsets, _ = located(broken, 5)
    if offsets is not None:
        found = read_frames(offsets, broken)
        # What a count may leave out is the byte that makes an item's length even.
        assert [frame.removesuffix(b"\0") for frame in found] == jpegs(5)
