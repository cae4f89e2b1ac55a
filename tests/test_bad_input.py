"""Each bad input gets its own error, which names the source and what is wrong, at little cost."""

from __future__ import annotations

import io
import os
import pickle
import random
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian

from support.counting import CountingFileSystem
from support.generate.attributes import instance, write
from support.kinds import NAMES, content, kind
from support.servers import Server
from xarray_dicom.errors import (
    CorruptDicomError,
    DicomError,
    DicomWarning,
    NotDicomError,
    SourceChangedError,
    UnsupportedDicomError,
)

#: Bytes that refusing an object may take, whatever it claims.
MODEST = 64 * 2**20


@contextmanager
def frugal() -> Iterator[None]:
    """Assert that the block takes neither much memory nor much time."""
    tracemalloc.start()
    started = time.monotonic()
    try:
        yield
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MODEST
    assert time.monotonic() - started < 20


@pytest.fixture
def location(tmp_path: Path) -> Path:
    return tmp_path / "bad.dcm"


def opened(path: Path, blob: bytes) -> xr.DataArray:
    path.write_bytes(blob)
    (image,) = xr.open_dataset(path, engine="dicom").data_vars.values()
    return image


def refused_opening(path: Path, blob: bytes, error: type[DicomError], *told: str) -> None:
    """Assert that opening raises exactly `error`, naming the path and all that is `told`."""
    with frugal(), pytest.raises(DicomError) as caught:
        opened(path, blob)
    assert type(caught.value) is error, caught.value
    for text in (str(path), *told):
        assert text in str(caught.value)


def refused_reading(image: xr.DataArray, error: type[DicomError], *told: str) -> None:
    """Assert that reading raises exactly `error`, naming all that is `told`."""
    with frugal(), pytest.raises(DicomError) as caught:
        image.values  # noqa: B018
    assert type(caught.value) is error, caught.value
    for text in told:
        assert text in str(caught.value)


def blob_of(name: str) -> bytes:
    (blob,) = kind(name).objects.values()
    return blob


def edited(name: str, **attributes: Any) -> bytes:
    """An object with other values of some attributes; None deletes one."""
    dataset = dcmread(io.BytesIO(blob_of(name)))
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return content(lambda file: dataset.save_as(file))


def pixel_element(blob: bytes) -> int:
    """Where the Pixel Data or Float Pixel Data element starts."""
    return max(blob.rfind(b"\xe0\x7f\x10\x00"), blob.rfind(b"\xe0\x7f\x08\x00"))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"DICM",
        b"not an image, but a text about images. " * 40,
        b"\x89PNG\r\n\x1a\n" + bytes(3000),
        b"PK\x03\x04" + bytes(3000),
        bytes(3000),
        bytes(128) + b"DCIM" + bytes(3000),
        np.random.default_rng(3).bytes(30_000),
        blob_of("single")[:100],
    ],
    ids=["empty", "magic", "text", "png", "zip", "zeros", "misspelled", "noise", "preamble"],
)
def test_not_dicom(location: Path, blob: bytes) -> None:
    refused_opening(location, blob, NotDicomError, "not DICOM")


