"""Every transfer syntax of still images through the engine, with and without offset tables."""

from __future__ import annotations

import io
import shutil
import subprocess
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import imagecodecs
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended, fragment_frame
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.pixels import get_encoder
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from support.generate.attributes import instance, write
from support.generate.multiframe import cine
from support.generate.segmentation import multi_organ_segmentation
from support.generate.series import ct_series
from support.kinds import content
from xarray_dicom import DicomError, DicomWarning, UnsupportedDicomError

UID = "1.2.840.10008.1.2"
FRAMES = 4
SHAPE = (41, 53)

Pixels = NDArray[Any]


def rle(frame: Pixels) -> bytes:
    bits = 8 * frame.dtype.itemsize
    encoded: bytes = get_encoder(f"{UID}.5").encode(
        frame,
        rows=frame.shape[0],
        columns=frame.shape[1],
        samples_per_pixel=frame.shape[2] if frame.ndim == 3 else 1,
        number_of_frames=1,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="RGB" if frame.ndim == 3 else "MONOCHROME2",
        planar_configuration=0,
        encoding_plugin="pydicom",
    )
    return encoded


def deflated(frame: Pixels) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(frame.astype(frame.dtype.newbyteorder("<")).tobytes()) + (
        deflater.flush()
    )


def jpeg(frame: Pixels, **options: Any) -> bytes:
    space = "RGB" if frame.ndim == 3 else None
    encoded = imagecodecs.jpeg8_encode(
        frame, 95, colorspace=space, outcolorspace=space, subsampling="444", **options
    )
    return bytes(encoded)


def jpeg2000(frame: Pixels, **options: Any) -> bytes:
    given = {"reversible": True, "codecformat": "J2K", "mct": False} | options
    return bytes(imagecodecs.jpeg2k_encode(frame, given.pop("level", 0), **given))


@dataclass(frozen=True)
class Syntax:
    """How a transfer syntax is written here, and whether its pixels come back as they were."""

    uid: str
    encode: Callable[[Pixels], bytes]
    lossless: bool = True
    depths: tuple[int, ...] = (8, 16)


SYNTAXES = {
    "encapsulated uncompressed": Syntax(f"{UID}.1.98", lambda frame: frame.tobytes()),
    "deflated frames": Syntax(f"{UID}.8.1", deflated),
    "RLE": Syntax(f"{UID}.5", rle),
    "JPEG baseline": Syntax(f"{UID}.4.50", jpeg, lossless=False, depths=(8,)),
    "JPEG extended": Syntax(f"{UID}.4.51", jpeg, lossless=False, depths=(8,)),
    "JPEG lossless": Syntax(f"{UID}.4.57", lambda frame: jpeg(frame, lossless=True)),
    "JPEG lossless SV1": Syntax(f"{UID}.4.70", lambda frame: jpeg(frame, lossless=True)),
    "JPEG-LS": Syntax(f"{UID}.4.80", lambda frame: bytes(imagecodecs.jpegls_encode(frame))),
    "JPEG-LS near lossless": Syntax(
        f"{UID}.4.81", lambda frame: bytes(imagecodecs.jpegls_encode(frame, level=2)), False
    ),
    "JPEG 2000 lossless": Syntax(f"{UID}.4.90", jpeg2000),
    "JPEG 2000": Syntax(f"{UID}.4.91", lambda frame: jpeg2000(frame, level=50), lossless=False),
    "HTJ2K lossless": Syntax(
        f"{UID}.4.201", lambda frame: bytes(imagecodecs.htj2k_encode(frame, reversible=True))
    ),
    "JPEG XL lossless": Syntax(
        f"{UID}.4.110", lambda frame: bytes(imagecodecs.jpegxl_encode(frame, lossless=True))
    ),
    "JPEG XL recompressed": Syntax(
        f"{UID}.4.111",
        lambda frame: bytes(imagecodecs.jpegxl_encode_jpeg(jpeg(frame))),
        lossless=False,
        depths=(8,),
    ),
}

#: Levels of 8 bits that lossy codecs may change noise-free pixels by.
LOSS = 12


