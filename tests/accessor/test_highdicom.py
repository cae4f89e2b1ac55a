"""highdicom's own object over our sources: pixels as highdicom's, in few requests."""

from __future__ import annotations

import asyncio
import csv
import functools
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import highdicom
import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
)

from support.generate.attributes import write
from support.generate.multiframe import legacy_enhanced_ct
from support.generate.segmentation import multi_organ_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide
from support.kinds import NAMES, content, kind
from support.servers import Server
from xarray_dicom.errors import (
    CorruptDicomError,
    DicomError,
    DicomWarning,
    SourceChangedError,
    UnsupportedDicomError,
)
from xarray_dicom.frames.prefetch import EncodedFrames
from xarray_dicom.runtime import run
from xarray_dicom.storage import BytesSource, RecordingSource, open_source

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "data"

TILE = 64
ONE_OBJECT = [name for name in NAMES if name != "series"]

#: Frames with no need of an ICC profile, which cine has not.
PLAIN = {"apply_icc_profile": False}


def recorded(blob: bytes) -> tuple[Any, RecordingSource]:
    """The highdicom object of `blob`, and its source with an account of that alone."""
    source = RecordingSource(open_source(blob))
    dataset = xr.open_dataset(source, engine="dicom")
    source.clear()
    return dataset.dicom.to_highdicom(), source


def reference(image: Any, blob: bytes) -> Any:
    """The object that highdicom makes itself, of the same kind."""
    own = type(image).__mro__
    kinds = (highdicom.seg.Segmentation, highdicom.pm.ParametricMap, highdicom.Image)
    return next(one for one in kinds if one in own).from_file(io.BytesIO(blob))


@pytest.fixture(scope="module")
def native_slide() -> bytes:
    """A slide whose tiles are larger than what is fetched in passing."""
    return content(lambda file: slide(file, shape=(1500, 1900), tile=TILE, codec="native"))


@pytest.fixture(scope="module")
def planes() -> list[pydicom.Dataset]:
    """A CT series that was written, so that it can be referred to."""
    planes = ct_series(None, planes=9, shape=(96, 80), spacing=(20.0, 4.0, 4.0), shuffle=False)
    for plane in planes:
        content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
    return planes


@pytest.mark.parametrize("name", ONE_OBJECT)
def test_every_frame_of_every_kind(name: str) -> None:
    blob = kind(name).objects["object.dcm"]
    image, source = recorded(blob)
    assert len(source.requests) <= 2
    expected = reference(image, blob)
    numbers = range(1, expected.number_of_frames + 1)
    raw = [image.get_raw_frame(number) for number in numbers]
    assert [len(frame) > 0 for frame in raw] == [True] * len(raw)
    for number, frame in zip(numbers, raw, strict=True):
        # The byte that makes an item's length even may be there or not.
        assert frame.rstrip(b"\0") == expected.get_raw_frame(number).rstrip(b"\0")
    np.testing.assert_array_equal(image.get_frames(**PLAIN), expected.get_frames(**PLAIN))
    if name != "parametric-map":  # highdicom takes stored frames for integers
        stored = expected.get_stored_frames()
        np.testing.assert_array_equal(image.pixel_array, stored if len(stored) > 1 else stored[0])
    assert image.encoded_frames.held == 0


def test_it_is_highdicom_s_kind_and_keeps_the_whole_header() -> None:
    for name, expected in {
        "segmentation": highdicom.seg.Segmentation,
        "labelmap": highdicom.seg.Segmentation,
        "parametric-map": highdicom.pm.ParametricMap,
        "slide-eot": highdicom.Image,
    }.items():
        blob = kind(name).objects["object.dcm"]
        image, _ = recorded(blob)
        assert isinstance(image, expected)
        whole = pydicom.dcmread(io.BytesIO(blob), stop_before_pixels=True)
        assert image.SOPInstanceUID == whole.SOPInstanceUID
        assert [e.tag for e in image] == [e.tag for e in whole]


def test_a_frame_is_one_request(native_slide: bytes) -> None:
    image, source = recorded(native_slide)
    expected = highdicom.imread(io.BytesIO(native_slide), lazy_frame_retrieval=True)
    for number in (1, 33, 720):
        source.clear()
        frame = image.get_frame(number, **PLAIN)
        assert [length for _, length in source.requests] == [TILE * TILE * 3]
        np.testing.assert_array_equal(frame, expected.get_frame(number, **PLAIN))


@pytest.mark.parametrize("table", ["eot", "bot", "none"])
def test_a_compressed_frame_is_one_request(table: str) -> None:
    blob = content(lambda file: slide(file, shape=(640, 640), tile=TILE, offset_table=table))
    image, source = recorded(blob)
    image.get_raw_frame(1)
    source.clear()
    frame = image.get_raw_frame(42)
    assert len(source.requests) == 1
    dataset = pydicom.dcmread(io.BytesIO(blob))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=100))
    assert frame == frames[41][: len(frame)]
    assert source.bytes_read <= len(frames[41]) + 16


