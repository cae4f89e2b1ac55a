"""Errors of damaged values, which pydicom raises when a value is first read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.errors import BytesLengthException

from xarray_dicom.errors import CorruptDicomError, DicomError

#: Types that pydicom raises for damaged values.
VALUE_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    NotImplementedError,
    BytesLengthException,
)


@contextmanager
def values_read(*further: type[Exception]) -> Iterator[None]:
    """Turn errors that damaged values of a header raise into `CorruptDicomError`.

    Parameters
    ----------
    further
        Further types: `OSError` where nothing but a header in memory is read.
    """
    try:
        yield
    except DicomError:
        raise
    except (*VALUE_ERRORS, *further) as error:
        raise CorruptDicomError(f"a value in the header can't be read: {error}") from error
