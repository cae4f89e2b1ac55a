"""Frame offsets: every rung of the ladder, and what each refuses."""

from __future__ import annotations

import importlib
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from support.encoded_objects import image, opened, part10, wait
from xarray_dicom.errors import CorruptDicomError, DicomWarning
from xarray_dicom.frames.framing import unwrap
from xarray_dicom.frames.offsets import (
    ExactOffsets,
    FrameOffsets,
    ItemOffsets,
    NativeOffsets,
    SingleFrame,
    find_offsets,
)
from xarray_dicom.frames.scan import Scan
from xarray_dicom.parsing.elements import Header
from xarray_dicom.parsing.header import read_header
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.storage import RecordingSource

scan_module = importlib.import_module("xarray_dicom.frames.scan")

ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def pixel_format(syntax: str, rows: int = 4, columns: int = 5, bits: int = 16) -> PixelFormat:
    return PixelFormat(syntax, rows, columns, 1, bits, bits, 0, "MONOCHROME2")


def item(payload: bytes) -> bytes:
    return ITEM + struct.pack("<L", len(payload)) + payload


def codestreams(n: int, marker: bytes = b"\xff\xd8\xff") -> list[bytes]:
    """Different, of even and different lengths, as encapsulation wants them."""
    return [marker + bytes([7 * k % 251]) * (2 * k + 7 - len(marker) % 2 - 1) for k in range(n)]


def wrapped(frames: list[bytes], fragments: int = 1, *, has_bot: bool = True) -> bytes:
    """The value of encapsulated pixel data, with its delimiter."""
    value: bytes = encapsulate(frames, fragments, has_bot=has_bot)
    return value + DELIMITER


def even(frames: list[bytes]) -> list[bytes]:
    return [frame + b"\0" * (len(frame) % 2) for frame in frames]


def encapsulated(
    value: bytes, n_frames: int, syntax: str = JPEGBaseline8Bit, **extra: bytes
) -> bytes:
    """An object whose pixel data has exactly these bytes as its value."""
    dataset = image(frames=n_frames)
    del dataset.PixelData
    for keyword, content in extra.items():
        setattr(dataset, keyword, content)
    return part10(dataset, syntax) + bytes.fromhex("e07f1000") + b"OB\0\0\xff\xff\xff\xff" + value


def located(
    content: bytes, n_frames: int, syntax: str = JPEGBaseline8Bit, first: int = 2**18
) -> tuple[FrameOffsets | None, Header, RecordingSource]:
    source = RecordingSource(opened(content))
    header = wait(read_header(source, first=first))
    source.clear()
    found = wait(find_offsets(source, header, n_frames, pixel_format(syntax)))
    return found, header, source


def scanned(content: bytes, n_frames: int, syntax: str = JPEGBaseline8Bit) -> ItemOffsets:
    source = opened(content)
    header = wait(read_header(source))
    return wait(Scan(source, header, n_frames, pixel_format(syntax)).finish())


def frame_bytes(offsets: FrameOffsets, content: bytes, frame: int) -> bytes:
    spans = offsets.byte_ranges(np.array([frame]))
    start, length = int(spans.offset[0]), int(spans.length[0])
    return bytes(unwrap(offsets.framing, content[start : start + length]))


def assert_frames(offsets: FrameOffsets | None, content: bytes, frames: list[bytes]) -> None:
    assert offsets is not None
    assert offsets.n_frames == len(frames)
    for copy in (offsets, pickle.loads(pickle.dumps(offsets))):
        assert [frame_bytes(copy, content, n) for n in range(len(frames))] == frames


@pytest.mark.parametrize("first", [2**18, 1])
def test_basic_offset_table(first: int) -> None:
    frames = even(codestreams(9))
    content = encapsulated(wrapped(frames), 9)
    offsets, header, source = located(content, 9, first=first)
    assert isinstance(offsets, ItemOffsets)
    assert_frames(offsets, content, frames)
    assert len(source.requests) <= 1
    if len(header.head) == len(content):
        assert source.requests == []


def test_fragmented_frames_in_a_basic_offset_table() -> None:
    frames = even(codestreams(5))
    content = encapsulated(wrapped(frames, 2), 5)
    offsets, *_ = located(content, 5)
    assert_frames(offsets, content, frames)


