"""Bytes that are missing, damaged, hostile or of another kind."""

from __future__ import annotations

import resource
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.pixels import get_encoder

from support.decoding import decode_frame
from xarray_dicom.errors import CorruptDicomError, DicomError, UnsupportedDicomError
from xarray_dicom.pixels import PixelFormat, decode_native_run, unpack_bits
from xarray_dicom.pixels.codecs import CODECS
from xarray_dicom.transfer_syntax import TransferSyntax

UID = "1.2.840.10008.1.2"
SHAPE = (48, 40)


def pixel_format(
    syntax: str, samples: int = 1, shape: tuple[int, int] = SHAPE, photometric: str = ""
) -> PixelFormat:
    photometric = photometric or ("RGB" if samples == 3 else "MONOCHROME2")
    return PixelFormat(f"{UID}{syntax}", *shape, samples, 8, 8, 0, photometric)


def noise(samples: int) -> np.ndarray:
    shape = (*SHAPE, samples) if samples == 3 else SHAPE
    return np.random.default_rng(samples).integers(0, 256, shape).astype(np.uint8)


def rle(image: np.ndarray) -> bytes:
    encoder = get_encoder(f"{UID}.5")
    return encoder.encode(
        image,
        rows=SHAPE[0],
        columns=SHAPE[1],
        samples_per_pixel=3 if image.ndim == 3 else 1,
        number_of_frames=1,
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        photometric_interpretation="RGB" if image.ndim == 3 else "MONOCHROME2",
        planar_configuration=0,
        encoding_plugin="pydicom",
    )


def deflate(image: np.ndarray) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(image.tobytes()) + deflater.flush()


def jpeg(image: np.ndarray, **options: object) -> bytes:
    space = "RGB" if image.ndim == 3 else None
    return imagecodecs.jpeg8_encode(image, 90, colorspace=space, outcolorspace=space, **options)


ENCODERS = {
    ".1": lambda image: image.tobytes(),
    ".1.98": lambda image: image.tobytes(),
    ".8.1": deflate,
    ".5": rle,
    ".4.50": jpeg,
    ".4.70": lambda image: jpeg(image, lossless=True),
    ".4.80": imagecodecs.jpegls_encode,
    ".4.90": lambda image: imagecodecs.jpeg2k_encode(
        image, 0, reversible=True, codecformat="J2K"
    ),
    ".4.201": lambda image: imagecodecs.htj2k_encode(image, reversible=True),
    ".4.110": lambda image: imagecodecs.jpegxl_encode(image, lossless=True),
    ".4.111": lambda image: imagecodecs.jpegxl_encode_jpeg(jpeg(image)),
}  # fmt: skip
CASES = [(s, n) for s in ENCODERS for n in (1, 3)]
CODESTREAMS = {(s, n): bytes(ENCODERS[s](noise(n))) for s, n in CASES}


@pytest.mark.parametrize(("syntax", "samples"), CASES)
def test_truncation_is_never_silent(syntax: str, samples: int) -> None:
    codestream, fmt = CODESTREAMS[syntax, samples], pixel_format(syntax, samples)
    whole = decode_frame(codestream, fmt)
    for length in {0, 1, 2, 5, 20, *np.linspace(30, len(codestream) - 1, 25).astype(int).tolist()}:
        cut = codestream[:length]
        # Without an end marker nobody can tell zeros from pixels.
        for damaged in (cut, cut + b"\0\0") if syntax.startswith(".4") else (cut,):
            try:
                decoded = decode_frame(damaged, fmt)
            except CorruptDicomError:
                continue
            # Only padding, or nothing at all, may have been lost.
            assert len(codestream) - length <= 2
            np.testing.assert_array_equal(decoded, whole)


@pytest.mark.parametrize(("syntax", "samples"), CASES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), more=st.binary(max_size=3)
)
def test_damage_gives_a_frame_or_an_error(
    syntax: str, samples: int, place: float, value: int, more: bytes
) -> None:
    codestream, fmt = bytearray(CODESTREAMS[syntax, samples]), pixel_format(syntax, samples)
    at = int(place * len(codestream))
    codestream[at : at + 1 + len(more)] = bytes([value]) + more
    for least in (None, (1, 1)):
        try:
            decoded = decode_frame(codestream, fmt, least=least)
        except DicomError:
            continue
        assert decoded.shape == fmt.shape
        assert decoded.dtype == fmt.dtype