def test_a_missing_object(location: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        xr.open_dataset(location, engine="dicom")
    assert str(location) in str(caught.value)


@pytest.mark.parametrize("name", ["slide-eot", "slide-bot", "single", "segmentation", "cine"])
def test_truncated_in_the_header(location: Path, name: str) -> None:
    blob = blob_of(name)
    end = pixel_element(blob)
    # Cut where an element ends, an object is whole but for its pixels.
    cuts = np.unique(np.linspace(150, end + 7, 60).astype(int))
    for cut in cuts:
        with frugal(), pytest.raises(DicomError) as caught:
            opened(location, blob[:cut])
        assert str(location) in str(caught.value)
        told = str(caught.value)
        assert "truncated" in told or "has no pixel data" in told or "is missing" in told
        if "has no pixel data" not in told:
            assert type(caught.value) is CorruptDicomError
        else:
            assert type(caught.value) is UnsupportedDicomError
    refused_opening(location, blob[: end - 1], CorruptDicomError, "truncated")
    refused_opening(location, blob[: end + 5], CorruptDicomError, "truncated")


def test_truncated_in_the_extended_offset_table(location: Path) -> None:
    blob = blob_of("slide-eot")
    table = blob.index(b"\xe0\x7f\x01\x00OV")
    lengths = blob.index(b"\xe0\x7f\x02\x00OV")
    for cut in (table + 30, lengths + 30):
        refused_opening(location, blob[:cut], CorruptDicomError, "(7FE0,000", "truncated")


def test_truncated_in_the_basic_offset_table(location: Path) -> None:
    blob = blob_of("slide-bot")
    start = pixel_element(blob) + 12
    for cut in (start + 8, start + 20):
        refused_opening(location, blob[:cut], CorruptDicomError, "(0028,0008)", "truncated")


@pytest.mark.filterwarnings("ignore::xarray_dicom.errors.DicomWarning")
@pytest.mark.parametrize("name", ["slide-eot", "slide-bot", "slide-no-table", "slide-channels"])
def test_truncated_in_a_frame(location: Path, name: str) -> None:
    blob = blob_of(name)
    # Of channels, the first one.
    corner = {"y": slice(0, 64), "x": slice(0, 64), "optical_path": 0}
    expected = opened(location, blob).isel(corner, missing_dims="ignore").values
    image = opened(location, blob[: (pixel_element(blob) + len(blob)) // 2])
    refused_reading(image, CorruptDicomError, str(location), "frame ", "missing")
    np.testing.assert_array_equal(image.isel(corner, missing_dims="ignore").values, expected)


def test_a_truncated_series_says_which_file(tmp_path: Path) -> None:
    for name, blob in kind("series").objects.items():
        (tmp_path / name).write_bytes(blob)
    last = tmp_path / "0005.dcm"
    last.write_bytes(last.read_bytes()[:701])
    with pytest.raises(CorruptDicomError, match=r"0005\.dcm.*truncated"):
        xr.open_dataset(tmp_path, engine="dicom")


ENCAPSULATED = ["slide-eot", "slide-bot", "slide-no-table", "cine"]
NATIVE = ["single", "segmentation", "labelmap", "slide-channels", "enhanced-ct"]


@pytest.mark.parametrize("n_frames", [0, -5, 10**9, 2**31 - 1])
@pytest.mark.parametrize("name", ENCAPSULATED + NATIVE)
def test_number_of_frames_that_lies(location: Path, name: str, n_frames: int) -> None:
    blob = edited(name, NumberOfFrames=n_frames)
    refused_opening(location, blob, CorruptDicomError, "(0028,0008)", str(n_frames))


@pytest.mark.parametrize("n_frames", [3, 13])
@pytest.mark.parametrize("name", ["slide-eot", "slide-bot", "slide-no-table", "slide-channels"])
@pytest.mark.filterwarnings("ignore:.*Offset Table is not used:UserWarning")
def test_number_of_frames_that_do_not_tile_the_slide(
    location: Path, name: str, n_frames: int
) -> None:
    blob = edited(name, NumberOfFrames=n_frames)
    refused_opening(location, blob, CorruptDicomError, "(0028,0008)", "tiles of 64 × 64")


@pytest.mark.parametrize(
    "lie",
    [{"Rows": 65535}, {"Columns": 65535}, {"Rows": 65535, "Columns": 65535}, {"BitsAllocated": 32}],
    ids=str,
)
@pytest.mark.parametrize("name", NATIVE)
def test_sizes_of_native_frames_that_lie(location: Path, name: str, lie: dict[str, int]) -> None:
    refused_opening(location, edited(name, **lie), CorruptDicomError, "(0028,0008), Rows, Columns")


@pytest.mark.parametrize(
    "lie", [{"Rows": 65535}, {"Columns": 65535}, {"Rows": 65535, "Columns": 65535}], ids=str
)
def test_sizes_of_compressed_frames_that_lie(location: Path, lie: dict[str, int]) -> None:
    image = opened(location, edited("cine", **lie))
    told = (str(location), "frame 1", "Rows (0028,0010)", "Columns (0028,0011)")
    refused_reading(image, CorruptDicomError, *told)
    refused_reading(image[0], CorruptDicomError, *told)


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_no_size(location: Path, keyword: str) -> None:
    refused_opening(location, edited("single", **{keyword: 0}), CorruptDicomError, "pixels")
    refused_opening(location, edited("single", **{keyword: None}), CorruptDicomError, keyword)


@pytest.mark.parametrize(
    "lie",
    [
        {"TotalPixelMatrixRows": 2**32 - 1},
        {"TotalPixelMatrixColumns": 2**32 - 1},
        {"TotalPixelMatrixRows": 2**32 - 1, "TotalPixelMatrixColumns": 2**32 - 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["slide-eot", "slide-channels", "slide-segmentation"])
def test_a_pixel_matrix_that_lies(location: Path, name: str, lie: dict[str, int]) -> None:
    told = ("(0048,0006)", "(0048,0007)", "4294967295")
    refused_opening(location, edited(name, **lie), CorruptDicomError, *told)


def test_planes_that_lie(location: Path) -> None:
    blob = edited("slide-eot", TotalPixelMatrixFocalPlanes=2**32 - 1)
    refused_opening(location, blob, CorruptDicomError, "(0048,0303)", "4294967295")
    blob = edited("slide-eot", NumberOfOpticalPaths=2**32 - 1, OpticalPathSequence=None)
    refused_opening(location, blob, CorruptDicomError, "(0048,0302)", "4294967295")


def test_a_tile_far_off_the_slide(location: Path) -> None:
    dataset = dcmread(io.BytesIO(blob_of("slide-segmentation")))
    place = dataset.PerFrameFunctionalGroupsSequence[4].PlanePositionSlideSequence[0]
    place.RowPositionInTotalImagePixelMatrix = -(2**31)
    blob = content(lambda file: dataset.save_as(file))
    refused_opening(location, blob, CorruptDicomError, "frame 5", "(0048,021F)")


def test_a_frame_of_no_segment(location: Path) -> None:
    dataset = dcmread(io.BytesIO(blob_of("segmentation")))
    item = dataset.PerFrameFunctionalGroupsSequence[2]
    item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 99
    blob = content(lambda file: dataset.save_as(file))
    refused_opening(location, blob, CorruptDicomError, "frame 3", "99", "(0062,000B)")


def _with_offset(name: str, frame: int, offset: int) -> bytes:
    """`blob_of(name)` with another offset of one frame in its table."""
    blob = bytearray(blob_of(name))
    if name == "slide-eot":
        start, width = blob.index(b"\xe0\x7f\x01\x00OV") + 12, 8
    else:
        start, width = pixel_element(blob) + 20, 4
    at = start + frame * width
    blob[at : at + width] = offset.to_bytes(width, "little")
    return bytes(blob)


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("slide-eot", 2**63 + 8),
        ("slide-eot", 2**40),
        ("slide-eot", 40_000),
        ("slide-eot", 0),
        ("slide-bot", 2**32 - 2),
        ("slide-bot", 40_000),
        ("slide-bot", 0),
    ],
)
def test_offsets_that_lead_astray(location: Path, name: str, offset: int) -> None:
    expected = opened(location, blob_of(name)).values
    table = "Extended Offset Table" if name == "slide-eot" else "Basic Offset Table"
    with pytest.warns(DicomWarning, match=f"the {table} is not used") as told:
        image = opened(location, _with_offset(name, 11, offset))
    assert all(str(location) in str(one.message) for one in told)
    # The items are read instead.
    with frugal():
        np.testing.assert_array_equal(image.values, expected)


@pytest.mark.filterwarnings("ignore:.*Offset Table is not used:UserWarning")
@pytest.mark.parametrize("name", ["slide-eot", "slide-bot"])
def test_an_offset_into_the_middle_of_a_frame(location: Path, name: str) -> None:
    blob = blob_of(name)
    expected = opened(location, blob).values
    table = (
        np.frombuffer(dcmread(io.BytesIO(blob)).ExtendedOffsetTable, "<u8")
        if name == "slide-eot"
        else np.frombuffer(blob, "<u4", 12, pixel_element(blob) + 20)
    )
    image = opened(location, _with_offset(name, 5, int(table[5]) + 6))
    try:
        values = image.values
    except CorruptDicomError:
        refused_reading(image, CorruptDicomError, str(location), "frame ")
    else:
        np.testing.assert_array_equal(values, expected)


def test_an_image_without_pixels(location: Path) -> None:
    blob = edited("single", PixelData=None)
    refused_opening(location, blob, UnsupportedDicomError, "CT Image Storage", "no pixel data")


def test_a_report(location: Path) -> None:
    report = instance(ComprehensiveSRStorage, "SR", "report", "report")
    blob = content(lambda file: write(report, file, ExplicitVRLittleEndian))
    refused_opening(location, blob, UnsupportedDicomError, "SR Storage", "no pixel data")


def _in_syntax(uid: str) -> bytes:
    """A cine whose meta header claims another transfer syntax."""
    dataset = dcmread(io.BytesIO(blob_of("cine")))
    dataset.file_meta.TransferSyntaxUID = uid
    return content(lambda file: dataset.save_as(file, enforce_file_format=False))


@pytest.mark.parametrize(
    ("uid", "named"),
    [
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.840.10008.1.2.4.107", "HEVC"),
    ],
)
def test_a_video(location: Path, uid: str, named: str) -> None:
    refused_opening(location, _in_syntax(uid), UnsupportedDicomError, named)


def test_an_unknown_transfer_syntax(location: Path) -> None:
    with frugal(), pytest.raises(UnsupportedDicomError, match=r"1\.2\.3\.4\.5") as caught:
        opened(location, _in_syntax("1.2.3.4.5")).values  # noqa: B018
    assert str(location) in str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"SamplesPerPixel": 4}, "(0028,0002)"),
        ({"BitsAllocated": 12, "BitsStored": 12}, "(0028,0100)"),
        ({"BitsStored": 40}, "(0028,0101)"),
    ],
    ids=str,
)
def test_pixels_of_an_unsupported_kind(
    location: Path, attributes: dict[str, int], named: str
) -> None:
    refused_opening(location, edited("single", **attributes), UnsupportedDicomError, named)


