"""Text that may be shown on a terminal."""

from __future__ import annotations

import re

from xarray_dicom.errors import DicomError
from xarray_dicom.storage import display

_URL = re.compile(r"\w[\w+.\-]*://[^\s'\"<>]+")

#: Errors whose message says enough without their name.
TOLD = (DicomError, OSError, ValueError, ImportError)


def one_line(error: Exception) -> str:
    """What went wrong, in one line without secrets."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"
    if not text or not isinstance(error, TOLD):
        text = f"{type(error).__name__}: {text}"
    # Messages of libraries quote URLs with their queries, which may hold a signature.
    shown = _URL.sub(lambda url: display(url.group()), " ".join(text.split()))
    return printable(shown)


def printable(line: str) -> str:
    """`line` without control characters: labels come from files, and terminals obey them."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