@pytest.mark.parametrize("syntax", [s for s in ENCODERS if s.startswith(".4")])
@pytest.mark.parametrize("padding", [b"\0", b"\0" * 5000])
def test_padding_after_the_end_is_passed_over(syntax: str, padding: bytes) -> None:
    fmt = pixel_format(syntax)
    codestream = CODESTREAMS[syntax, 1]
    expected = decode_frame(codestream, fmt)
    np.testing.assert_array_equal(decode_frame(codestream + padding, fmt), expected)


def test_junk_after_the_end_marker_is_passed_over() -> None:
    fmt = pixel_format(".4.50")
    codestream = CODESTREAMS[".4.50", 1]
    expected = decode_frame(codestream, fmt)
    np.testing.assert_array_equal(decode_frame(codestream + b"\xff\x00\x20junk", fmt), expected)


@pytest.mark.parametrize("syntax", [s for s in ENCODERS if s.startswith(".4")])
@pytest.mark.parametrize("shape", [(48, 39), (47, 40), (48, 41), (49, 40), (1000, 1000)])
def test_other_dimensions_are_refused(syntax: str, shape: tuple[int, int]) -> None:
    codestream = CODESTREAMS[syntax, 1]
    with pytest.raises(CorruptDicomError, match=r"48 x 40 pixels.*Rows \(0028,0010\)"):
        decode_frame(codestream, pixel_format(syntax, shape=shape))
    with pytest.raises(CorruptDicomError):
        decode_frame(codestream, pixel_format(syntax, samples=3))


@pytest.mark.parametrize(("syntax", "samples"), [c for c in CASES if c[0].startswith(".4")])
def test_smaller_tiles_are_placed_at_the_top_left(syntax: str, samples: int) -> None:
    codestream = CODESTREAMS[syntax, samples]
    tile = decode_frame(codestream, pixel_format(syntax, samples))
    fmt = pixel_format(syntax, samples, shape=(64, 50))
    out = np.full(fmt.shape, 7, np.uint8)
    for target in (None, out):
        frame = decode_frame(codestream, fmt, out=target, least=(48, 40))
        np.testing.assert_array_equal(frame[:48, :40], tile)
        assert (frame[48:] == 0).all()
        assert (frame[:, 40:] == 0).all()
    assert frame is out
    for least in ((49, 40), (48, 41)):
        with pytest.raises(CorruptDicomError, match="48 x 40 pixels"):
            decode_frame(codestream, fmt, least=least)


@pytest.mark.parametrize(("syntax", "samples"), CASES)
def test_output_may_be_strided(syntax: str, samples: int) -> None:
    codestream, fmt = CODESTREAMS[syntax, samples], pixel_format(syntax, samples)
    wide = np.zeros((SHAPE[0], SHAPE[1] * 2, *fmt.shape[2:]), np.uint8)
    out = wide[:, SHAPE[1] :]
    assert decode_frame(codestream, fmt, out=out) is out
    np.testing.assert_array_equal(out, decode_frame(codestream, fmt))
    assert not wide[:, : SHAPE[1]].any()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("syntax", list(ENCODERS))
def test_any_buffer_will_do(syntax: str, kind: type) -> None:
    codestream, fmt = CODESTREAMS[syntax, 1], pixel_format(syntax)
    expected = decode_frame(codestream, fmt)
    np.testing.assert_array_equal(decode_frame(kind(codestream), fmt), expected)


def _claiming(codestream: bytes, syntax: str, rows: int, columns: int) -> bytes:
    claimed = bytearray(codestream)
    if syntax in (".4.90", ".4.201"):
        claimed[8:16] = columns.to_bytes(4, "big") + rows.to_bytes(4, "big")
        return bytes(claimed)
    marker = {".4.50": b"\xff\xc0", ".4.70": b"\xff\xc3", ".4.80": b"\xff\xf7"}[syntax]
    at = claimed.index(marker)
    claimed[at + 5 : at + 9] = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return bytes(claimed)


