"""One module per family of codecs; `TABLE` says which transfer syntax is whose."""

from __future__ import annotations

import warnings
from dataclasses import replace

from pydicom.uid import UID

from xarray_dicom.errors import DicomWarning
from xarray_dicom.pixels.buffers import Buffer
from xarray_dicom.pixels.codecs import fallback, jpeg, jpeg2000, jpegls, jpegxl, native, rle
from xarray_dicom.pixels.codecs.base import Codec, Raster
from xarray_dicom.pixels.codecs.fallback import require_frames
from xarray_dicom.pixels.codestream import family

_UID = "1.2.840.10008.1.2"

#: Transfer syntax UID → codec (PS3.5 section 10).
TABLE: dict[str, Codec] = {
    _UID: native.NATIVE,
    f"{_UID}.1": native.NATIVE,
    f"{_UID}.1.99": native.NATIVE,
    f"{_UID}.2": native.NATIVE,
    f"{_UID}.1.98": native.NATIVE,
    f"{_UID}.8.1": native.DEFLATED_FRAME,
    f"{_UID}.5": rle.RLE,
    **dict.fromkeys((f"{_UID}.4.{n}" for n in (50, 51, 53, 55, 57, 70)), jpeg.JPEG),
    **dict.fromkeys((f"{_UID}.4.{n}" for n in (80, 81)), jpegls.JPEG_LS),
    **dict.fromkeys((f"{_UID}.4.{n}" for n in (90, 91, 92, 93, 201, 202, 203)), jpeg2000.JPEG_2000),
    **dict.fromkeys((f"{_UID}.4.{n}" for n in (110, 111, 112)), jpegxl.JPEG_XL),
}

#: Family of codestreams → a transfer syntax of it.
FAMILIES = {
    jpeg.JPEG.name: f"{_UID}.4.50",
    jpegls.JPEG_LS.name: f"{_UID}.4.80",
    jpeg2000.JPEG_2000.name: f"{_UID}.4.91",
    jpegxl.JPEG_XL.name: f"{_UID}.4.112",
}


def codec_for(transfer_syntax: str) -> Codec:
    """The codec of a transfer syntax: the table's where it is compiled in, else highdicom."""
    codec = TABLE.get(transfer_syntax)
    if codec is None:
        return fallback.HIGHDICOM
    return codec if codec.available() else replace(codec, decode=fallback.HIGHDICOM.decode)


def codec_of(codestream: Buffer, transfer_syntax: str) -> Codec:
    """The codec of a transfer syntax, unless the codestream starts as another family's does.

    Files are tagged wrongly: JPEG as JPEG 2000, JPEG as JPEG-LS and the like.
    """
    stated = codec_for(transfer_syntax)
    if stated.name not in FAMILIES:
        return stated
    found = family(codestream)
    if found is None or found == stated.name:
        return stated
    warnings.warn(
        f"frames are tagged {UID(transfer_syntax).name}, but are {found}; they are read so",
        DicomWarning,
        stacklevel=2,
    )
    return codec_for(FAMILIES[found])


__all__ = ["TABLE", "Codec", "Raster", "codec_for", "codec_of", "require_frames"]
