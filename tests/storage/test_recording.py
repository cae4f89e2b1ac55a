"""The account of requests, and how few of them there are."""

from __future__ import annotations

import pickle

import pytest

from support.proxy import LatencyProxy
from support.servers import Server
from xarray_dicom.runtime import run
from xarray_dicom.storage import ByteSource, BytesSource, RecordingSource, expand, open_source
from xarray_dicom.storage.request_sizing import RequestSizing

CONTENT = bytes(5 * 2**20)


def test_requests_are_the_merged_ones() -> None:
    source = RecordingSource(BytesSource(CONTENT))
    assert isinstance(source, ByteSource)
    run(source.open(100))
    run(source.read(7, 3))
    run(source.read(7, 0))
    near = [(2000, 10), (1000, 10), (1005, 50)]
    far = [(2010 + RequestSizing().gap + 1, 5)]
    run(source.read_many(near + far))
    assert source.requests == [(0, 100), (7, 3), (1000, 1010), (*far[0],)]
    assert source.bytes_read == 100 + 3 + 1010 + 5
    source.clear()
    assert source.bytes_read == 0


def test_long_runs_are_split() -> None:
    source = RecordingSource(BytesSource(CONTENT))
    step = 2**16
    run(source.read_many([(offset, step) for offset in range(0, len(CONTENT), step)]))
    assert [length for _, length in source.requests] == [
        RequestSizing().largest,
        RequestSizing().largest,
        2**20,
    ]


def test_pickles_without_its_account() -> None:
    source = RecordingSource(BytesSource(b"content"))
    before = pickle.dumps(source)
    run(source.open(3))
    assert pickle.dumps(source) == before
    assert pickle.loads(before).requests == []


def test_verifications_are_counted() -> None:
    source = RecordingSource(BytesSource(b"content"))
    run(source.verify())
    assert source.verifications == 1


@pytest.mark.parametrize(
    ("kind", "obstore"),
    [("s3", "off"), ("moto", "off"), ("moto", "on"), ("gcs", "off"), ("http", "on")],
)
def test_one_round_trip_to_open_and_one_per_merged_request(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str, obstore: str
) -> None:
    monkeypatch.setenv("XARRAY_DICOM_OBSTORE", obstore)
    server: Server = request.getfixturevalue(f"{kind}_server")
    url = server.put("counted/a.dcm", CONTENT)
    with LatencyProxy(server.port) as proxy:
        options = dict(server.storage_options)
        if "endpoint_url" in options:
            options["endpoint_url"] = proxy.endpoint_url
        url = url.replace(server.endpoint_url, proxy.endpoint_url)
        (source,) = run(expand(url, options))
        run(source.open(1000))
        assert proxy.requests == 1
        run(source.read_many([(0, 10), (100, 10), (10**6, 10)]))
        run(source.verify())
        assert proxy.requests == 3
        assert proxy.bytes_sent < 20_000
        small = open_source(
            server.put("counted/b.dcm", b"short").replace(server.endpoint_url, proxy.endpoint_url),
            options,
        )
        assert run(small.open(1000)).content == b"short"
        assert proxy.requests == 4
