"""Warnings about objects, and an account of those that opening one drew.

Whoever opens an object that was opened before is to be warned as if it were the first time,
so what is said of an object is noted next to what is kept of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from xarray_dicom.errors import DicomWarning

_heard: ContextVar[list[str] | None] = ContextVar("xarray_dicom_notices", default=None)


#: Whether everything that there is to be said was said before.
_said: ContextVar[bool] = ContextVar("xarray_dicom_said", default=False)


def notice(text: str) -> None:
    """Warn of `text`, on behalf of the caller, and note it if anybody listens.

    Warns
    -----
    DicomWarning
        Unless this is the object's second reading.
    """
    if _said.get():
        return
    heard = _heard.get()
    if heard is not None:
        heard.append(text)
    warnings.warn(text, DicomWarning, stacklevel=3)


@contextmanager
def notices_heard() -> Iterator[list[str]]:
    """List what is noticed while the block runs, also in tasks and threads that it awaits."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


@contextmanager
def second_reading() -> Iterator[None]:
    """Say nothing while the block reads what was read, and spoken of, before."""
    token = _said.set(True)
    try:
        yield
    finally:
        _said.reset(token)


def last_heard() -> tuple[str, ...]:
    """What was noticed so far in the innermost block that listens."""
    return tuple(_heard.get() or ())