def test_a_region_is_few_requests(native_slide: bytes) -> None:
    image, source = recorded(native_slide)
    source.clear()
    region = {"row_start": 129, "row_end": 385, "column_start": 321, "column_end": 577}
    found = image.get_total_pixel_matrix(**region, **PLAIN)
    # Four rows of four tiles: neighbours share a request, rows lie too far apart.
    assert [length for _, length in source.requests] == [4 * TILE * TILE * 3] * 4
    expected = highdicom.imread(io.BytesIO(native_slide), lazy_frame_retrieval=True)
    np.testing.assert_array_equal(found, expected.get_total_pixel_matrix(**region, **PLAIN))


@pytest.mark.parametrize("name", ["slide-eot", "slide-bot", "slide-no-table", "slide-segmentation"])
def test_total_pixel_matrices(name: str) -> None:
    blob = kind(name).objects["object.dcm"]
    image, source = recorded(blob)
    source.clear()
    options = {} if name == "slide-segmentation" else PLAIN
    found = image.get_total_pixel_matrix(row_start=10, column_end=150, **options)
    expected = reference(image, blob)
    np.testing.assert_array_equal(
        found, expected.get_total_pixel_matrix(row_start=10, column_end=150, **options)
    )
    # Without a table the items are read once; then each of ten rows of tiles is a request.
    assert len(source.requests) <= (1 if kind(name).has_table else 1 + 10)


@pytest.mark.parametrize("segmentation_type", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentations(segmentation_type: str, planes: list[pydicom.Dataset]) -> None:
    blob = content(
        lambda file: multi_organ_segmentation(
            file,
            planes,
            organs=("Liver", "Spleen", "Aorta"),
            segmentation_type=segmentation_type,
        )
    )
    image, source = recorded(blob)
    expected = highdicom.seg.segread(io.BytesIO(blob))
    uids = [plane.SOPInstanceUID for plane in planes]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_volume", {}),
        ("get_volume", {"segment_numbers": [2], "slice_start": 2, "slice_end": 6}),
        (
            "get_pixels_by_source_instance",
            {"source_sop_instance_uids": uids, "assert_missing_frames_are_empty": True},
        ),
    ]
    if segmentation_type != "FRACTIONAL":
        calls.append(("get_volume", {"combine_segments": True, "skip_overlap_checks": True}))
    for method, options in calls:
        source.clear()
        found = getattr(image, method)(**options)
        wanted = getattr(expected, method)(**options)
        if method == "get_volume":
            np.testing.assert_array_equal(found.affine, wanted.affine)
            found, wanted = found.array, wanted.array
        assert wanted.any()
        np.testing.assert_array_equal(found, wanted)
        assert len(source.requests) == 1, method


def test_an_enhanced_ct(planes: list[pydicom.Dataset]) -> None:
    blob = content(lambda file: legacy_enhanced_ct(file, planes))
    image, source = recorded(blob)
    source.clear()
    expected = highdicom.imread(io.BytesIO(blob))
    found, wanted = image.get_volume(), expected.get_volume()
    np.testing.assert_array_equal(found.array, wanted.array)
    np.testing.assert_array_equal(found.affine, wanted.affine)
    assert len(source.requests) == 1
    source.clear()
    slab = image.get_volume(slice_start=2, slice_end=5)
    np.testing.assert_array_equal(slab.array, expected.get_volume(slice_start=2, slice_end=5).array)
    assert [length for _, length in source.requests] == [3 * 96 * 80 * 2]


def test_1_bit_frames_that_start_in_mid_byte() -> None:
    planes = ct_series(None, planes=7, shape=(23, 29), spacing=(25.0, 14.0, 14.0), shuffle=False)
    for plane in planes:
        content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
    blob = content(lambda file: multi_organ_segmentation(file, planes))
    image, _ = recorded(blob)
    stored = pydicom.dcmread(io.BytesIO(blob)).pixel_array
    assert stored.any()
    np.testing.assert_array_equal(image.get_stored_frames(), stored)
    np.testing.assert_array_equal(image.get_stored_frame(4), stored[3])


def test_frames_by_number_and_by_index() -> None:
    blob = kind("slide-eot").objects["object.dcm"]
    image, source = recorded(blob)
    expected = highdicom.imread(io.BytesIO(blob))
    numbers = [7, 2, 2, 12, 7, 1]
    source.clear()
    np.testing.assert_array_equal(
        image.get_frames(iter(numbers), **PLAIN), expected.get_frames(numbers, **PLAIN)
    )
    assert len(source.requests) == len(set(source.requests)) == 2
    np.testing.assert_array_equal(
        image.get_stored_frames([0, 11], as_indices=True),
        expected.get_stored_frames([0, 11], as_indices=True),
    )
    for wrong, as_index in ((0, False), (13, False), (-1, True), (12, True)):
        with pytest.raises(IndexError, match=str(wrong)):
            image.get_raw_frame(wrong, as_index=as_index)
        with pytest.raises(IndexError, match=str(wrong)):
            image.get_frames([1, wrong], as_indices=as_index, **PLAIN)
    assert image.encoded_frames.held == 0


