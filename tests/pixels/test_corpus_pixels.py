"""Every frame at hand that pydicom decodes: first, middle and last of every file."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import libjpeg
import numpy as np
import pydicom
import pytest
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from support.decoding import decode_frame
from xarray_dicom.pixels import PixelFormat

CORPUS = Path(__file__).resolve().parents[2] / "../shared/data"
KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

#: Codecs whose decoders may differ by rounding.
LOSSY = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 91, 203)}
#: Says JPEG Lossless, but holds a baseline JPEG.
MISTAGGED = "dcmjs-org+dcmjs/test/sample-op.dcm"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not at hand")


def corpus_files() -> list[str]:
    """One file for each kind of pixels and size, so that slices of a series count once."""
    inventory = CORPUS / "inventory.csv"
    if not inventory.is_file():
        return []
    kinds: dict[tuple[str, ...], str] = {}
    with inventory.open(newline="") as lines:
        for row in csv.DictReader(lines):
            if not row["pydicom_pixel_array"].startswith("ok"):
                continue
            series = "" if row["category"] != "5-single-frame" else row["source"]
            what = (
                "TransferSyntaxUID", "photometric", "planar", "bits_allocated", "bits_stored",
                "pixel_representation", "rows", "columns",
            )  # fmt: skip
            kinds.setdefault((series or row["path"], *(row[k] for k in what)), row["path"])
    return sorted(kinds.values())


def pixel_format(dataset: pydicom.Dataset) -> PixelFormat:
    keyword = next(k for k in KEYWORDS if k in dataset)
    big = dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2"
    swapped = big and dataset[keyword].VR == "OW" and dataset.BitsAllocated == 8
    return PixelFormat(
        transfer_syntax=str(dataset.file_meta.TransferSyntaxUID),
        rows=dataset.Rows,
        columns=dataset.Columns,
        samples=dataset.SamplesPerPixel,
        bits_allocated=dataset.BitsAllocated,
        bits_stored=dataset.get("BitsStored", dataset.BitsAllocated),
        pixel_representation=dataset.get("PixelRepresentation", 0),
        photometric=dataset.PhotometricInterpretation,
        planar=dataset.get("PlanarConfiguration", 0) or 0,
        element=keyword,
        word_swapped=swapped,
    )


def frame_bytes(dataset: pydicom.Dataset, fmt: PixelFormat, index: int) -> tuple[bytes, int]:
    """The bytes of a frame and its first bit in them."""
    content = dataset[fmt.element].value
    if UID(fmt.transfer_syntax).is_encapsulated:
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        return get_frame(content, index, number_of_frames=count), 0
    first, last = index * fmt.frame_bits, (index + 1) * fmt.frame_bits
    unit = 16 if fmt.word_swapped else 8
    start = first // unit * unit
    return content[start // 8 : -(-last // unit) * unit // 8], first - start


def oracle(fmt: PixelFormat) -> str:
    """The plugin to compare with: other JPEG decoders interpolate chroma differently."""
    eight_bit_jpeg = fmt.transfer_syntax[-2:] in ("50", "51") and fmt.bits_stored == 8
    return "pillow" if eight_bit_jpeg else ""


def assert_close(actual: np.ndarray, expected: np.ndarray, lossy: bool) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype.newbyteorder("=")
    if not lossy:
        np.testing.assert_array_equal(actual, expected)
        return
    difference = np.abs(actual.astype(np.int64) - expected.astype(np.int64))
    assert difference.max() <= 1


@pytest.mark.parametrize("path", corpus_files())
def test_frames_equal_pydicom(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(CORPUS / path, force=True)
        fmt = pixel_format(dataset)
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        decoder = get_decoder(fmt.transfer_syntax)
        for index in sorted({0, count // 2, count - 1}):
            expected, _ = decoder.as_array(dataset, index=index, decoding_plugin=oracle(fmt))
            codestream, bit = frame_bytes(dataset, fmt, index)
            actual = decode_frame(codestream, fmt, bit=bit)
            lossy = fmt.transfer_syntax in LOSSY or path == MISTAGGED
            assert_close(actual, expected, lossy)
            out = np.full(fmt.shape, 7, fmt.dtype)
            assert decode_frame(codestream, fmt, bit=bit, out=out) is out
            np.testing.assert_array_equal(out, actual)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not at hand")
def test_one_bit_rle_equals_its_native_twin() -> None:
    folder = CORPUS / "pydicom+pydicom-data/data_store/data"
    packed = pydicom.dcmread(folder / "liver_rle.dcm")
    expected = pydicom.dcmread(folder / "liver.dcm").pixel_array
    fmt = pixel_format(packed)
    for index, frame in enumerate(expected):
        codestream, _ = frame_bytes(packed, fmt, index)
        np.testing.assert_array_equal(decode_frame(codestream, fmt), frame)


@pytest.mark.parametrize("name", ["MR2", "MR3", "MR4", "RG3", "XA1"])
def test_twelve_bit_jpeg_equals_another_library(name: str) -> None:
    path = CORPUS / f"Enet4+dicom-test-files/data/WG04/JPLY/{name}_JPLY"
    if not path.is_file():
        pytest.skip("the corpus is not at hand")
    dataset = pydicom.dcmread(path)
    codestream, _ = frame_bytes(dataset, pixel_format(dataset), 0)
    actual = decode_frame(codestream, pixel_format(dataset))
    # The ISO decoder insists on an end of spectral selection of 63, these files have 0.
    strict = bytearray(codestream)
    scan = strict.index(b"\xff\xda")
    strict[scan + 6 + 2 * strict[scan + 4]] = 63
    expected = libjpeg.decode(bytes(strict)).astype(int)
    np.testing.assert_allclose(actual.astype(int), expected, atol=1)