@pytest.mark.parametrize("keyword", ["BitsAllocated", "Rows"])
def test_a_missing_attribute(location: Path, keyword: str) -> None:
    refused_opening(location, edited("single", **{keyword: None}), CorruptDicomError, keyword)


@pytest.mark.parametrize(
    "obj", [7, None, object(), 3.5, {"a": 1}], ids=lambda obj: type(obj).__name__
)
def test_what_is_no_source(obj: Any) -> None:
    with pytest.raises((DicomError, TypeError, ValueError)):
        xr.open_dataset(obj, engine="dicom")


def test_bytes_have_a_name_too() -> None:
    with pytest.raises(CorruptDicomError, match=r"^<\d+ bytes>: "):
        xr.open_dataset(blob_of("single")[:600], engine="dicom")


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("slide-eot", b"\x48\x00\x06\x01"),  # Optical Path Identifier
        ("single", b"\x20\x00\x32\x00"),  # Image Position (Patient)
        ("segmentation", b"\x62\x00\x04\x00"),  # Segment Number
        ("single", b"\x28\x00\x10\x00"),  # Rows
    ],
)
def test_a_value_of_no_known_representation(location: Path, name: str, tag: bytes) -> None:
    blob = bytearray(blob_of(name))
    at = blob.index(tag) + 4
    blob[at : at + 2] = b"ZY"
    with frugal(), pytest.raises(CorruptDicomError, match=r"bad\.dcm") as caught:
        opened(location, bytes(blob))
    assert caught.value.__cause__ is not None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("part", ["header", "pixels"])
