"""Deflated data sets: a single stream that must be inflated whole (PS3.5 A.5)."""

from __future__ import annotations

import zlib

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError

#: Bytes that a data set may inflate to; larger ones are refused.
INFLATED_LIMIT = 2**30


def inflate(stream: bytes) -> bytes:
    """Inflate a whole data set: everything after the file meta information.

    Raises
    ------
    CorruptDicomError
        If the stream is damaged or cut short.
    UnsupportedDicomError
        If it inflates to more than `INFLATED_LIMIT` bytes.
    """
    limit = INFLATED_LIMIT
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = engine.decompress(stream, limit)
    except zlib.error as error:
        raise CorruptDicomError(f"the deflated data set is damaged: {error}") from error
    if engine.eof:
        return inflated
    if len(inflated) >= limit:
        raise UnsupportedDicomError(
            f"the deflated data set is larger than {limit} bytes; if it is sound, raise "
            "xarray_dicom.parsing.deflate.INFLATED_LIMIT"
        )
    raise CorruptDicomError("the deflated data set is cut short")
