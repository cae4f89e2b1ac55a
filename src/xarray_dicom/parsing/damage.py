"""Values of a header that turn out to be damaged when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.errors import BytesLengthException

from xarray_dicom.errors import CorruptDicomError, DicomError

#: What a damaged value raises: pydicom reads values no earlier than they are asked for.
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
def values_read(location: str, *besides: type[Exception]) -> Iterator[None]:
    """Turn what damaged values of a header raise into `CorruptDicomError`.

    Parameters
    ----------
    location
        The source, named in the error.
    besides
        Further types: `OSError` where nothing but a header in memory is read.
    """
    damage = (*VALUE_ERRORS, *besides)
    try:
        yield
    except DicomError:
        raise
    except damage as error:
        raise CorruptDicomError(
            f"{location}: a value in the header can't be read: {error}"
        ) from error