@pytest.mark.parametrize("name", NAMES)
def test_random_damage(name: str, part: str) -> None:
    """Whatever is damaged, reading ends soon, in pixels or in one of our errors."""
    rng = random.Random(f"{name} {part}")
    whole = next(iter(kind(name).objects.values()))
    pixels = pixel_element(whole)
    ends = (132, pixels + 40) if part == "header" else (pixels, len(whole))
    for _ in range(12):
        blob = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(*ends)
            blob[at] = rng.choice((0, 255, rng.randrange(256), blob[at] ^ 1 << rng.randrange(8)))
        with frugal():
            try:
                (image,) = xr.open_dataset(bytes(blob), engine="dicom").data_vars.values()
                if image.nbytes < MODEST // 4:
                    image.values  # noqa: B018
            except DicomError:
                continue


def test_padding_that_is_spelled_without_its_sign(location: Path) -> None:
    dataset = dcmread(io.BytesIO(blob_of("enhanced-mr")))
    dataset.add(DataElement(0x00280120, "US", 63536))
    blob = content(lambda file: dataset.save_as(file))
    location.write_bytes(blob)
    image = xr.open_dataset(location, engine="dicom", mask_and_scale=False).image
    assert image.attrs["pixel_padding_value"] == -2000
    np.testing.assert_array_equal(image.values, opened(location, blob_of("enhanced-mr")).values)


Stores = Callable[[str, bytes], tuple[Any, dict[str, Any]]]


