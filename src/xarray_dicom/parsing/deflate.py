"""Deflated data sets: one stream that must be inflated whole (PS3.5 A.5)."""

from __future__ import annotations

import zlib

from xarray_dicom.errors import CorruptDicomError, UnsupportedDicomError

#: A data set that inflates to more bytes than this is refused.
INFLATED_LIMIT = 2**30


def inflate(stream: bytes, location: str, limit: int | None = None) -> bytes:
    """Inflate a whole data set.

    Parameters
    ----------
    stream
        Everything after the file meta information.
    limit
        Most bytes to inflate to; `INFLATED_LIMIT` unless given.

    Raises
    ------
    CorruptDicomError
        If the stream is damaged or cut short.
    UnsupportedDicomError
        If it inflates to more than `limit`.
    """
    most = INFLATED_LIMIT if limit is None else limit
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = engine.decompress(stream, most)
        if not engine.eof and len(inflated) >= most:
            raise UnsupportedDicomError(
                f"{location}: the deflated data set is larger than {most} bytes; if it is sound, "
                "raise xarray_dicom.parsing.deflate.INFLATED_LIMIT"
            )
    except zlib.error as error:
        raise CorruptDicomError(f"{location}: the deflated data set is damaged: {error}") from error
    if not engine.eof:
        raise CorruptDicomError(f"{location}: the deflated data set is cut short")
    return inflated