def frames_of(depth: int, samples: int) -> Pixels:
    """Smooth frames, so that lossy codecs stay close."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    top = 2**depth - 1
    waves = [
        (np.sin(y / (5 + n) + c) + np.cos(x / (7 + c)) + 2) / 4
        for n in range(FRAMES)
        for c in range(samples)
    ]
    stacked = np.stack(waves).reshape(FRAMES, samples, *SHAPE)
    pixels = np.moveaxis(stacked, 1, -1) * top
    stored = np.rint(pixels[..., 0] if samples == 1 else pixels).astype(f"u{depth // 8}")
    return np.ascontiguousarray(stored)


def image(frames: Pixels) -> Dataset:
    """A multi-frame secondary capture of these frames, without its pixels."""
    colour = frames.ndim == 4
    dataset = instance("1.2.840.10008.5.1.4.1.1.7.4", "OT", "syntaxes", "frames")
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
    dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    bits = 8 * frames.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = 0
    return dataset


TABLES = ("eot", "bot", "none")

#: Syntaxes that pydicom does not write → one as long that it does.
STAND_INS = {
    f"{UID}.8.1": f"{UID}.4.50",
    f"{UID}.4.110": f"{UID}.4.201",
    f"{UID}.4.111": f"{UID}.4.201",
}


def file_of(dataset: Dataset, syntax: str) -> bytes:
    """A file in any syntax."""
    known = STAND_INS.get(syntax, syntax)
    written = content(lambda file: write(dataset, file, known))
    padded = syntax.encode().ljust(len(known), b"\0")
    return written.replace(known.encode(), padded, 1) if known != syntax else written


def encapsulated(frames: Pixels, syntax: Syntax, table: str, fragments: int) -> bytes:
    dataset = image(frames)
    encoded = [syntax.encode(frame) for frame in frames]
    if table == "eot":
        content_, offsets, lengths = encapsulate_extended(encoded)
        dataset.PixelData = content_
        dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    else:
        dataset.PixelData = encapsulate(
            encoded, fragments_per_frame=fragments, has_bot=table == "bot"
        )
    dataset["PixelData"].VR = "OB"
    return file_of(dataset, syntax.uid)


def elements(dataset: Dataset, *, implicit: bool, little: bool) -> bytes:
    """The elements of a data set in any encoding."""
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, dataset)
    return bytes(file.getvalue())


def meta_of(dataset: Dataset, syntax: str) -> bytes:
    """The file meta information before a data set in any syntax."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    head = Dataset()
    head.file_meta = meta
    front = io.BytesIO()
    big = syntax == ExplicitVRBigEndian
    dcmwrite(front, head, enforce_file_format=True, implicit_vr=False, little_endian=not big)
    return front.getvalue()


def opened(source: Any, **options: Any) -> xr.DataArray:
    (variable,) = xr.open_dataset(
        source, engine="dicom", mask_and_scale=False, **options
    ).data_vars.values()
    return variable


ARRANGEMENTS = [("eot", 1), ("bot", 1), ("none", 1), ("bot", 3), ("none", 3)]


@pytest.mark.parametrize("name", SYNTAXES)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("table", "fragments"), ARRANGEMENTS)
def test_encapsulated(name: str, samples: int, table: str, fragments: int) -> None:
    syntax = SYNTAXES[name]
    for depth in syntax.depths:
        frames = frames_of(depth, samples)
        has_no_marker = name in ("RLE", "deflated frames", "encapsulated uncompressed", "JPEG-LS")
        if table == "none" and fragments > 1 and has_no_marker | name.startswith("JPEG XL"):
            continue  # Nothing tells which fragments make a frame: see below.
        found = opened(encapsulated(frames, syntax, table, fragments))
        assert found.dtype == frames.dtype
        assert found.dims == ("frame", "y", "x", "c")[: 3 + (samples == 3)]
        if syntax.lossless:
            np.testing.assert_array_equal(found, frames)
        else:
            apart = np.abs(found.values.astype(int) - frames)
            assert apart.max() <= LOSS * 2 ** (depth - 8)
        # A frame alone is found as well.
        np.testing.assert_array_equal(
            opened(encapsulated(frames, syntax, table, fragments))[2], found[2]
        )


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("planar", [0, 1])
def test_native(syntax: str, samples: int, planar: int) -> None:
    for depth in (8, 16):
        frames = frames_of(depth, samples)
        dataset = image(frames)
        stored = frames
        if samples == 3:
            dataset.PlanarConfiguration = planar
            stored = np.moveaxis(frames, -1, 1) if planar else frames
        dataset.PixelData = stored.tobytes() + bytes(stored.nbytes % 2)
        dataset["PixelData"].VR = "OW" if depth == 16 else "OB"
        np.testing.assert_array_equal(
            opened(content(lambda file, dataset=dataset: write(dataset, file, syntax))), frames
        )


