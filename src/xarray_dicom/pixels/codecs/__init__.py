"""One module per family of codecs, and the table of them by name."""

from __future__ import annotations

from dataclasses import replace

from xarray_dicom.pixel_format import Buffer
from xarray_dicom.pixels.codecs import jpeg, jpeg2000, jpegls, jpegxl, rle, uncompressed
from xarray_dicom.pixels.codecs.base import Codec, EncodedFrame, Raster
from xarray_dicom.pixels.codecs.pydicom_plugins import HIGHDICOM
from xarray_dicom.pixels.codestream import codestream_family
from xarray_dicom.transfer_syntax import TransferSyntax
from xarray_dicom.warn import warn

#: Codecs by the family that the table of transfer syntaxes names.
CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        uncompressed.NATIVE,
        uncompressed.DEFLATED_FRAME,
        rle.RLE,
        jpeg.JPEG,
        jpegls.JPEG_LS,
        jpeg2000.JPEG_2000,
        jpegxl.JPEG_XL,
    )
}

#: A transfer syntax of each family whose codestreams are recognized by their first bytes.
_RECOGNIZED = {
    "JPEG": "1.2.840.10008.1.2.4.50",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
    "JPEG XL": "1.2.840.10008.1.2.4.112",
}


def codec_for(transfer_syntax: str) -> Codec:
    """Return the codec of a transfer syntax.

    Parameters
    ----------
    transfer_syntax
        UID of the transfer syntax.

    Returns
    -------
    Codec
        That of the table where its library is compiled in, else highdicom's plugins.
    """
    family = TransferSyntax.of(transfer_syntax).codec
    if family is None:
        return HIGHDICOM
    codec = CODECS[family]
    return codec if codec.available() else by_highdicom(codec)


def by_highdicom(codec: Codec) -> Codec:
    """Return a codec that reads headers as `codec` does, and decodes by highdicom."""
    return replace(codec, decode=HIGHDICOM.decode)


def recognized_syntax(codestream: Buffer, transfer_syntax: str) -> str:
    """Return the transfer syntax that a codestream obeys.

    Files are tagged wrongly: JPEG as JPEG 2000, JPEG as JPEG-LS and the like.

    Parameters
    ----------
    codestream
        The bytes of a frame.
    transfer_syntax
        UID of the transfer syntax that the data set states.

    Returns
    -------
    str
        `transfer_syntax`, unless the codestream starts as one of another family does.

    Warns
    -----
    DicomWarning
        If it does so.
    """
    stated = TransferSyntax.of(transfer_syntax)
    if stated.codec not in _RECOGNIZED:
        return transfer_syntax
    family = codestream_family(codestream)
    if family is None or family == stated.codec:
        return transfer_syntax
    warn(f"frames are tagged {stated.name}, but are {family}; they are read so")
    return _RECOGNIZED[family]


__all__ = [
    "CODECS",
    "Codec",
    "EncodedFrame",
    "Raster",
    "by_highdicom",
    "codec_for",
    "recognized_syntax",
]
