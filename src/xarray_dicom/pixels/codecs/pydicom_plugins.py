"""Decoding by highdicom, which calls the plugins that pydicom finds installed."""

from __future__ import annotations

from highdicom.frame import decode_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from xarray_dicom.errors import UnsupportedDicomError
from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.transfer_syntax import TRANSFER_SYNTAXES, TransferSyntax, require_frames


def _require_plugin(uid: str) -> None:
    """Raise `UnsupportedDicomError` unless a plugin for a transfer syntax is installed."""
    require_frames(uid)
    name = TransferSyntax.of(uid).name
    if uid not in TRANSFER_SYNTAXES and not UID(uid).is_transfer_syntax:
        raise UnsupportedDicomError(f"transfer syntax {name} is not one of DICOM's")
    try:
        plugins = get_decoder(uid)
    except NotImplementedError as error:
        raise UnsupportedDicomError(
            f"transfer syntax {name} is not supported: pydicom has no decoder for it"
        ) from error
    if not plugins.is_available:
        missing = "; ".join(plugins.missing_dependencies)
        raise UnsupportedDicomError(
            f"transfer syntax {name} is not supported, as no plugin of pydicom that decodes it "
            f"is installed: {missing}"
        )


def _decode(frame: EncodedFrame) -> Raster:
    fmt = frame.format
    _require_plugin(fmt.transfer_syntax)
    rows, columns = frame.shape[:2]
    pixels = decode_frame(
        bytes(frame.codestream),
        fmt.transfer_syntax,
        rows=rows,
        columns=columns,
        samples_per_pixel=fmt.samples,
        bits_allocated=fmt.bits_allocated,
        bits_stored=fmt.bits_stored,
        photometric_interpretation=fmt.photometric,
        pixel_representation=fmt.pixel_representation,
        planar_configuration=fmt.planar if fmt.samples > 1 else None,
    )
    return Raster(pixels, 0)


HIGHDICOM = Codec("highdicom", _decode)