class SlowSource(BytesSource):
    """Bytes that take their time: counts what is in flight, and what has been handed out."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.in_flight = 0
        self.most_in_flight = 0
        self.started: list[tuple[int, int]] = []

    async def read(self, offset: int, length: int) -> bytes:
        """Wait a little, then read."""
        self.started.append((offset, length))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.01)
        self.in_flight -= 1
        return await super().read(offset, length)


def test_scattered_frames_are_fetched_at_once_in_the_order_of_use(native_slide: bytes) -> None:
    source = SlowSource(native_slide)
    image = xr.open_dataset(source, engine="dicom").dicom.to_highdicom()
    numbers = list(range(700, 0, -35))
    source.started.clear()
    found = image.get_stored_frames(numbers)
    assert 1 < source.most_in_flight <= 16
    offsets = [offset for offset, _ in source.started]
    assert offsets == sorted(offsets, reverse=True)
    expected = highdicom.imread(io.BytesIO(native_slide), lazy_frame_retrieval=True)
    np.testing.assert_array_equal(found, expected.get_stored_frames(numbers))


def test_what_is_held_stays_inside_the_budget(native_slide: bytes) -> None:
    image, source = recorded(native_slide)
    source.clear()
    budget = 40 * TILE * TILE * 3
    frames = EncodedFrames(image.encoded_frames.frames, memory_budget=budget)
    numbers = [*range(0, 720, 2), 5, 5, 5]
    most = 0
    for number in frames.ahead(numbers, int):
        most = max(most, frames.held)
        assert len(frames.read(number)) == TILE * TILE * 3
    assert budget // 4 < most <= budget + TILE * TILE * 3
    assert frames.held == 0
    # Nothing is fetched twice, and every second frame is too far from the next to share.
    assert len(source.requests) == len(set(source.requests)) == 361


class StuckSource(BytesSource):
    """Bytes that come only at offsets below a bound; all others are waited for."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.bound = len(content)
        self.waiting = 0

    async def read(self, offset: int, length: int) -> bytes:
        """Read, or wait until given up."""
        if offset >= self.bound:
            self.waiting += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.waiting -= 1
        return await super().read(offset, length)


def test_giving_up_drops_what_was_asked_for(native_slide: bytes) -> None:
    source = StuckSource(native_slide)
    image = xr.open_dataset(source, engine="dicom").dicom.to_highdicom()
    frames = image.encoded_frames
    source.bound = 100 * TILE * TILE * 3
    entries = frames.ahead(range(0, 700, 7), int)
    assert frames.read(next(entries))
    assert frames.held == 99 * TILE * TILE * 3
    entries.close()
    assert frames.held == 0
    run(asyncio.sleep(0.1))
    assert source.waiting == 0
    # It goes on frame by frame.
    source.bound = len(native_slide)
    assert frames.read(699) == native_slide[-TILE * TILE * 3 * 21 :][: TILE * TILE * 3]


def test_it_pickles_without_what_was_fetched(native_slide: bytes) -> None:
    image, _ = recorded(native_slide)
    before = len(pickle.dumps(image.encoded_frames))
    frame = image.get_frame(5, **PLAIN)
    assert len(pickle.dumps(image.encoded_frames)) == before
    again = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(again.get_frame(5, **PLAIN), frame)
    region = {"row_start": 100, "row_end": 300, "column_end": 200}
    np.testing.assert_array_equal(
        again.get_total_pixel_matrix(**region, **PLAIN),
        image.get_total_pixel_matrix(**region, **PLAIN),
    )


def test_several_objects_are_refused_with_advice() -> None:
    dataset = xr.open_dataset(kind("series").put(), engine="dicom")
    with pytest.raises(DicomError, match=r"one of 5 objects.*by its own URL"):
        dataset.dicom.to_highdicom()


def test_what_highdicom_refuses_is_told() -> None:
    plane = ct_series(None, planes=1, shape=(24, 32))[0]
    blob = content(lambda file: write(plane, file, ExplicitVRBigEndian))
    fsspec.filesystem("memory").pipe_file("/highdicom/big.dcm", blob)
    dataset = xr.open_dataset("memory://highdicom/big.dcm", engine="dicom")
    with pytest.raises(UnsupportedDicomError, match=r"memory://highdicom/big\.dcm: highdicom") as e:
        dataset.dicom.to_highdicom()
    assert "endian" in str(e.value.__cause__)


