"""Every file at hand: header, columns and codestreams against pydicom."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.multival import MultiValue

from support.encoded_objects import opened, wait
from xarray_dicom.errors import DicomError
from xarray_dicom.frames.framing import unwrap
from xarray_dicom.frames.offsets import find_offsets, scan
from xarray_dicom.parsing.columns import read_columns
from xarray_dicom.parsing.elements import Header
from xarray_dicom.parsing.header import complete_header, read_header
from xarray_dicom.pixel_format import PixelFormat

CORPUS = Path(__file__).resolve().parents[2] / "../shared/data"

#: Files of one series and one size that are read.
ALIKE = 20

#: Files that pydicom reads some way, and that are rightly refused.
REFUSED = {
    "pydicom+pydicom/src/pydicom/data/test_files/no_meta.dcm": "is not DICOM",
    "pydicom+pydicom/src/pydicom/data/test_files/rtplan_truncated.dcm": r"\(300A,00B0\)",
}

pytestmark = [
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not at hand"),
    pytest.mark.filterwarnings("ignore"),
]


def sources() -> list[str]:
    inventory = CORPUS / "inventory.csv"
    if not inventory.is_file():
        return []
    with inventory.open(newline="") as lines:
        return sorted({row["path"].split("/")[0] for row in csv.DictReader(lines)})


def files(source: str) -> list[tuple[str, int]]:
    """Files and Number of Frames; of slices of one series and size, a few."""
    with (CORPUS / "inventory.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["path"].startswith(source + "/")]
    seen: Counter[tuple[str, str]] = Counter()
    chosen = []
    for row in rows:
        alike = (row["series_uid"], row["bytes"])
        seen[alike] += 1
        if seen[alike] <= ALIKE or row["category"] == "8-malformed":
            frames = int(row["frames"]) if row["frames"].isdigit() else 1
            chosen.append((row["path"], frames))
    return chosen


@pytest.mark.parametrize("source", sources())
def test_equals_pydicom(source: str) -> None:
    for path, n_frames in files(source):
        content = (CORPUS / path).read_bytes()
        oracle = pydicom.dcmread(io.BytesIO(content), force=True)
        begin = time.perf_counter()
        if path in REFUSED:
            with pytest.raises(DicomError, match=REFUSED[path]):
                wait(read_header(opened(content)))
            continue
        header = wait(read_header(opened(content), first=4096))
        complete = wait(complete_header(opened(content)))
        assert time.perf_counter() - begin < 30, path
        assert_codestreams(path, content, header, oracle, n_frames)
        oracle = pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=True)
        assert complete == oracle, path
        assert complete.file_meta == oracle.file_meta, path
        if header.per_frame is not None:
            sequence = list(oracle.PerFrameFunctionalGroupsSequence)
            assert_columns(path, header, sequence)


def assert_codestreams(
    path: str, content: bytes, header: Header, oracle: Dataset, n_frames: int
) -> None:
    keyword = header.pixel.keyword if header.pixel else ""
    if keyword not in oracle or not oracle.get("Rows"):
        return
    layout = PixelFormat(
        header.transfer_syntax,
        oracle.Rows,
        oracle.Columns,
        oracle.get("SamplesPerPixel", 1),
        oracle.get("BitsAllocated", 8),
        oracle.get("BitsStored", 8),
        0,
        oracle.get("PhotometricInterpretation", ""),
        0,
        keyword,
    )
    source = opened(content)
    whole = content if header.inflated is None else header.inflated
    found = wait(find_offsets(source, header, n_frames, layout))
    ways = [found] if found is not None else []
    value = oracle[keyword].value
    if header.pixel is not None and header.pixel.length is None:
        expected = list(generate_frames(value, number_of_frames=n_frames))
        ways.append(wait(scan(source, header, n_frames, layout)))
    else:
        size = layout.frame_bits
        edges = [(n * size // 8, ((n + 1) * size + 7) // 8) for n in range(n_frames)]
        expected = [value[start:stop] for start, stop in edges]
    assert ways, path
    for offsets in ways:
        for frame in range(n_frames):
            try:
                spans = offsets.byte_ranges(np.array([frame]))
            except DicomError:
                assert "truncated" in path
                continue
            start, length = int(spans.offset[0]), int(spans.length[0])
            stream = bytes(unwrap(offsets.framing, whole[start : start + length]))
            assert stream == expected[frame], (path, frame)


def elements(item: Dataset, above: tuple[int, ...] = ()) -> dict[tuple[int, ...], str]:
    """Paths, through first items, to all elements of an item."""
    found: dict[tuple[int, ...], str] = {}
    for element in item:
        path = (*above, int(element.tag))
        if element.VR != "SQ":
            found[path] = element.VR
        elif element.value and len(above) < 4:
            found |= elements(element.value[0], path)
    return found


def texts_or_numbers(item: Dataset, path: tuple[int, ...]) -> list[object]:
    for tag in path[:-1]:
        if tag not in item or not item[tag].value:
            return []
        item = item[tag].value[0]
    if path[-1] not in item:
        return []
    value = item[path[-1]].value
    if value is None or (isinstance(value, str | bytes) and not value):
        return []
    return list(value) if isinstance(value, MultiValue | list) else [value]


def assert_columns(path: str, header: Header, sequence: list[Dataset]) -> None:
    assert header.per_frame is not None
    paths: dict[tuple[int, ...], str] = {}
    for item in sequence:
        paths |= elements(item)
    columns = read_columns(header.per_frame, paths, len(sequence), path)
    assert columns.walked == 0
    for where, column in columns.columns.items():
        for frame, item in enumerate(sequence):
            found = column.values[frame, : column.count[frame]].tolist()
            value = texts_or_numbers(item, where)
            if column.values.dtype.kind == "f":
                np.testing.assert_array_equal(found, [float(number) for number in value])
            elif column.values.dtype.kind == "i":
                assert found == [int(number) for number in value]
            else:
                assert [text.decode("utf8", "replace") for text in found] == [
                    text.rstrip(b"\0").decode("utf8", "replace")
                    if isinstance(text, bytes)
                    else str(text).strip()
                    for text in value
                ], (path, where)
