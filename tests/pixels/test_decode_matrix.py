"""Transfer syntax by depth by photometric interpretation, written by other encoders."""

from __future__ import annotations

import warnings
import zlib
from itertools import product

import imagecodecs
import numpy as np
import pytest
from highdicom.frame import decode_frame as highdicom_decode_frame
from highdicom.frame import encode_frame as highdicom_encode_frame
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import UID

from support.decoding import decode_frame
from xarray_dicom.pixels import PixelFormat, decode_native_run

ROWS, COLUMNS = 34, 46

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
ENCAPSULATED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_12 = "1.2.840.10008.1.2.4.51"
LOSSLESS = "1.2.840.10008.1.2.4.57"
LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.91"
HTJ2K = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSY = "1.2.840.10008.1.2.4.203"
JPEG_XL = "1.2.840.10008.1.2.4.110"
JPEG_XL_RECOMPRESSED = "1.2.840.10008.1.2.4.111"


def pixel_format(
    syntax: str,
    *,
    samples: int = 1,
    allocated: int = 8,
    stored: int = 0,
    signed: int = 0,
    photometric: str = "",
    planar: int = 0,
    shape: tuple[int, int] = (ROWS, COLUMNS),
    element: str = "PixelData",
    word_swapped: bool = False,
) -> PixelFormat:
    stored = stored or allocated
    return PixelFormat(
        transfer_syntax=syntax,
        rows=shape[0],
        columns=shape[1],
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        pixel_representation=signed,
        photometric=photometric or ("RGB" if samples == 3 else "MONOCHROME2"),
        planar=planar,
        element=element,
        word_swapped=word_swapped,
    )


