"""Syntaxes that no codec here reads go to highdicom, and through it to pydicom's plugins."""

from __future__ import annotations

from highdicom.frame import decode_frame
from pydicom.uid import UID

from xarray_dicom.errors import UnsupportedDicomError
from xarray_dicom.pixels.codecs.base import Codec, Raster, Request

#: MPEG-2, MPEG-4, HEVC and SMPTE ST 2110 streams; JPIP references point elsewhere.
NOT_FRAMES = (
    *(f"1.2.840.10008.1.2.4.{n}" for n in range(100, 109)),
    "1.2.840.10008.1.2.7.",
    *(f"1.2.840.10008.1.2.4.{n}" for n in (94, 95, 204, 205)),
)


def require_frames(transfer_syntax: str) -> None:
    """Raise `UnsupportedDicomError` for videos, and for pixels that lie on a server of their own.

    Their frames can't be read one by one.
    """
    if transfer_syntax.startswith(NOT_FRAMES):
        name = UID(transfer_syntax).name
        raise UnsupportedDicomError(
            f"transfer syntax {name} does not hold single frames: videos and references to a "
            "JPIP server are not read"
        )


def _decode(request: Request) -> Raster:
    fmt = request.format
    name = UID(fmt.transfer_syntax).name
    require_frames(fmt.transfer_syntax)
    if not UID(fmt.transfer_syntax).is_transfer_syntax:
        raise UnsupportedDicomError(f"transfer syntax {name} is not one of DICOM's")
    try:
        pixels = decode_frame(
            bytes(request.codestream),
            fmt.transfer_syntax,
            rows=fmt.rows,
            columns=fmt.columns,
            samples_per_pixel=fmt.samples,
            bits_allocated=fmt.bits_allocated,
            bits_stored=fmt.bits_stored,
            photometric_interpretation=fmt.photometric,
            pixel_representation=fmt.pixel_representation,
            planar_configuration=fmt.planar if fmt.samples > 1 else None,
        )
    except (NotImplementedError, ModuleNotFoundError) as error:
        raise UnsupportedDicomError(f"transfer syntax {name} is not supported") from error
    return Raster(pixels, 0)


HIGHDICOM = Codec("highdicom", _decode)
