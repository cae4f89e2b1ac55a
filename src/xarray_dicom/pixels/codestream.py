"""Headers of codestreams, read before a codec may allocate anything."""

from __future__ import annotations

from dataclasses import dataclass

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.pixel_format import Buffer

#: Bytes after the end marker that are ignored, apart from any number of zeros.
TRAILING_BYTES = 64

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_JXL_SIGNATURE = b"\x00\x00\x00\x0cJXL "

#: First bytes of each family of codestreams; JPEG-LS starts as JPEG does.
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    _JP2_SIGNATURE: "JPEG 2000",
    _JXL_SIGNATURE: "JPEG XL",
    b"\xff\x0a": "JPEG XL",
}

# SOF0 to SOF15 without DHT, JPG and DAC; SOF55 is JPEG-LS.
_JPEG_LS = 0xF7
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), _JPEG_LS} - {0xC4, 0xC8, 0xCC})
_START_OF_SCAN = 0xDA
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class CodestreamHeader:
    """Header of one compressed frame.

    Attributes
    ----------
    rows, columns, components
        Shape of the image in the codestream.
    precision
        Bits of a sample; 0 where the format has no such field.
    signed
        True if samples are signed.
    component_ids
        JPEG only; the letters ``RGB`` say that the components are not YCbCr.
    jfif
        True if a JPEG has a JFIF marker, which promises YCbCr.
    process
        JPEG only; the second byte of the start-of-frame marker.
    multiple_component_transform
        JPEG 2000 only; True if the decoder itself converts components to RGB.
    nbytes
        Length of the beginning of the codestream that all of this is read from: another one
        that starts with the same bytes has the same header. 0 where it is undefined.
    """

    rows: int
    columns: int
    components: int
    precision: int = 0
    signed: bool = False
    component_ids: bytes = b""
    jfif: bool = False
    process: int = 0
    multiple_component_transform: bool = False
    nbytes: int = 0


def _uint(buffer: Buffer, offset: int, size: int) -> int:
    field = buffer[offset : offset + size]
    if len(field) != size:
        raise CorruptDicomError("its codestream ends inside the header")
    return int.from_bytes(field, "big")


def codestream_family(codestream: Buffer) -> str | None:
    """Return the family of codecs that a codestream starts like; None if like none."""
    start = bytes(codestream[:8])
    name = next((name for begin, name in _SIGNATURES.items() if start.startswith(begin)), None)
    if name != "JPEG":
        return name
    try:
        return "JPEG-LS" if jpeg_header(codestream).process == _JPEG_LS else name
    except CorruptDicomError:
        return None


def require_end_marker(codestream: Buffer) -> None:
    """Raise `CorruptDicomError` unless the marker FFD9 (EOI, EOC) ends a codestream.

    Codecs of JPEG and HTJ2K make up missing pixels without an error. The marker cannot occur
    inside entropy-coded bytes.
    """
    end = len(codestream)
    if codestream[end - 2 : end] == b"\xff\xd9":
        return
    window = 4096
    while end > 0:
        tail = bytes(codestream[max(0, end - window) : end])
        filled = len(tail.rstrip(b"\0"))
        if filled:
            end -= len(tail) - filled
            break
        end -= len(tail)
    if b"\xff\xd9" not in bytes(codestream[max(0, end - TRAILING_BYTES - 2) : end]):
        raise CorruptDicomError("its codestream has no end marker: bytes are missing at its end")


def jpeg_header(codestream: Buffer) -> CodestreamHeader:
    """Read the markers of a JPEG or JPEG-LS codestream up to the frame header.

    Raises
    ------
    CorruptDicomError
        If there is none.
    """
    if bytes(codestream[:2]) != b"\xff\xd8":
        raise CorruptDicomError("its codestream does not start with a JPEG start-of-image marker")
    offset, jfif = 2, False
    while True:
        if _uint(codestream, offset, 1) != 0xFF:
            raise CorruptDicomError(f"its JPEG header has no marker at byte {offset}")
        marker = _uint(codestream, offset + 1, 1)
        if marker == 0xFF:
            offset += 1
            continue
        if marker in _BARE_MARKERS:
            offset += 2
            continue
        length = _uint(codestream, offset + 2, 2)
        if marker == 0xE0:
            jfif = jfif or bytes(codestream[offset + 4 : offset + 8]) == b"JFIF"
        elif marker in _START_OF_FRAME:
            components = _uint(codestream, offset + 9, 1)
            ids = bytes(codestream[offset + 10 : offset + 10 + 3 * components : 3])
            return CodestreamHeader(
                rows=_uint(codestream, offset + 5, 2),
                columns=_uint(codestream, offset + 7, 2),
                components=components,
                precision=_uint(codestream, offset + 4, 1),
                component_ids=ids,
                jfif=jfif,
                process=marker,
                nbytes=offset + 10 + 3 * components,
            )
        elif marker == _START_OF_SCAN or length < 2:
            raise CorruptDicomError("its JPEG codestream has no frame header")
        offset += 2 + length


