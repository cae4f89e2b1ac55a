"""Decoders by name: those of this package, and those that a package registers."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from highdicom.frame import decode_frame as highdicom_decode_frame
from numpy.typing import NDArray
from pydicom.pixels import get_decoder
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGLosslessSV1

from support.decoder_package import MODULE, installed_decoders
from support.decoding import decode_batch, decode_frame
from xarray_dicom.errors import CorruptDicomError, DicomError, UnsupportedDicomError
from xarray_dicom.pixel_format import PixelFormat
from xarray_dicom.pixels import (
    DEFAULT_DECODER,
    FrameDecoder,
    decoder_for,
    decoder_names,
    decoders,
    require_decoder,
)

SHAPE = (32, 24)
FORMAT = PixelFormat(JPEGBaseline8Bit, *SHAPE, 1, 8, 8, 0, "MONOCHROME2")
COLOUR = replace(FORMAT, samples=3, photometric="RGB")

JPEG_2000, JPEG_LS, RLE = (f"1.2.840.10008.1.2{end}" for end in (".4.90", ".4.80", ".5"))
JPEG_XL = "1.2.840.10008.1.2.4.110"
EXPLICIT, ENCAPSULATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.98"


def smooth(shape: tuple[int, ...], frame: int = 0) -> NDArray[np.uint8]:
    grid = np.indices(shape).sum(0)
    return ((grid * 3 + 20 * frame) % 256).astype(np.uint8)


def jpeg(image: NDArray[np.uint8], **options: object) -> bytes:
    space = "RGB" if image.ndim == 3 else None
    return bytes(
        imagecodecs.jpeg8_encode(image, 90, colorspace=space, outcolorspace=space, **options)
    )


def encoded(syntax: str, image: NDArray[np.uint8]) -> bytes:
    if syntax == JPEG_2000:
        return bytes(imagecodecs.jpeg2k_encode(image, 0, reversible=True, codecformat="J2K"))
    if syntax == JPEG_LS:
        return bytes(imagecodecs.jpegls_encode(image))
    if syntax == JPEG_XL:
        return bytes(imagecodecs.jpegxl_encode(image, lossless=True))
    return jpeg(image, lossless=syntax == JPEGLosslessSV1)


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    with installed_decoders(tmp_path / "site-packages") as folder:
        yield folder


def test_names() -> None:
    assert decoder_names() == [DEFAULT_DECODER, "highdicom"] == ["imagecodecs", "highdicom"]
    for name in decoder_names():
        require_decoder(name)


def test_names_of_others(package: Path) -> None:
    assert decoder_names()[:2] == ["imagecodecs", "highdicom"]
    assert decoder_names()[2:] == ["inverted", "missing", "number", "refusing"]
    sys.modules.pop(MODULE, None)
    for name in decoder_names():
        require_decoder(name)
    assert MODULE not in sys.modules


@pytest.mark.parametrize("resolve", [require_decoder, lambda name: decoder_for(name, FORMAT)])
def test_an_unknown_name(resolve: object, package: Path) -> None:
    with pytest.raises(DicomError) as caught:
        resolve("cuda")  # type: ignore[operator]
    assert type(caught.value) is DicomError
    message = str(caught.value)
    assert message.startswith("there is no decoder 'cuda', only 'imagecodecs', 'highdicom', 'inv")
    assert "xarray_dicom.decoders" in message


@pytest.mark.parametrize("name", ["imagecodecs", "highdicom"])
@pytest.mark.parametrize(
    ("syntax", "samples"),
    [*product((JPEGBaseline8Bit, JPEGLosslessSV1, JPEG_2000, JPEG_LS), (1, 3))],
)
def test_built_in_decoders_give_the_pixels_of_highdicom(
    name: str, syntax: str, samples: int
) -> None:
    fmt = replace(FORMAT if samples == 1 else COLOUR, transfer_syntax=syntax)
    images = [smooth(fmt.shape, frame) for frame in range(3)]
    codestreams = [encoded(syntax, image) for image in images]
    expected = np.stack(
        [
            highdicom_decode_frame(
                codestream, syntax, *SHAPE, samples, 8, 8, fmt.photometric, 0,
                planar_configuration=0 if samples == 3 else None,
            )
            for codestream in codestreams
        ]
    )  # fmt: skip
    decoder = decoder_for(name, fmt)
    assert decoder.frames_at_once == 1
    out = np.empty((3, *fmt.shape), np.uint8)
    decoder.decode_batch(codestreams, out)
    lossy = syntax == JPEGBaseline8Bit and name == "imagecodecs"
    np.testing.assert_allclose(out.astype(int), expected, atol=1 if lossy else 0)
    single = np.empty(fmt.shape, np.uint8)
    for codestream, frame in zip(codestreams, out, strict=True):
        np.testing.assert_array_equal(decoder.decode_frame(memoryview(codestream)), frame)
        assert decoder.decode_frame(codestream, out=single) is single
        np.testing.assert_array_equal(single, frame)


def test_highdicom_decodes_what_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def recording(content: bytes, syntax: str, **options: object) -> NDArray[np.generic]:
        calls.append(syntax)
        return highdicom_decode_frame(content, syntax, **options)

    plugins = sys.modules["xarray_dicom.pixels.codecs.pydicom_plugins"]
    monkeypatch.setattr(plugins, "decode_frame", recording)
    codestream = jpeg(smooth(SHAPE))
    FrameDecoder(FORMAT).decode_frame(codestream)
    assert calls == []
    decoder_for("highdicom", FORMAT).decode_frame(codestream)
    assert calls == [JPEGBaseline8Bit]
    # Frames of another syntax than stated are decoded as what they are.
    with pytest.warns(UserWarning, match="they are read so"):
        decoder_for("highdicom", replace(FORMAT, transfer_syntax=JPEG_2000)).decode_frame(
            codestream
        )
    assert calls == [JPEGBaseline8Bit] * 2


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEG_2000, JPEG_LS])
def test_highdicom_never_truncates_in_silence(syntax: str) -> None:
    fmt = replace(FORMAT, transfer_syntax=syntax)
    codestream = encoded(syntax, smooth(SHAPE))
    decoder = decoder_for("highdicom", fmt)
    for length in np.linspace(0, len(codestream) - 3, 9).astype(int).tolist():
        with pytest.raises(CorruptDicomError):
            decoder.decode_frame(codestream[:length])
    other = encoded(syntax, smooth((40, 24)))
    with pytest.raises(CorruptDicomError, match=r"40 x 24 pixels.*Rows \(0028,0010\)"):
        decoder.decode_frame(other)


def test_smaller_tiles_by_highdicom() -> None:
    small = smooth((20, 24))
    codestream = encoded(JPEG_LS, small)
    decoder = decoder_for("highdicom", replace(FORMAT, transfer_syntax=JPEG_LS))
    frame = decoder.decode_frame(codestream, out=np.full(SHAPE, 7, np.uint8), least=(20, 24))
    np.testing.assert_array_equal(frame[:20], small)
    assert not frame[20:].any()


def test_transfer_syntaxes_that_highdicom_does_not_decode_are_named() -> None:
    fmt = replace(FORMAT, transfer_syntax=JPEG_XL)
    with pytest.raises(UnsupportedDicomError, match="JPEG XL Lossless is not supported"):
        decoder_for("highdicom", fmt).decode_frame(encoded(JPEG_XL, smooth(SHAPE)))


def test_plugins_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = get_decoder(UID(JPEG_LS))
    monkeypatch.setattr(decoder, "_unavailable", {"pyjpegls": ("numpy", "pyjpegls>=1.2")})
    monkeypatch.setattr(decoder, "_available", {})
    fmt = replace(FORMAT, transfer_syntax=JPEG_LS)
    with pytest.raises(UnsupportedDicomError, match=r"JPEG-LS.*is not supported.*pyjpegls>=1\.2"):
        decoder_for("highdicom", fmt).decode_frame(encoded(JPEG_LS, smooth(SHAPE)))


@pytest.mark.parametrize("name", ["highdicom", "refusing", "not installed here"])
@pytest.mark.parametrize("syntax", [EXPLICIT, ENCAPSULATED])
def test_native_frames_are_never_given_to_a_decoder(name: str, syntax: str, package: Path) -> None:
    image = smooth(SHAPE)
    decoder = decoder_for(name, replace(FORMAT, transfer_syntax=syntax))
    np.testing.assert_array_equal(decoder.decode_frame(image.tobytes()), image)


def test_a_batch_is_decoded_in_one_call(package: Path) -> None:
    codestreams = [jpeg(smooth(COLOUR.shape, frame)) for frame in range(5)]
    out, _, batches = decode_batch("inverted", COLOUR, codestreams)
    assert batches[-1] == 5
    for codestream, frame in zip(codestreams, out, strict=True):
        np.testing.assert_array_equal(frame, 255 - imagecodecs.jpeg8_decode(codestream))


def test_batches_are_bounded(package: Path) -> None:
    assert decoder_for("inverted", FORMAT).frames_at_once == decoders.BATCH_BYTES // (32 * 24)
    large = replace(FORMAT, rows=65535, columns=65535)
    assert decoder_for("inverted", large).frames_at_once == 1


def test_a_registered_decoder_in_another_process(package: Path) -> None:
    codestreams = [jpeg(smooth(SHAPE, frame)) for frame in range(3)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        job = pool.submit(decode_batch, "inverted", FORMAT, codestreams)
        out, process, batches = job.result(timeout=120)
    assert process != os.getpid()
    assert batches == [3]
    for codestream, frame in zip(codestreams, out, strict=True):
        np.testing.assert_array_equal(frame, 255 - decode_frame(codestream, FORMAT))


def test_a_registered_decoder_in_threads(package: Path) -> None:
    codestreams = [jpeg(smooth(SHAPE, frame)) for frame in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(decode_batch, "inverted", FORMAT, codestreams) for _ in range(40)]
        outputs = [job.result()[0] for job in jobs]
    assert all(np.array_equal(out, outputs[0]) for out in outputs)


@pytest.mark.parametrize("fmt", [FORMAT, COLOUR])
def test_single_frames_by_a_registered_decoder(fmt: PixelFormat, package: Path) -> None:
    codestream = jpeg(smooth(fmt.shape))
    expected = 255 - decode_frame(codestream, fmt)
    decoder = decoder_for("inverted", fmt)
    np.testing.assert_array_equal(decoder.decode_frame(codestream), expected)
    out = np.empty(fmt.shape, np.uint8)
    assert decoder.decode_frame(codestream, out=out) is out
    np.testing.assert_array_equal(out, expected)
    wide = np.zeros((SHAPE[0], 2 * SHAPE[1], *fmt.shape[2:]), np.uint8)
    strided = wide[:, SHAPE[1] :]
    assert decoder.decode_frame(codestream, out=strided) is strided
    np.testing.assert_array_equal(strided, expected)
    assert not wide[:, : SHAPE[1]].any()


@pytest.mark.parametrize("given", [False, True])
def test_smaller_tiles_by_a_registered_decoder(given: bool, package: Path) -> None:
    small = smooth((20, 24))
    codestream = jpeg(small)
    decoder = decoder_for("inverted", FORMAT)
    out = np.full(SHAPE, 7, np.uint8) if given else None
    with pytest.raises(CorruptDicomError, match="cannot be decoded by 'inverted'"):
        decoder.decode_frame(codestream, out=out)
    frame = decoder.decode_frame(codestream, out=out, least=(20, 24))
    assert frame is out or not given
    np.testing.assert_array_equal(frame[:20], 255 - imagecodecs.jpeg8_decode(codestream))
    assert frame.shape == SHAPE
    assert not frame[20:].any()
    with pytest.raises(CorruptDicomError, match="20 x 24 pixels"):
        decoder.decode_frame(codestream, out=out, least=(21, 24))
    whole = jpeg(smooth(SHAPE))
    np.testing.assert_array_equal(
        decoder.decode_frame(whole, least=(20, 24)), decoder.decode_frame(whole)
    )


def test_errors_of_a_registered_decoder(package: Path) -> None:
    good = jpeg(smooth(SHAPE))
    decoder = decoder_for("inverted", FORMAT)
    out = np.empty((3, *SHAPE), np.uint8)
    with pytest.raises(CorruptDicomError, match="cannot be decoded by 'inverted'") as caught:
        decoder.decode_batch([good, b"no JPEG", good], out)
    assert caught.value.__cause__ is not None
    with pytest.raises(CorruptDicomError, match="cannot be decoded by 'inverted'"):
        decoder.decode_frame(b"no JPEG")
    with pytest.raises(UnsupportedDicomError, match="not decoded by graphics cards"):
        decoder_for("refusing", FORMAT).decode_batch([good], out[:1])


@pytest.mark.parametrize("name", ["missing", "number"])
def test_registered_decoders_that_are_no_functions(name: str, package: Path) -> None:
    with pytest.raises(DicomError, match=rf"'{name}' \({MODULE}:"):
        decoder_for(name, FORMAT)


def test_built_in_names_cannot_be_taken(package: Path) -> None:
    assert type(decoder_for("imagecodecs", FORMAT)) is FrameDecoder


def test_formats_that_are_not_read(package: Path) -> None:
    for name in ("imagecodecs", "highdicom", "inverted"):
        with pytest.raises(UnsupportedDicomError, match="CMYK"):
            decoder_for(name, replace(COLOUR, photometric="CMYK"))