def pydicom_frame(
    content: bytes, fmt: PixelFormat, plugin: str = "", **options: object
) -> np.ndarray:
    """The frame as pydicom decodes it, colour as RGB."""
    if UID(fmt.transfer_syntax).is_encapsulated:
        content = encapsulate([content], has_bot=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame, _ = get_decoder(fmt.transfer_syntax).as_array(
            content,
            rows=fmt.rows,
            columns=fmt.columns,
            number_of_frames=1,
            samples_per_pixel=fmt.samples,
            bits_allocated=fmt.bits_allocated,
            bits_stored=fmt.bits_stored,
            photometric_interpretation=fmt.photometric,
            pixel_representation=fmt.pixel_representation,
            pixel_keyword=fmt.element,
            planar_configuration=fmt.planar,
            decoding_plugin=plugin,
            **options,
        )
    return frame


def texture(fmt: PixelFormat, seed: int = 0) -> np.ndarray:
    """A smooth image with noise that uses the whole range of Bits Stored."""
    y, x = np.mgrid[: fmt.rows, : fmt.columns]
    channels = np.stack([y + x, 2 * y - x, 3 * x], -1) * (1 << fmt.bits_stored) / 90
    noise = np.random.default_rng(seed).integers(
        0, max(1, (1 << fmt.bits_stored) // 8), channels.shape
    )
    unsigned = (channels + noise).astype(np.int64) % (1 << fmt.bits_stored)
    if fmt.pixel_representation:
        unsigned -= 1 << (fmt.bits_stored - 1)
    image = unsigned.astype(fmt.dtype)
    return image if fmt.samples == 3 else np.ascontiguousarray(image[..., 0])


def assert_identical(actual: np.ndarray, expected: np.ndarray, fmt: PixelFormat) -> None:
    assert actual.dtype == fmt.dtype
    assert actual.shape == fmt.shape
    np.testing.assert_array_equal(actual, expected)


NATIVE = [
    (syntax, allocated, stored, signed, samples, planar, photometric)
    for syntax, (allocated, stored), signed in product(
        (IMPLICIT, EXPLICIT, DEFLATED, BIG),
        ((8, 8), (8, 5), (16, 16), (16, 12), (32, 32), (32, 20)),
        (0, 1),
    )
    for samples, planar, photometric in (
        (1, 0, "MONOCHROME1"),
        (1, 0, "PALETTE COLOR"),
        (3, 0, "RGB"),
        (3, 1, "RGB"),
        (3, 0, "YBR_FULL"),
        (3, 1, "YBR_FULL"),
        (3, 0, "YBR_FULL_422"),
    )
    # YCbCr is defined for 8 unsigned bits.
    if "YBR" not in photometric or (stored == 8 and not signed)
]


@pytest.mark.parametrize(
    ("syntax", "allocated", "stored", "signed", "samples", "planar", "photometric"), NATIVE
)
def test_native(
    syntax: str,
    allocated: int,
    stored: int,
    signed: int,
    samples: int,
    planar: int,
    photometric: str,
) -> None:
    fmt = pixel_format(
        syntax,
        allocated=allocated,
        stored=stored,
        signed=signed,
        samples=samples,
        planar=planar,
        photometric=photometric,
    )
    # Random bytes: the unused high bits hold anything, as overlays once did.
    content = np.random.default_rng(stored).bytes(2 * fmt.frame_bits // 8)
    frames = [content[: fmt.frame_bits // 8], content[fmt.frame_bits // 8 :]]
    expected = [pydicom_frame(frame, fmt) for frame in frames]
    assert_identical(decode_frame(frames[1], fmt), expected[1], fmt)
    run = decode_native_run(content, fmt, 2)
    assert run.dtype == fmt.dtype
    np.testing.assert_array_equal(run, np.stack(expected))


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u8", "i8"])
def test_native_wide(syntax: str, dtype: str) -> None:
    element = {"f4": "FloatPixelData", "f8": "DoubleFloatPixelData"}.get(dtype, "PixelData")
    fmt = pixel_format(
        syntax, allocated=8 * int(dtype[1]), signed=int(dtype == "i8"), element=element
    )
    stored = np.random.default_rng(1).normal(0, 1e6, fmt.shape).astype(dtype)
    content = stored.astype((">" if syntax == BIG else "<") + dtype).tobytes()
    assert_identical(decode_frame(content, fmt), stored, fmt)


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (3, 3), (1, 1)])
def test_one_bit_frames_start_inside_bytes(shape: tuple[int, int]) -> None:
    fmt = pixel_format(EXPLICIT, allocated=1, shape=shape)
    frames = np.random.default_rng(2).integers(0, 2, (9, *shape)).astype(np.uint8)
    content = np.packbits(frames.ravel(), bitorder="little").tobytes()
    np.testing.assert_array_equal(decode_native_run(content, fmt, 9), frames)
    for index, expected in enumerate(frames):
        first, bit = divmod(index * fmt.frame_bits, 8)
        last = -(-(index + 1) * fmt.frame_bits // 8)
        assert_identical(decode_frame(content[first:last], fmt, bit=bit), expected, fmt)
        np.testing.assert_array_equal(
            decode_native_run(content[first:], fmt, 9 - index, bit), frames[index:]
        )


@pytest.mark.parametrize("shape", [(4, 6), (3, 5)])
def test_bytes_in_big_endian_words(shape: tuple[int, int]) -> None:
    fmt = pixel_format(BIG, shape=shape, word_swapped=True)
    frames = np.random.default_rng(3).integers(0, 256, (3, *shape)).astype(np.uint8)
    flat = np.append(frames.ravel(), np.zeros(frames.size % 2, np.uint8))
    content = flat.view(np.uint16).byteswap().tobytes()
    np.testing.assert_array_equal(decode_native_run(content, fmt, 3), frames)
    for index, expected in enumerate(frames):
        start = index * expected.size
        words = content[start // 2 * 2 : -(-(start + expected.size) // 2) * 2]
        assert_identical(decode_frame(words, fmt, bit=start % 2 * 8), expected, fmt)
        padded = content[start : start + expected.size] if start % 2 == 0 else b""
        if padded and expected.size % 2 == 0:
            whole = pydicom_frame(padded, fmt, pixel_vr="OW")
            np.testing.assert_array_equal(whole, expected)


def test_native_run_is_a_view_where_nothing_changes() -> None:
    fmt = pixel_format(EXPLICIT, allocated=16)
    content = bytes(fmt.frame_nbytes * 3)
    run = decode_native_run(content, fmt, 3)
    assert np.shares_memory(run, np.frombuffer(content, np.uint8))
    assert not run.flags.writeable


@pytest.mark.parametrize(("allocated", "samples"), [(1, 1), *product((8, 16, 32), (1, 3))])
@pytest.mark.parametrize("syntax", [ENCAPSULATED, DEFLATED_FRAME])
def test_frames_in_items(syntax: str, allocated: int, samples: int) -> None:
    fmt = pixel_format(syntax, allocated=allocated, samples=samples)
    image = texture(fmt)
    packed = np.packbits(image.ravel(), bitorder="little") if allocated == 1 else image
    content = packed.tobytes()
    if syntax == DEFLATED_FRAME:
        deflater = zlib.compressobj(wbits=-15)
        content = deflater.compress(content) + deflater.flush()
        content += b"\0" * (len(content) % 2)
    assert_identical(decode_frame(content, fmt), image, fmt)


@pytest.mark.parametrize(
    ("allocated", "stored", "signed", "photometric"),
    [
        (8, 8, 0, "MONOCHROME2"),
        (8, 8, 1, "MONOCHROME2"),
        (16, 12, 0, "MONOCHROME1"),
        (16, 12, 1, "MONOCHROME2"),
        (8, 8, 0, "RGB"),
        (16, 16, 0, "RGB"),
        (8, 8, 0, "YBR_FULL"),
        (8, 8, 0, "PALETTE COLOR"),
    ],
)
def test_rle(allocated: int, stored: int, signed: int, photometric: str) -> None:
    samples = 3 if photometric in ("RGB", "YBR_FULL") else 1
    fmt = pixel_format(
        RLE,
        allocated=allocated,
        stored=stored,
        signed=signed,
        samples=samples,
        photometric=photometric,
    )
    codestream = get_encoder(RLE).encode(
        texture(fmt),
        rows=fmt.rows,
        columns=fmt.columns,
        samples_per_pixel=samples,
        number_of_frames=1,
        bits_allocated=allocated,
        bits_stored=stored,
        pixel_representation=signed,
        photometric_interpretation=photometric,
        planar_configuration=0,
        encoding_plugin="pydicom",
    )
    expected = pydicom_frame(codestream, fmt)
    assert_identical(decode_frame(codestream, fmt), expected, fmt)
    if photometric != "YBR_FULL":
        np.testing.assert_array_equal(expected, texture(fmt))


@pytest.mark.parametrize(
    ("syntax", "allocated", "stored", "signed", "samples"),
    [
        (syntax, *depth, samples)
        for syntax in (LOSSLESS, LOSSLESS_SV1)
        for depth in ((8, 8, 0), (16, 10, 0), (16, 12, 0), (16, 16, 0), (16, 16, 1), (16, 12, 1))
        for samples in (1, 3)
    ],
)
def test_jpeg_lossless(syntax: str, allocated: int, stored: int, signed: int, samples: int) -> None:
    fmt = pixel_format(syntax, allocated=allocated, stored=stored, signed=signed, samples=samples)
    image = texture(fmt)
    unsigned = image.view(f"u{image.itemsize}") & ((1 << stored) - 1)
    space = "RGB" if samples == 3 else None
    codestream = imagecodecs.jpeg8_encode(
        unsigned, lossless=True, bitspersample=stored, colorspace=space, outcolorspace=space
    )
    assert_identical(decode_frame(codestream, fmt), image, fmt)
    np.testing.assert_array_equal(pydicom_frame(codestream, fmt), image)


def test_jpeg_lossless_ycbcr_is_converted_as_highdicom_does() -> None:
    fmt = pixel_format(LOSSLESS_SV1, samples=3, photometric="YBR_FULL")
    codestream = imagecodecs.jpeg8_encode(
        texture(fmt), lossless=True, colorspace="RGB", outcolorspace="RGB"
    )
    codestream = _without_markers(codestream, (1, 2, 3))
    expected = highdicom_decode_frame(
        codestream, LOSSLESS_SV1, fmt.rows, fmt.columns, 3, 8, 8, "YBR_FULL", 0, 0
    )
    assert_identical(decode_frame(codestream, fmt), expected, fmt)


JPEG_MARKERS = {
    "none": b"",
    "JFIF": b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00",
    "Adobe RGB": b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00\x00",
    "Adobe YCbCr": b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00\x01",
}


def _without_markers(codestream: bytes, ids: tuple[int, int, int]) -> bytes:
    """Drop APP segments and give the components other names."""
    kept, offset = bytearray(codestream[:2]), 2
    while True:
        length = int.from_bytes(codestream[offset + 2 : offset + 4], "big") + 2
        marker, segment = codestream[offset + 1], bytearray(codestream[offset : offset + length])
        if marker in (0xC0, 0xC1, 0xC3):
            segment[10:19:3] = bytes(ids)
        if marker == 0xDA:
            segment[5:11:2] = bytes(ids)
            return bytes(kept + segment + codestream[offset + length :])
        if not 0xE0 <= marker <= 0xEF:
            kept += segment
        offset += length


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("marker", JPEG_MARKERS)
@pytest.mark.parametrize("ids", [b"\x01\x02\x03", b"RGB"])
def test_colour_of_jpeg_follows_the_data_set(photometric: str, marker: str, ids: bytes) -> None:
    fmt = pixel_format(JPEG, samples=3, photometric=photometric)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    image = np.stack([7 * y, 5 * x, 3 * (x + y)], -1).astype(np.uint8)
    bare = imagecodecs.jpeg8_encode(
        image, 95, colorspace="RGB", outcolorspace="RGB", subsampling="444"
    )
    bare = _without_markers(bare, tuple(ids))
    codestream = bare[:2] + JPEG_MARKERS[marker] + bare[2:]
    expected = pydicom_frame(codestream, fmt, "pylibjpeg").astype(int)
    actual = decode_frame(codestream, fmt)
    # The oracle's inverse transform rounds differently, and colour adds another level.
    np.testing.assert_allclose(actual.astype(int), expected, atol=2)


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_subsampled_jpeg(subsampling: str) -> None:
    fmt = pixel_format(JPEG, samples=3, photometric="YBR_FULL_422")
    codestream = imagecodecs.jpeg8_encode(texture(fmt), 80, subsampling=subsampling)
    expected = pydicom_frame(codestream, fmt, "pillow").astype(int)
    np.testing.assert_allclose(decode_frame(codestream, fmt).astype(int), expected, atol=1)


def test_twelve_bit_jpeg() -> None:
    fmt = pixel_format(JPEG_12, allocated=16, stored=12)
    image = np.add.outer(np.arange(ROWS), np.arange(COLUMNS)).astype(np.uint16) * 40
    codestream = imagecodecs.jpeg8_encode(image, 98, bitspersample=12)
    expected = pydicom_frame(codestream, fmt, "pylibjpeg")
    np.testing.assert_allclose(decode_frame(codestream, fmt).astype(int), expected, atol=1)


@pytest.mark.parametrize(
    ("allocated", "stored", "signed", "samples"),
    [(8, 8, 0, 1), (8, 7, 1, 1), (16, 12, 0, 1), (16, 16, 1, 1), (16, 13, 1, 1), (8, 8, 0, 3)],
)
def test_jpeg_ls(allocated: int, stored: int, signed: int, samples: int) -> None:
    fmt = pixel_format(JPEG_LS, allocated=allocated, stored=stored, signed=signed, samples=samples)
    image = texture(fmt)
    codestream = get_encoder(JPEG_LS).encode(
        image,
        rows=fmt.rows,
        columns=fmt.columns,
        samples_per_pixel=samples,
        number_of_frames=1,
        bits_allocated=allocated,
        bits_stored=stored,
        pixel_representation=signed,
        photometric_interpretation=fmt.photometric,
        planar_configuration=0,
    )
    assert_identical(decode_frame(codestream, fmt), image, fmt)
    np.testing.assert_array_equal(pydicom_frame(codestream, fmt), image)


@pytest.mark.parametrize(
    ("syntax", "allocated", "stored"),
    [
        *((JPEG_2000, *d) for d in ((8, 8), (8, 6), (16, 8), (16, 12), (16, 13), (16, 16))),
        # This encoder knows whole bytes only.
        *((HTJ2K, *depth) for depth in ((8, 8), (16, 8), (16, 16))),
    ],
)
@pytest.mark.parametrize(("signed", "codestream_signed"), [*product((0, 1), (0, 1))])
def test_jpeg_2000_sign(
    syntax: str, allocated: int, stored: int, signed: int, codestream_signed: int
) -> None:
    fmt = pixel_format(syntax, allocated=allocated, stored=stored, signed=signed)
    size = 1 if stored <= 8 else 2
    values = texture(pixel_format(syntax, allocated=8 * size, stored=stored, signed=1))
    if not codestream_signed:
        values = values.view(f"u{size}") & ((1 << stored) - 1)
    if syntax == HTJ2K:
        codestream = imagecodecs.htj2k_encode(values, reversible=True)
    else:
        codestream = imagecodecs.jpeg2k_encode(
            values, 0, reversible=True, codecformat="J2K", bitspersample=stored
        )
    expected = pydicom_frame(codestream, fmt)
    assert_identical(decode_frame(codestream, fmt), expected, fmt)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("transform", [False, True])
def test_colour_of_jpeg_2000(photometric: str, transform: bool) -> None:
    fmt = pixel_format(JPEG_2000, samples=3, photometric=photometric)
    codestream = imagecodecs.jpeg2k_encode(
        texture(fmt), 0, reversible=True, codecformat="J2K", mct=transform
    )
    if transform and photometric.startswith("YBR_FULL"):
        # What the codestream has turned into RGB is not turned again, though pydicom does.
        expected = pydicom_frame(codestream, pixel_format(JPEG_2000, samples=3))
    else:
        expected = pydicom_frame(codestream, fmt)
    assert_identical(decode_frame(codestream, fmt), expected, fmt)


@pytest.mark.parametrize(("syntax", "samples"), [*product((JPEG_2000_LOSSY, HTJ2K_LOSSY), (1, 3))])
def test_lossy_jpeg_2000(syntax: str, samples: int) -> None:
    photometric = "YBR_ICT" if samples == 3 else "MONOCHROME2"
    fmt = pixel_format(syntax, samples=samples, photometric=photometric)
    image = texture(fmt)
    codestream = (
        imagecodecs.htj2k_encode(image, reversible=False)
        if syntax == HTJ2K_LOSSY
        else imagecodecs.jpeg2k_encode(image, 40, codecformat="J2K")
    )
    actual, expected = decode_frame(codestream, fmt), pydicom_frame(codestream, fmt)
    np.testing.assert_allclose(actual.astype(int), expected.astype(int), atol=1)


def test_one_bit_jpeg_2000() -> None:
    fmt = pixel_format(JPEG_2000, allocated=1, shape=(64, 64))
    image = np.random.default_rng(4).integers(0, 2, fmt.shape).astype(np.uint8)
    codestream = highdicom_encode_frame(image, JPEG_2000, 1, 1, "MONOCHROME2", 0)
    assert_identical(decode_frame(codestream, fmt), image, fmt)


def test_jpeg_2000_in_a_jp2_file() -> None:
    fmt = pixel_format(JPEG_2000, allocated=16)
    image = texture(fmt)
    codestream = imagecodecs.jpeg2k_encode(image, 0, reversible=True, codecformat="JP2")
    assert_identical(decode_frame(codestream, fmt), image, fmt)


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(("allocated", "samples"), [*product((8, 16), (1, 3))])
def test_jpeg_xl(container: bool, allocated: int, samples: int) -> None:
    fmt = pixel_format(JPEG_XL, allocated=allocated, samples=samples)
    image = texture(fmt)
    codestream = imagecodecs.jpegxl_encode(image, lossless=True, usecontainer=container)
    assert_identical(decode_frame(codestream, fmt), image, fmt)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_recompressed_jpeg_is_the_jpeg(photometric: str) -> None:
    original = pixel_format(JPEG, samples=3, photometric=photometric)
    ycbcr = photometric != "RGB"
    codestream = imagecodecs.jpeg8_encode(
        texture(original), 80, colorspace="RGB", outcolorspace="YCBCR" if ycbcr else "RGB"
    )
    recompressed = imagecodecs.jpegxl_encode_jpeg(codestream)
    fmt = pixel_format(JPEG_XL_RECOMPRESSED, samples=3, photometric=photometric)
    expected = decode_frame(codestream, original)
    assert_identical(decode_frame(recompressed, fmt), expected, fmt)