def test_extended_offset_table() -> None:
    frames = codestreams(9)
    value, table, lengths = encapsulate_extended(frames)
    value += DELIMITER
    content = encapsulated(value, 9, ExtendedOffsetTable=table, ExtendedOffsetTableLengths=lengths)
    offsets, *_ = located(content, 9)
    assert isinstance(offsets, ExactOffsets)
    assert_frames(offsets, content, frames)


BREAKAGES: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "order": lambda table, lengths: table.__setitem__(slice(None), table[::-1].copy()),
    "overlap": lambda table, lengths: lengths.__setitem__(2, 10**6),
    "far": lambda table, lengths: table.__setitem__(8, 2**63 + 5),
    "empty": lambda table, lengths: lengths.__setitem__(3, 0),
    "last": lambda table, lengths: lengths.__setitem__(8, lengths[8] + 100),
    "shifted": lambda table, lengths: table.__setitem__(slice(None), table + 2),
}


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_broken_extended_table_is_passed_over(
    breakage: Callable[[np.ndarray, np.ndarray], None],
) -> None:
    frames = even(codestreams(9))
    value, table, lengths = encapsulate_extended(frames)
    value += DELIMITER
    tables = [np.frombuffer(column, "<u8").copy() for column in (table, lengths)]
    breakage(*tables)
    content = encapsulated(
        value,
        9,
        ExtendedOffsetTable=tables[0].tobytes(),
        ExtendedOffsetTableLengths=tables[1].tobytes(),
    )
    with pytest.warns(DicomWarning, match="Extended Offset Table is not used"):
        offsets, *_ = located(content, 9)
    assert offsets is None
    assert_frames(scanned(content, 9), content, frames)


def test_extended_table_of_another_length_is_passed_over() -> None:
    value, table, lengths = encapsulate_extended(codestreams(9))
    content = encapsulated(value, 8, ExtendedOffsetTable=table, ExtendedOffsetTableLengths=lengths)
    with pytest.warns(DicomWarning, match="9 offsets and 9 lengths for 8 frames"):
        assert located(content, 8)[0] is None


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ((0, 40, 20), "ascend"),
        ((8, 20, 40), "not 0"),
        ((0, 20), "2 offsets for 3 frames"),
        ((0, 20, 10**6), "behind the pixel data"),
        ((0, 21, 41), "no item starts"),
    ],
)
def test_broken_basic_table_is_passed_over(table: tuple[int, ...], reason: str) -> None:
    frames = even(codestreams(3))
    value = item(struct.pack(f"<{len(table)}L", *table)) + b"".join(map(item, frames)) + DELIMITER
    content = encapsulated(value, 3)
    with pytest.warns(DicomWarning, match=f"Basic Offset Table is not used: .*{reason}"):
        offsets, *_ = located(content, 3)
    assert offsets is None
    assert_frames(scanned(content, 3), content, frames)


def test_single_frame_needs_no_table_and_no_request() -> None:
    stream = codestreams(20)[-1]
    fragments = [stream[:10], stream[10:]]
    value = item(b"") + b"".join(map(item, fragments)) + DELIMITER + b"what follows is ignored"
    content = encapsulated(value, 1)
    offsets, _, source = located(content, 1, first=1)
    assert isinstance(offsets, SingleFrame)
    assert source.requests == []
    assert_frames(offsets, content, [stream])


@pytest.mark.parametrize("block", [64, 100, 4096])
@pytest.mark.parametrize(("in_flight", "frames_per"), [(1, 1), (8, 1), (8, 3)])
def test_scan(monkeypatch: pytest.MonkeyPatch, block: int, in_flight: int, frames_per: int) -> None:
    monkeypatch.setattr(scan_module, "BLOCK", block)
    monkeypatch.setattr(scan_module, "BLOCKS_IN_FLIGHT", in_flight)
    for marker in (b"\xff\xd8\xff", b"\xff\x4f\xff\x51"):
        frames = even(codestreams(160, marker))[10:]
        content = encapsulated(wrapped(frames, frames_per, has_bot=False), 150)
        offsets, *_ = located(content, 150)
        assert offsets is None
        assert_frames(scanned(content, 150, JPEG2000Lossless), content, frames)