@pytest.mark.parametrize("syntax", [".4.50", ".4.70", ".4.80", ".4.90", ".4.201"])
@pytest.mark.parametrize("declared", [SHAPE, (65500, 65500)])
def test_bombs_cost_nothing(syntax: str, declared: tuple[int, int]) -> None:
    bomb = _claiming(CODESTREAMS[syntax, 1], syntax, 65500, 65500)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with pytest.raises(CorruptDicomError, match=r"65500|cannot hold"):
        decode_frame(bomb, pixel_format(syntax, shape=declared))
    assert time.perf_counter() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_deflate_bombs_cost_nothing() -> None:
    deflater = zlib.compressobj(wbits=-15)
    bomb = b"".join(deflater.compress(bytes(2**20)) for _ in range(256)) + deflater.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptDicomError, match="deflate"):
        decode_frame(bomb, pixel_format(".8.1"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_recompressed_jpeg_bombs_cost_nothing() -> None:
    plain = jpeg(noise(3))
    metadata = (b"\xff\xe5\xff\xff" + bytes(65533)) * 800
    bomb = imagecodecs.jpegxl_encode_jpeg(plain[:2] + metadata + plain[2:])
    with pytest.raises(CorruptDicomError, match="JPEG XL"):
        decode_frame(bomb, pixel_format(".4.111", 3))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("syntax", [".5", ".4.50", ".4.70", ".4.80", ".4.90", ".4.201"])
def test_highdicom_stands_in_for_a_codec_that_is_not_compiled_in(
    syntax: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fmt, codestream = pixel_format(syntax, samples), CODESTREAMS[syntax, samples]
    expected = decode_frame(codestream, fmt).astype(int)
    family = TransferSyntax.of(fmt.transfer_syntax).codec
    monkeypatch.setitem(CODECS, family, replace(CODECS[family], available=lambda: False))
    atol = 1 if syntax == ".4.50" else 0
    np.testing.assert_allclose(decode_frame(codestream, fmt).astype(int), expected, atol=atol)
    with pytest.raises(CorruptDicomError):
        decode_frame(codestream[:50], fmt)


@pytest.mark.parametrize("syntax", [".1", ".2"])
def test_native_frames_that_are_too_short(syntax: str) -> None:
    fmt = pixel_format(syntax, shape=(65535, 65535))
    for attempt in (
        lambda: decode_frame(bytes(256), fmt),
        lambda: decode_native_run(bytes(256), fmt, 4),
    ):
        with pytest.raises(CorruptDicomError, match="only 256 are present"):
            attempt()
    with pytest.raises(CorruptDicomError, match="1-bit pixels"):
        unpack_bits(bytes(3), 4, 21)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (".4.100", "MPEG2"),
        (".4.102", "MPEG-4"),
        (".4.107", "HEVC"),
        (".7.1", "SMPTE ST 2110"),
        (".4.94", "JPIP"),
        (".4.52", "JPEG Extended"),
    ],
)
def test_syntaxes_that_are_not_read_are_named(syntax: str, name: str) -> None:
    with pytest.raises(UnsupportedDicomError, match=name):
        decode_frame(bytes(100), pixel_format(syntax))


@pytest.mark.parametrize("photometric", ["YBR_PARTIAL_422", "YBR_PARTIAL_420", "CMYK", "HSV"])
def test_colour_that_is_not_read_is_named(photometric: str) -> None:
    fmt = pixel_format(".1", 3, photometric=photometric)
    with pytest.raises(UnsupportedDicomError, match=photometric):
        decode_frame(bytes(fmt.frame_nbytes), fmt)


@pytest.mark.parametrize("syntax", [".1", ".4.50", ".5"])
def test_odd_depths_are_named(syntax: str) -> None:
    fmt = PixelFormat(f"{UID}{syntax}", 4, 4, 1, 24, 24, 0, "MONOCHROME2")
    with pytest.raises(UnsupportedDicomError, match="Bits Allocated"):
        decode_frame(bytes(48), fmt)


def test_more_precision_than_is_allocated() -> None:
    codestream = imagecodecs.jpeg2k_encode(
        noise(1).astype(np.uint16) * 200, 0, reversible=True, codecformat="J2K"
    )
    with pytest.raises(CorruptDicomError, match="Bits Allocated"):
        decode_frame(codestream, pixel_format(".4.90"))


def test_threads_do_not_disturb_each_other() -> None:
    expected = {case: decode_frame(CODESTREAMS[case], pixel_format(*case)) for case in CASES}

    def decode(case: tuple[str, int]) -> bool:
        frame = decode_frame(CODESTREAMS[case], pixel_format(*case))
        return np.array_equal(frame, expected[case])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(decode, CASES * 20))
