"""Objects behind plain HTTP(S) servers, through fsspec's aiohttp session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xarray_dicom.storage.clients.base import (
    RangesUnsupportedError,
    Reply,
    TruncatedBodyError,
    object_size,
    range_header,
)
from xarray_dicom.storage.source import Fingerprint

#: Bytes of an object that is fetched whole from a server without ranges.
WHOLE_OBJECT_LIMIT = 2**20

#: Kind of version: header that makes a request conditional on it (RFC 9110, 13.1).
_CONDITIONS = {"etag": "If-Match", "mtime": "If-Unmodified-Since"}


class HTTPClient:
    """An object read with GET and Range; each reply has size and ETag or modification time."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self.filesystem = filesystem
        self.url = path

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """GET with Range, conditional once a strong ETag or a modification time is known."""
        options = dict(self.filesystem.kwargs)
        headers = {
            **options.pop("headers", {}),
            **_condition(pinned),
            "Range": range_header(offset, length),
            "Accept-Encoding": "identity",
        }
        session = await self.filesystem.set_session()
        url = self.filesystem.encode_url(self.url)
        async with session.get(url, headers=headers, **options) as response:
            if response.status == 206:
                return await _partial(response, offset, length)
            if response.status == 200:
                return await _whole(response, offset, length)
            if response.status == 416:
                return Reply(b"", _fingerprint(_size_when_unsatisfiable(response), response))
            if response.status in (401, 403, 407):
                raise PermissionError(f"HTTP status {response.status} {response.reason}")
            if response.status in (404, 410):
                raise FileNotFoundError(f"HTTP status {response.status} {response.reason}")
            refused = response.status == 412 and pinned is not None
            if not refused:
                raise OSError(f"HTTP status {response.status} {response.reason}")
        return await self.get(0, 1, None)

    async def stat(self) -> Fingerprint | None:
        """None: each reply has the version."""
        return None


async def _partial(response: Any, offset: int, length: int) -> Reply:
    size = object_size(response.headers.get("Content-Range"), offset, length)
    content = await _body(response, min(length, size - offset))
    return Reply(content, _fingerprint(size, response))


async def _whole(response: Any, offset: int, length: int) -> Reply:
    """Take a small object whole from a server that knows no ranges."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise RangesUnsupportedError("the server sends the object compressed")
    size = response.content_length
    if size is not None and size > WHOLE_OBJECT_LIMIT:
        raise RangesUnsupportedError(f"the server sends all {size} bytes for each range")
    content = await _body(response, WHOLE_OBJECT_LIMIT + 1 if size is None else size)
    if len(content) > WHOLE_OBJECT_LIMIT:
        raise RangesUnsupportedError("the server sends the whole object for each range")
    fingerprint = _fingerprint(len(content), response)
    return Reply(content[offset : offset + length], fingerprint)


async def _body(response: Any, length: int) -> bytes:
    """Read the body, but never more than `length` bytes of it."""
    try:
        if response.content_length == length:
            content: bytes = await response.read()
            return content
        pieces, missing = [], length
        while missing:
            piece = await response.content.read(missing)
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
    except Exception as error:
        raise TruncatedBodyError(f"{type(error).__name__}: {error}") from error
    return b"".join(pieces)


def _condition(pinned: Fingerprint | None) -> dict[str, str]:
    kind, _, value = (pinned.version if pinned else "").partition(":")
    # If-Match never matches a weak ETag; the reply is compared instead.
    if kind not in _CONDITIONS or value.startswith("W/"):
        return {}
    return {_CONDITIONS[kind]: value}


def _fingerprint(size: int, response: Any) -> Fingerprint:
    headers: Mapping[str, str] = response.headers
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if etag and not etag.startswith("W/"):
        return Fingerprint(size, f"etag:{etag}")
    if modified:
        return Fingerprint(size, f"mtime:{modified}")
    return Fingerprint(size, f"etag:{etag}" if etag else "")


def _size_when_unsatisfiable(response: Any) -> int:
    """Size from ``Content-Range: bytes */size`` of status 416; an empty object may lack it."""
    size = response.headers.get("Content-Range", "").partition("*/")[2].strip()
    return int(size) if size.isdigit() else 0