def test_scan_skips_what_lies_inside_large_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "BLOCK", 1000)
    monkeypatch.setattr(scan_module, "BLOCKS_IN_FLIGHT", 2)
    frames = [b"\xff\xd8\xff\xe0" + bytes(50000) for _ in range(10)]
    source = RecordingSource(opened(encapsulated(wrapped(frames, has_bot=False), 10)))
    header = replace(wait(read_header(source)), head=b"")
    source.clear()
    offsets = wait(Scan(source, header, 10, pixel_format(JPEGBaseline8Bit)).finish())
    assert offsets.edges.size == 11
    assert source.bytes_read < 100_000


def test_fragments_without_markers_cannot_be_assigned() -> None:
    frames = even(codestreams(4, b"\x01\0\0\0"))
    content = encapsulated(wrapped(frames, 2, has_bot=False), 4, RLELossless)
    with pytest.raises(CorruptDicomError, match="8 fragments hold 4 frames"):
        scanned(content, 4, RLELossless)


def test_one_fragment_per_frame_needs_no_marker() -> None:
    frames = even(codestreams(4, b"\x01\0\0\0"))
    content = encapsulated(wrapped(frames, has_bot=False), 4, RLELossless)
    assert_frames(scanned(content, 4, RLELossless), content, frames)


def test_uncounted_padding_bytes() -> None:
    """Odd lengths, with a padding byte that is not counted."""
    frames = [b"\xff\xd8\xff" + bytes([k]) * (2 * k) for k in range(1, 6)]
    value = item(b"") + b"".join(item(frame) + b"\0" for frame in frames) + DELIMITER
    content = encapsulated(value, 5)
    assert_frames(scanned(content, 5), content, frames)


def test_empty_fragments_count_for_nothing() -> None:
    frames = even(codestreams(3))
    value = item(b"") + b"".join(item(frame) + item(b"") for frame in frames) + DELIMITER
    content = encapsulated(value, 3)
    assert_frames(scanned(content, 3), content, frames)


def test_truncated_last_frame_raises_when_read() -> None:
    frames = even(codestreams(9))
    whole = encapsulated(wrapped(frames, has_bot=False), 9)
    content = whole[:-20]
    with pytest.warns(DicomWarning, match="ends at byte .* before its delimiter"):
        offsets = scanned(content, 9)
    assert [frame_bytes(offsets, content, n) for n in range(8)] == frames[:8]
    with pytest.raises(CorruptDicomError, match="frame 9: its bytes are missing"):
        offsets.byte_ranges(np.array([8]))


def test_missing_frames_raise_when_read() -> None:
    frames = even(codestreams(6))
    content = encapsulated(wrapped(frames, has_bot=False), 8)
    with pytest.warns(DicomWarning, match="only 6 of 8 frames"):
        offsets = scanned(content, 8)
    for copy in (offsets, pickle.loads(pickle.dumps(offsets))):
        assert frame_bytes(copy, content, 5) == frames[5]
        with pytest.raises(CorruptDicomError, match="frame 7: it is missing"):
            copy.byte_ranges(np.array([2, 6]))


def test_damage_between_items_loses_what_follows() -> None:
    frames = even(codestreams(6))
    value = item(b"") + b"".join(map(item, frames[:3])) + b"\xaa" * 30
    content = encapsulated(value, 6)
    with pytest.warns(DicomWarning) as caught:
        offsets = scanned(content, 6)
    assert any("is damaged at byte" in str(warning.message) for warning in caught)
    assert frame_bytes(offsets, content, 2) == frames[2]


def locate_or_scan(content: bytes, n_frames: int) -> FrameOffsets:
    found, *_ = located(content, n_frames)
    return found or scanned(content, n_frames)


@pytest.mark.parametrize(
    "value", [b"", item(b"")[:6], item(b""), item(b"") + DELIMITER, b"\0" * 64]
)
def test_no_items(value: bytes) -> None:
    content = encapsulated(value, 2)
    with pytest.raises(CorruptDicomError, match=r"item|frame"):
        locate_or_scan(content, 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 17), st.integers(1, 9), st.sampled_from([1, 8, 16, 32]))