def test_a_deflated_object(planes: list[pydicom.Dataset]) -> None:
    blob = content(
        lambda file: legacy_enhanced_ct(file, planes, transfer_syntax=ExplicitVRLittleEndian)
    )
    dataset = pydicom.dcmread(io.BytesIO(blob))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated = content(lambda file: dataset.save_as(file))
    with pytest.warns(DicomWarning, match="deflated"):
        image, _ = recorded(deflated)
    expected = highdicom.imread(io.BytesIO(blob))
    np.testing.assert_array_equal(image.get_volume().array, expected.get_volume().array)


def test_a_replaced_object_is_noticed(native_slide: bytes) -> None:
    memory = fsspec.filesystem("memory")
    url = "memory://highdicom/replaced.dcm"
    memory.pipe_file("/highdicom/replaced.dcm", native_slide)
    dataset = xr.open_dataset(url, engine="dicom")
    image = dataset.dicom.to_highdicom()
    image.get_raw_frame(1)
    memory.pipe_file("/highdicom/replaced.dcm", native_slide[:-1] + b"\1")
    with pytest.raises(SourceChangedError, match=r"replaced\.dcm"):
        image.get_raw_frame(1)
    with pytest.raises(SourceChangedError, match=r"replaced\.dcm"):
        image.get_total_pixel_matrix(row_end=100, column_end=100, **PLAIN)
    with pytest.raises(SourceChangedError, match=r"replaced\.dcm"):
        dataset.dicom.to_highdicom()
    assert image.encoded_frames.held == 0


def test_lost_frames_are_named(native_slide: bytes) -> None:
    with pytest.warns(DicomWarning, match="truncated"):
        image, _ = recorded(native_slide[: -100 * TILE * TILE * 3])
    assert image.get_frames([1, 620], **PLAIN).shape == (2, TILE, TILE, 3)
    with pytest.raises(CorruptDicomError, match="frame 700"):
        image.get_raw_frame(700)
    with pytest.raises(CorruptDicomError, match="frame 6"):
        image.get_frames(**PLAIN)


def test_damaged_items_are_named() -> None:
    # Behind what opening fetches, so that the table is believed.
    write_slide = functools.partial(slide, shape=(640, 640), tile=TILE, offset_table="bot")
    blob = bytearray(content(write_slide))
    image, _ = recorded(bytes(blob))
    spans = image.encoded_frames.offsets.byte_ranges(np.array([95]))
    start = int(spans.offset[0])
    blob[start : start + 8] = bytes(8)
    damaged, _ = recorded(bytes(blob))
    with pytest.raises(CorruptDicomError, match="frame 96: no fragment"):
        damaged.get_frames([90, 96], **PLAIN)
    assert damaged.encoded_frames.held == 0
    assert damaged.get_raw_frame(95) == image.get_raw_frame(95)


def test_over_s3(s3_server: Server, native_slide: bytes) -> None:
    url = s3_server.put("highdicom.dcm", native_slide)
    dataset = xr.open_dataset(url, engine="dicom", storage_options=s3_server.storage_options)
    image = dataset.dicom.to_highdicom()
    expected = highdicom.imread(io.BytesIO(native_slide), lazy_frame_retrieval=True)
    region = {"row_start": 700, "row_end": 1300, "column_start": 1000}
    np.testing.assert_array_equal(
        image.get_total_pixel_matrix(**region, **PLAIN),
        expected.get_total_pixel_matrix(**region, **PLAIN),
    )


def _corpus() -> list[str]:
    """Real files that highdicom opens: of each folder, class and syntax the smallest."""
    if not CORPUS.is_dir():
        return []
    with open(CORPUS / "inventory.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["highdicom_lazy_opens"] == "ok"]
    chosen: dict[Sequence[str], str] = {}
    for row in sorted(rows, key=lambda row: int(row["bytes"])):
        kind_of = (row["source"], row["SOPClass"], row["TransferSyntaxUID"], row["photometric"])
        if int(row["bytes"]) < 2**22:
            chosen.setdefault(kind_of, row["path"])
    return sorted(chosen.values())


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real files is not here")
@pytest.mark.filterwarnings("ignore::xarray_dicom.DicomWarning", "ignore::UserWarning")
@pytest.mark.parametrize("path", _corpus())
def test_real_files(path: str) -> None:
    file = CORPUS / path
    image = xr.open_dataset(file, engine="dicom").dicom.to_highdicom()
    expected = reference(image, file.read_bytes())
    assert image.number_of_frames == expected.number_of_frames
    for number in {1, image.number_of_frames}:
        frame, wanted = image.get_raw_frame(number), expected.get_raw_frame(number)
        assert frame.rstrip(b"\0") == wanted.rstrip(b"\0")
