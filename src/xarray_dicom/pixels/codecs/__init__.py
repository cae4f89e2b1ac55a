"""One module per family of codecs; `TABLE` says which transfer syntax is whose."""

from __future__ import annotations

from dataclasses import replace

from xarray_dicom.pixels.codecs import fallback, jpeg, jpeg2000, jpegls, jpegxl, native, rle
from xarray_dicom.pixels.codecs.base import Codec, Raster

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


def codec_for(transfer_syntax: str) -> Codec:
    """The codec of a transfer syntax: the table's where it is compiled in, else highdicom."""
    codec = TABLE.get(transfer_syntax)
    if codec is None:
        return fallback.HIGHDICOM
    return codec if codec.available() else replace(codec, decode=fallback.HIGHDICOM.decode)


__all__ = ["TABLE", "Codec", "Raster", "codec_for"]