@pytest.mark.parametrize("vr", ["OB", "OW"])
@pytest.mark.parametrize("samples", [1, 3])
def test_big_endian(vr: str, samples: int) -> None:
    for depth in (8, 16):
        frames = frames_of(depth, samples)
        if vr == "OB" and depth == 16:
            continue
        dataset = image(frames)
        stored = frames.astype(frames.dtype.newbyteorder(">")).tobytes()
        stored += bytes(len(stored) % 2)
        if vr == "OW" and depth == 8:
            stored = np.frombuffer(stored, "<u2").astype(">u2").tobytes()
        dataset.PixelData = stored
        dataset["PixelData"].VR = vr
        body = elements(dataset, implicit=False, little=False)
        np.testing.assert_array_equal(opened(meta_of(dataset, ExplicitVRBigEndian) + body), frames)


@pytest.mark.parametrize("samples", [1, 3])
def test_big_endian_pixels_of_ge(samples: int) -> None:
    """Implicit VR little endian, and only samples of 16 bits are swapped, as GDCM has it."""
    for depth in (8, 16):
        frames = frames_of(depth, samples)
        dataset = image(frames)
        stored = frames.astype(frames.dtype.newbyteorder(">")).tobytes()
        dataset.PixelData = stored + bytes(len(stored) % 2)
        dataset["PixelData"].VR = "OW"
        meta = meta_of(dataset, "1.2.840.113619.5.2")
        body = elements(dataset, implicit=True, little=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(opened(meta + body), frames)


@pytest.mark.filterwarnings("ignore:.*deflated as a whole")
@pytest.mark.parametrize("samples", [1, 3])
def test_deflated(samples: int) -> None:
    frames = frames_of(16, samples)
    dataset = image(frames)
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OW"
    file = content(lambda file: write(dataset, file, DeflatedExplicitVRLittleEndian))
    np.testing.assert_array_equal(opened(file), frames)


# --- segmentations


def segmentation(kind: str) -> tuple[Dataset, Pixels]:
    planes = ct_series(None, planes=5, shape=(40, 53), spacing=(20.0, 9.0, 9.0), shuffle=False)
    for plane in planes:
        content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
    organs = ("Liver", "Spleen", "Aorta")
    file = content(
        lambda file: multi_organ_segmentation(file, planes, organs=organs, segmentation_type=kind)
    )
    return dcmread(io.BytesIO(file)), opened(file).values


@pytest.mark.filterwarnings("ignore:.*deflated as a whole")
def test_deflated_label_map() -> None:
    dataset, expected = segmentation("LABELMAP")
    file = content(lambda file: write(dataset, file, DeflatedExplicitVRLittleEndian))
    np.testing.assert_array_equal(opened(file), expected)
    assert expected.any()


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("name", ["deflated frames", "RLE", "JPEG 2000 lossless"])
@pytest.mark.parametrize("table", TABLES)
def test_compressed_segmentations(kind: str, name: str, table: str) -> None:
    """Also frames of one bit: packed in RLE and deflated frames, one bit deep in JPEG 2000."""
    dataset, expected = segmentation(kind)
    masks = dataset.pixel_array
    syntax = SYNTAXES[name]
    if kind == "LABELMAP":
        encoded = [syntax.encode(frame) for frame in masks]
    elif name == "JPEG 2000 lossless":
        encoded = [jpeg2000(frame, bitspersample=1) for frame in masks]
    else:
        packed = [np.packbits(frame.reshape(-1), bitorder="little")[None] for frame in masks]
        encoded = [syntax.encode(frame) for frame in packed]
    if table == "eot":
        value, offsets, lengths = encapsulate_extended(encoded)
        dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
        dataset.PixelData = value
    else:
        dataset.PixelData = encapsulate(encoded, has_bot=table == "bot")
    dataset["PixelData"].VR = "OB"
    np.testing.assert_array_equal(opened(file_of(dataset, syntax.uid)), expected)


# --- what is tagged wrongly, and what is no still image


@pytest.mark.parametrize("stated", ["JPEG baseline", "JPEG-LS", "JPEG 2000 lossless"])
@pytest.mark.parametrize(
    "true", ["JPEG baseline", "JPEG-LS", "JPEG 2000 lossless", "JPEG XL lossless"]
)
def test_frames_of_another_syntax_than_stated(stated: str, true: str) -> None:
    frames = frames_of(8, 3)
    wrong = Syntax(SYNTAXES[stated].uid, SYNTAXES[true].encode)
    expected = opened(encapsulated(frames, SYNTAXES[true], "bot", 1)).values
    file = encapsulated(frames, wrong, "bot", 1)
    if stated == true:
        np.testing.assert_array_equal(opened(file), expected)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = opened(file).values
    np.testing.assert_array_equal(found, expected)
    told = [str(one.message) for one in caught if one.category is DicomWarning]
    assert told
    assert all("they are read so" in message for message in told)


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        (MPEG2MPML, "MPEG2"),
        (f"{UID}.4.102", "MPEG-4"),
        (f"{UID}.4.107", "HEVC"),
        (f"{UID}.7.1", "SMPTE"),
    ],
)
def test_videos_are_refused_by_name(uid: str, name: str) -> None:
    dataset = image(frames_of(8, 3))
    dataset.PixelData = encapsulate([b"\0\0\1\xb3 one stream "], has_bot=False)
    dataset["PixelData"].VR = "OB"
    file = file_of(dataset, uid)
    with pytest.raises(UnsupportedDicomError, match=rf"{name}.* does not hold single frames"):
        xr.open_dataset(file, engine="dicom")