def test_native_frames_bit_for_bit(rows: int, columns: int, n_frames: int, bits: int) -> None:
    layout = pixel_format("1.2.840.10008.1.2.1", rows, columns, bits)
    rng = np.random.default_rng(rows * columns)
    frames = rng.integers(0, 2, (n_frames, layout.frame_bits)).astype(np.uint8)
    value = np.packbits(frames.reshape(-1), bitorder="little").tobytes()
    dataset = image()
    dataset.PixelData = value + b"\0" * (len(value) % 2)
    content = part10(dataset)
    source = opened(content)
    header = wait(read_header(source))
    offsets = wait(find_offsets(source, header, n_frames, layout))
    assert isinstance(offsets, NativeOffsets)
    spans = pickle.loads(pickle.dumps(offsets)).byte_ranges(np.arange(n_frames)[::-1])
    for k, frame in enumerate(frames[::-1]):
        start, length, bit = (int(column[k]) for column in (spans.offset, spans.length, spans.bit))
        found = np.frombuffer(content[start : start + length], np.uint8)
        unpacked = np.unpackbits(found, bitorder="little")[bit : bit + layout.frame_bits]
        np.testing.assert_array_equal(unpacked, frame)


def native(content: bytes, n_frames: int, rows: int = 4, columns: int = 5) -> FrameOffsets | None:
    source = opened(content)
    header = wait(read_header(source))
    layout = pixel_format("1.2.840.10008.1.2.1", rows, columns)
    return wait(find_offsets(source, header, n_frames, layout))


@pytest.mark.parametrize(
    ("n_frames", "rows", "columns"),
    [(4, 4, 5), (2**31, 4, 5), (1, 65535, 65535), (2**31, 65535, 65535), (3, 0, 5), (0, 4, 5)],
)
def test_native_sizes_that_lie(n_frames: int, rows: int, columns: int) -> None:
    with pytest.raises(CorruptDicomError, match=r"bytes>: .*(Rows|Number of Frames)"):
        native(part10(image()), n_frames, rows, columns)


def test_truncated_native_frames_raise_when_read() -> None:
    content = part10(image())[:-1]
    with pytest.warns(DicomWarning, match="only 2 of 3 frames"):
        offsets = native(content, 3)
    assert offsets is not None
    assert frame_bytes(offsets, content, 1) == image().PixelData[40:80]
    with pytest.raises(CorruptDicomError, match="frame 3: its bytes are missing"):
        offsets.byte_ranges(np.array([0, 2]))
    with pytest.raises(IndexError):
        offsets.byte_ranges(np.array([3]))


@pytest.mark.parametrize("n_frames", [2**31, 10**6])
def test_more_frames_than_bytes(n_frames: int) -> None:
    content = encapsulated(wrapped(even(codestreams(3))), 3)
    with pytest.raises(CorruptDicomError, match="can't lie in"):
        located(content, n_frames)


def test_no_pixel_data() -> None:
    dataset = image()
    del dataset.PixelData
    with pytest.raises(CorruptDicomError, match="no pixel data"):
        native(part10(dataset), 1)


def test_a_million_frames_pickle_small() -> None:
    rng = np.random.default_rng(0)
    length = rng.normal(20000, 4000, 10**6).astype(np.int64).clip(500)
    offset = 5000 + np.append(0, np.cumsum(length + 8 + length % 2)[:-1])
    end = int(offset[-1] + length[-1])
    exact = ExactOffsets.from_lengths(offset, length, end)
    run = ItemOffsets(np.append(offset - 8, end), 10**6, end)
    assert exact.offset.nbytes + exact.length.nbytes <= 12 * 10**6
    some = rng.integers(0, 10**6, 1000)
    for offsets in (exact, run):
        packed = pickle.dumps(offsets)
        assert len(packed) < 3 * 10**6
        copy = pickle.loads(packed)
        assert pickle.dumps(copy) == packed
        for one, other in zip(
            (offsets.byte_ranges(some).offset, offsets.byte_ranges(some).length),
            (copy.byte_ranges(some).offset, copy.byte_ranges(some).length),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
