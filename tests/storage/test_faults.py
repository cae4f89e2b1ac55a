"""Connections that break, and time that passes."""

from __future__ import annotations

import time

import numpy as np
import pytest

from support.proxy import LatencyProxy
from support.servers import Server
from xarray_dicom.runtime import run
from xarray_dicom.storage import open_source
from xarray_dicom.storage.wrappers.retry import ATTEMPTS

CONTENT = np.random.default_rng(0).bytes(400_000)


@pytest.mark.parametrize("kind", ["s3", "moto", "gcs", "http"])
def test_a_body_that_breaks_off_is_fetched_again(request: pytest.FixtureRequest, kind: str) -> None:
    server: Server = request.getfixturevalue(f"{kind}_server")
    url = server.put("cut/a.dcm", CONTENT)
    with LatencyProxy(server.port) as proxy:
        options = dict(server.storage_options)
        if "endpoint_url" in options:
            options["endpoint_url"] = proxy.endpoint_url
        source = open_source(url.replace(server.endpoint_url, proxy.endpoint_url), options)
        proxy.cut_bodies(after=1000, times=1)
        assert run(source.open(100_000)).content == CONTENT[:100_000]
        assert proxy.cuts_left == 0
        proxy.cut_bodies(after=50_000, times=1)
        assert run(source.read(1000, 300_000)) == CONTENT[1000:301_000]
        assert proxy.cuts_left == 0


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_bodies_that_keep_breaking_off_raise(request: pytest.FixtureRequest, kind: str) -> None:
    server: Server = request.getfixturevalue(f"{kind}_server")
    url = server.put("cut/b.dcm", CONTENT)
    with LatencyProxy(server.port) as proxy:
        options = dict(server.storage_options)
        if "endpoint_url" in options:
            options["endpoint_url"] = proxy.endpoint_url
        source = open_source(url.replace(server.endpoint_url, proxy.endpoint_url), options)
        run(source.open(10))
        before = proxy.requests
        proxy.cut_bodies(after=50_000, times=100)
        with pytest.raises(OSError, match=r"cut/b\.dcm: bytes 1000 to 301000 .*broke off"):
            run(source.read(1000, 300_000))
        assert proxy.requests - before == ATTEMPTS


def test_nobody_listens(s3_server: Server) -> None:
    with LatencyProxy(s3_server.port) as proxy:
        url = f"{proxy.endpoint_url}/a.dcm"
    with pytest.raises(OSError, match=r"/a\.dcm: bytes 0 to 10 could not be read"):
        run(open_source(url).open(10))


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_ranges_are_fetched_concurrently(request: pytest.FixtureRequest, kind: str) -> None:
    server: Server = request.getfixturevalue(f"{kind}_server")
    url = server.put("far/a.dcm", CONTENT)
    latency = 0.1
    with LatencyProxy(server.port, latency=latency) as proxy:
        options = dict(server.storage_options)
        if "endpoint_url" in options:
            options["endpoint_url"] = proxy.endpoint_url
        source = open_source(url.replace(server.endpoint_url, proxy.endpoint_url), options)
        run(source.open(10))
        ranges = [(offset, 100) for offset in range(0, 400_000, 20_000)]
        began = time.perf_counter()
        bodies = run(source.read_many(ranges))
        took = time.perf_counter() - began
    assert bodies == [CONTENT[offset : offset + 100] for offset, _ in ranges]
    # One after the other they would take twenty round trips.
    assert latency < took < 8 * latency