@pytest.mark.filterwarnings("ignore:.*deflated as a whole")
@pytest.mark.parametrize(
    ("uid", "is_deflated"),
    [
        (f"{UID}.4.94", False),
        (f"{UID}.4.95", True),
        (f"{UID}.4.204", False),
        (f"{UID}.4.205", True),
    ],
)
def test_pixels_on_another_server_are_refused_by_name(uid: str, is_deflated: bool) -> None:
    dataset = image(frames_of(8, 3))
    dataset.PixelDataProviderURL = "http://images.example/1"
    body = elements(dataset, implicit=False, little=True)
    if is_deflated:
        deflater = zlib.compressobj(wbits=-15)
        body = deflater.compress(body) + deflater.flush()
    with pytest.raises(UnsupportedDicomError, match=r"JPIP.* does not hold single frames"):
        xr.open_dataset(meta_of(dataset, uid) + body, engine="dicom")


def test_fragments_that_nothing_assigns_to_frames() -> None:
    """RLE has no marker by which a frame begins, so a table or an item a frame is needed."""
    frames = frames_of(8, 1)
    encoded = [fragment for frame in frames for fragment in fragment_frame(rle(frame), 2)]
    dataset = image(frames)
    dataset.PixelData = encapsulate(encoded, has_bot=False)
    dataset["PixelData"].VR = "OB"
    file = content(lambda file: write(dataset, file, f"{UID}.5"))
    with pytest.raises(DicomError, match="frame"):
        opened(file).load()


# --- DCMTK, which shares no code with what is tested


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="DCMTK is not installed")
@pytest.mark.parametrize(
    "command",
    [
        ("dcmconv", "+tb"),
        ("dcmconv", "+td"),
        ("dcmcrle", "+fs", "1"),
        ("dcmcjpls", "+fs", "1"),
        ("dcmcjpeg", "+e1", "+fs", "1", "-ot"),
        ("dcmcjpeg", "+el", "-ot"),
    ],
    ids=" ".join,
)
@pytest.mark.filterwarnings("ignore:.*deflated as a whole")
def test_dcmtk_writes_the_same_pixels(command: tuple[str, ...], tmp_path: Path) -> None:
    source, target = tmp_path / "source.dcm", tmp_path / "target.dcm"
    cine(source, frames=4, compressed=False)
    subprocess.run([*command, str(source), str(target)], check=True, capture_output=True)
    assert dcmread(target).file_meta.TransferSyntaxUID != ExplicitVRLittleEndian
    np.testing.assert_array_equal(opened(target), highdicom.imread(source).pixel_array)
