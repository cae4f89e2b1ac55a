"""Text that is safe to print on a terminal."""

from __future__ import annotations

import re

from xarray_dicom.errors import DicomError
from xarray_dicom.storage import display

_URL = re.compile(r"\w[\w+.\-]*://[^\s'\"<>]+")

#: Errors whose message is enough without the name of their class.
NAMELESS = (DicomError, OSError, ValueError, ImportError)


def one_line(error: Exception) -> str:
    """Return the message of an error in one line, without secrets."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"
    if not text or not isinstance(error, NAMELESS):
        text = f"{type(error).__name__}: {text}"
    # Libraries quote URLs with their queries, which may hold a signature.
    shown = _URL.sub(lambda url: display(url.group()), " ".join(text.split()))
    return printable(shown)


def printable(line: str) -> str:
    """Return a line without control characters, which terminals obey: labels come from files."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