@pytest.fixture(params=["counted", "local", "s3-if-match", "s3", "http", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    """Puts an object under a name, again if it is there; returns what to open and how."""
    name = request.param
    if name == "counted":
        return lambda key, blob: (CountingFileSystem.put(key, blob), {})
    if name == "local":

        def write_file(key: str, blob: bytes) -> tuple[Any, dict[str, Any]]:
            path = tmp_path / key
            before = path.stat().st_mtime_ns if path.exists() else 0
            path.write_bytes(blob)
            # Two writes may come within one tick of the filesystem's clock.
            after = max(path.stat().st_mtime_ns, before + 1)
            os.utime(path, ns=(after, after))
            return path, {}

        return write_file
    servers = {
        "s3-if-match": "moto_server",
        "s3": "s3_server",
        "http": "http_server",
        "gcs": "gcs_server",
    }
    server: Server = request.getfixturevalue(servers[name])

    def put(key: str, blob: bytes) -> tuple[Any, dict[str, Any]]:
        if name == "http":
            # Last-Modified counts seconds.
            time.sleep(1.1)
        return server.put(f"{name}-{key}", blob), server.storage_options

    return put


def other_version() -> bytes:
    """A slide of the same size in bytes, but with other pixels and items."""
    blob = bytearray(blob_of("slide-eot"))
    start = pixel_element(bytes(blob)) + 12
    blob[start:] = bytes(reversed(blob[start:]))
    return bytes(blob)


def test_an_object_replaced_after_opening(store: Stores) -> None:
    blob = blob_of("slide-eot")
    obj, options = store("replaced.dcm", blob)
    dataset = xr.open_dataset(obj, engine="dicom", storage_options=options)
    expected = dataset.image[:64, :64].copy().values
    store("replaced.dcm", other_version())
    with frugal(), pytest.raises(SourceChangedError) as caught:
        dataset.image.values  # noqa: B018
    assert "replaced.dcm" in str(caught.value)
    store("replaced.dcm", blob)
    fresh = xr.open_dataset(obj, engine="dicom", storage_options=options)
    np.testing.assert_array_equal(fresh.image[:64, :64].values, expected)


def test_an_open_file_that_grew(location: Path) -> None:
    location.write_bytes(blob_of("slide-eot"))
    with open(location, "rb") as file:
        image = xr.open_dataset(file, engine="dicom").image
        assert image[:64, :64].copy().values.any()
        location.write_bytes(other_version() + bytes(2))
        refused_reading(image, SourceChangedError, str(location))


@pytest.mark.parametrize("server", ["moto_server", "gcs_server"])
def test_a_pickle_of_an_object_replaced_since(server: str, request: pytest.FixtureRequest) -> None:
    store: Server = request.getfixturevalue(server)
    url = store.put("pickled.dcm", blob_of("slide-eot"))
    options = store.storage_options
    dataset = xr.open_dataset(url, engine="dicom", storage_options=options, chunks={})
    kept = pickle.dumps(dataset)
    store.put("pickled.dcm", other_version())
    with pytest.raises(SourceChangedError, match=r"pickled\.dcm"):
        pickle.loads(kept).compute()


@pytest.mark.parametrize("server", ["moto_server", "s3_server", "http_server", "gcs_server"])
def test_an_object_deleted_after_opening(server: str, request: pytest.FixtureRequest) -> None:
    store: Server = request.getfixturevalue(server)
    url = store.put("deleted.dcm", blob_of("slide-eot"))
    dataset = xr.open_dataset(url, engine="dicom", storage_options=store.storage_options)
    store.delete("deleted.dcm")
    with pytest.raises(FileNotFoundError, match=r"deleted\.dcm"):
        dataset.image.values  # noqa: B018


def test_frames_that_all_lie_in_one_place(location: Path) -> None:
    """Hidden frames cost nothing, however many there are."""
    dataset = Dataset()
    dataset.update(dcmread(io.BytesIO(blob_of("enhanced-ct"))))
    file_meta = dcmread(io.BytesIO(blob_of("enhanced-ct"))).file_meta
    groups = dataset.PerFrameFunctionalGroupsSequence
    for item in groups:
        item.PlanePositionSequence = groups[0].PlanePositionSequence
    dataset.file_meta = file_meta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DicomWarning)
        image = opened(location, content(lambda file: dataset.save_as(file)))
    with frugal():
        assert np.isfinite(image.values).all()
