"""Errors of clients, turned into errors that name the object."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from xarray_dicom.errors import DicomError, UnsupportedDicomError
from xarray_dicom.storage.clients.base import ObjectClient, RangesUnsupportedError, Reply
from xarray_dicom.storage.source import Fingerprint
from xarray_dicom.storage.url import URL


class ErrorNamingClient:
    """Client whose errors name the object, and none of the secrets in its URL.

    Parameters
    ----------
    client
        The client that makes the requests.
    url
        URL of the object.
    """

    def __init__(self, client: ObjectClient, url: URL) -> None:
        self.client = client
        self.url = url

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch a range; errors name it."""
        try:
            return await self.client.get(offset, length, pinned)
        except Exception as error:
            reraise(error, self.url, range_name(offset, length))

    async def stat(self) -> Fingerprint | None:
        """Return the version that is there now."""
        try:
            return await self.client.stat()
        except Exception as error:
            reraise(error, self.url, "the version")


def range_name(offset: int, length: int) -> str:
    """Return what errors call a range of bytes."""
    return f"bytes {offset} to {offset + length}"


@contextmanager
def errors_named(url: URL, subject: str) -> Iterator[None]:
    """Turn what clients raise in the block into errors that name the object.

    Parameters
    ----------
    url
        URL of the object.
    subject
        What is read of it, for the text of the error.
    """
    try:
        yield
    except Exception as error:
        reraise(error, url, subject)


def reraise(error: Exception, url: URL, subject: str) -> NoReturn:
    """Raise the error that names the object, in place of one that a client raised.

    Parameters
    ----------
    error
        The error of the client.
    url
        URL of the object.
    subject
        What could not be read of it, for the text of the error.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        As the client did, with the place of the object as `filename`.
    UnsupportedDicomError
        If the server sends no ranges.
    DicomError, ImportError
        As the client did.
    OSError
        For every other error.
    """
    location = url.display()
    if isinstance(error, DicomError):
        error.complete(location)
        raise error
    if isinstance(error, ImportError):
        raise error
    if isinstance(error, FileNotFoundError):
        raise FileNotFoundError(errno.ENOENT, "no such object", location) from error
    if isinstance(error, IsADirectoryError):
        raise IsADirectoryError(errno.EISDIR, "a folder, not an object", location) from error
    if isinstance(error, PermissionError):
        reason = f"access is refused ({describe(error, url)})"
        raise PermissionError(errno.EACCES, reason, location) from error
    if isinstance(error, RangesUnsupportedError):
        raise UnsupportedDicomError(
            f"the server doesn't send byte ranges ({error}); download the object, or put "
            "'simplecache::' before its URL",
            location=location,
        ) from error
    raise OSError(f"{location}: {subject} could not be read: {describe(error, url)}") from error


def describe(error: BaseException, url: URL | None = None) -> str:
    """Return type and text of an error, the latter without the secrets of `url`."""
    text = str(error)
    if url is not None:
        text = text.replace(str(url), url.display())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