def jpeg2000_header(codestream: Buffer) -> CodestreamHeader:
    """Read SIZ and COD of a JPEG 2000 codestream, bare or in a JP2 file.

    Raises
    ------
    CorruptDicomError
        If they are missing.
    """
    offset = _box(codestream, b"jp2c") if bytes(codestream[:8]) == _JP2_SIGNATURE else 0
    if bytes(codestream[offset : offset + 4]) != b"\xff\x4f\xff\x51":
        raise CorruptDicomError("its codestream does not start with JPEG 2000 markers SOC and SIZ")
    columns = _uint(codestream, offset + 8, 4) - _uint(codestream, offset + 16, 4)
    rows = _uint(codestream, offset + 12, 4) - _uint(codestream, offset + 20, 4)
    components = _uint(codestream, offset + 40, 2)
    sample = _uint(codestream, offset + 42, 1)
    transform, nbytes = _component_transform(codestream, offset + 2)
    return CodestreamHeader(
        rows=rows,
        columns=columns,
        components=components,
        precision=(sample & 0x7F) + 1,
        signed=bool(sample & 0x80),
        multiple_component_transform=transform,
        nbytes=nbytes,
    )


def _component_transform(codestream: Buffer, offset: int) -> tuple[bool, int]:
    """Return True if COD, after the marker at `offset`, sets the transform, and its end."""
    while (marker := _uint(codestream, offset, 2)) != 0xFF90:
        length = _uint(codestream, offset + 2, 2)
        if marker == 0xFF52:
            return _uint(codestream, offset + 8, 1) != 0, offset + 9
        if marker < 0xFF00 or length < 2:
            break
        offset += 2 + length
    raise CorruptDicomError("its JPEG 2000 codestream has no coding style marker (COD)")


def _box(container: Buffer, box_type: bytes) -> int:
    """Return the offset of the content of the first box of a type in a JP2 or JPEG XL file."""
    offset = 0
    while offset < len(container):
        length = _uint(container, offset, 4)
        found_type = bytes(container[offset + 4 : offset + 8])
        start = offset + 8
        if length == 1:
            length, start = _uint(container, offset + 8, 8), offset + 16
        if found_type == box_type:
            return start
        if length < 8:
            break
        offset += length
    raise CorruptDicomError(f"its container has no {box_type.decode()} box")


# Bits of a dimension for each value of its selector (ISO/IEC 18181-1, SizeHeader).
_JXL_BITS = (9, 13, 18, 30)
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def jpegxl_size(codestream: Buffer) -> tuple[int, int]:
    """Read rows and columns from the size header of a JPEG XL codestream or container.

    Raises
    ------
    CorruptDicomError
        If it has no size header.
    """
    offset = 0
    if bytes(codestream[:8]) == _JXL_SIGNATURE:
        try:
            offset = _box(codestream, b"jxlc")
        except CorruptDicomError:
            # The first partial box starts with its 4-byte sequence number.
            offset = _box(codestream, b"jxlp") + 4
    if bytes(codestream[offset : offset + 2]) != b"\xff\x0a":
        raise CorruptDicomError("its codestream does not start with a JPEG XL signature")
    bits = int.from_bytes(bytes(codestream[offset + 2 : offset + 14]), "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def dimension() -> int:
        return 8 * (take(5) + 1) if small else take(_JXL_BITS[take(2)]) + 1

    rows = dimension()
    if ratio := take(3):
        numerator, denominator = _JXL_RATIOS[ratio - 1]
        return rows, rows * numerator // denominator
    return rows, dimension()
