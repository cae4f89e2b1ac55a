"""HTTP servers of every temper."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xarray_dicom.errors import SourceChangedError, UnsupportedDicomError
from xarray_dicom.runtime import run
from xarray_dicom.storage import URLSource, open_source

CONTENT = bytes(range(256)) * 40


@dataclass
class Temper:
    """Behaviour of the server."""

    content: bytes = CONTENT
    ranges: bool = True
    content_length: bool = True
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    shift: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)
    bytes_sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    temper: Temper

    def do_GET(self) -> None:
        temper = self.temper
        temper.seen.append(dict(self.headers))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Match")
        if temper.status:
            return self._reply(temper.status, b"refused")
        if condition and condition != temper.headers.get("ETag"):
            return self._reply(412, b"changed")
        if not (temper.ranges and wanted):
            return self._reply(200, temper.content)
        first, last = (int(number) + temper.shift for number in wanted.groups())
        size = len(temper.content)
        if first >= size:
            return self._reply(416, b"", {"Content-Range": f"bytes */{size}"})
        last = min(last, size - 1)
        where = {"Content-Range": f"bytes {first}-{last}/{size}"}
        return self._reply(206, temper.content[first : last + 1], where)

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**self.temper.headers, **(headers or {})}.items():
            self.send_header(name, value)
        if self.temper.content_length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        try:
            for start in range(0, len(body), 65536):
                self.wfile.write(body[start : start + 65536])
                self.temper.bytes_sent += len(body[start : start + 65536])
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def temper() -> Temper:
    return Temper()


@pytest.fixture
def url(temper: Temper) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"temper": temper})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/a.dcm?token=secret"
        server.shutdown()


def opened(url: str, **options: object) -> URLSource:
    source = URLSource(url, options)
    run(source.open(100))
    return source


def test_strong_etag_makes_reads_conditional(temper: Temper, url: str) -> None:
    temper.headers = {"ETag": '"one"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    source = opened(url)
    assert run(source.read(300, 10)) == CONTENT[300:310]
    assert temper.seen[-1]["If-Match"] == '"one"'
    temper.headers = {"ETag": '"two"'}
    with pytest.raises(SourceChangedError, match='"two"'):
        run(source.read(300, 10))


def test_weak_etag_is_compared_here(temper: Temper, url: str) -> None:
    temper.headers = {"ETag": 'W/"one"'}
    source = opened(url)
    assert run(source.read(300, 10)) == CONTENT[300:310]
    assert "If-Match" not in temper.seen[-1]
    temper.headers = {"ETag": 'W/"two"'}
    with pytest.raises(SourceChangedError):
        run(source.read(300, 10))


def test_modification_time_before_a_weak_etag(temper: Temper, url: str) -> None:
    modified = "Mon, 01 Jan 2024 00:00:00 GMT"
    temper.headers = {"ETag": 'W/"one"', "Last-Modified": modified}
    source = opened(url)
    run(source.read(300, 10))
    assert temper.seen[-1]["If-Unmodified-Since"] == modified
    assert source.fingerprint is not None
    assert source.fingerprint.version == f"mtime:{modified}"


def test_size_alone(temper: Temper, url: str) -> None:
    source = opened(url)
    temper.content = CONTENT + b"more"
    with pytest.raises(SourceChangedError):
        run(source.read(300, 10))


def test_headers_of_the_user_survive(temper: Temper, url: str) -> None:
    source = opened(url, headers={"Authorization": "Bearer x"})
    run(source.read(300, 10))
    for request in temper.seen:
        assert request["Authorization"] == "Bearer x"
        assert request["Range"].startswith("bytes=")
        assert request["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("content_length", [True, False])
def test_small_object_of_a_server_without_ranges(
    temper: Temper, url: str, content_length: bool
) -> None:
    temper.ranges, temper.content_length = False, content_length
    source = opened(url)
    assert run(source.read(300, 10)) == CONTENT[300:310]


@pytest.mark.parametrize("content_length", [True, False])
def test_large_object_of_a_server_without_ranges(
    temper: Temper, url: str, content_length: bool
) -> None:
    temper.ranges, temper.content_length = False, content_length
    temper.content = bytes(64 * 2**20)
    with pytest.raises(UnsupportedDicomError, match="simplecache"):
        opened(url)
    # What lies in buffers on the way, but not the object.
    assert temper.bytes_sent < 16 * 2**20


def test_another_range_than_asked_for(temper: Temper, url: str) -> None:
    temper.shift = 4
    with pytest.raises(UnsupportedDicomError, match="Content-Range"):
        opened(url)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, PermissionError),
        (403, PermissionError),
        (404, FileNotFoundError),
        (410, FileNotFoundError),
        (412, OSError),
        (500, OSError),
        (503, OSError),
    ],
)
def test_status(temper: Temper, url: str, status: int, error: type[OSError]) -> None:
    temper.status = status
    with pytest.raises(error, match=r"/a\.dcm") as caught:
        opened(url)
    assert "secret" not in str(caught.value)


def test_forbidden_in_google_cloud_storage(temper: Temper, url: str) -> None:
    pytest.importorskip("gcsfs")
    temper.status = 403
    options = {"token": "anon", "endpoint_url": url.rpartition("/")[0]}
    with pytest.raises(PermissionError, match="gs://images/a"):
        run(open_source("gs://images/a.dcm", options).open(10))


def test_the_query_is_never_shown(temper: Temper, url: str) -> None:
    source = opened(url)
    assert "secret" not in source.location
    assert "secret" not in repr(source)
    temper.content = b""
    with pytest.raises(SourceChangedError) as caught:
        run(source.read(0, 10))
    assert "secret" not in str(caught.value)
