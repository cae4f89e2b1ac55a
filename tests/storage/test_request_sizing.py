"""Measurements of the connection to a server, and the sizes of requests that follow."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from support.servers import Server
from xarray_dicom.runtime import run
from xarray_dicom.storage import URL, BytesSource, URLSource, open_source
from xarray_dicom.storage.request_sizing import (
    FEWEST,
    GAPS,
    LARGEST,
    LOCAL,
    WINDOWS,
    ConnectionMeter,
    Measurement,
    RequestSizing,
    bytes_between,
    meter_for,
    sizing_for,
)

KIB, MIB = 2**10, 2**20


class Line:
    """A connection with latency and bandwidth and a clock of its own; replies share it in turn."""

    def __init__(self, latency: float, bandwidth: float) -> None:
        self.latency = latency
        self.bandwidth = bandwidth
        self.now = 100.0
        self.free_at = 0.0
        self.meter = ConnectionMeter(lambda: self.now)

    def fetch(self, sizes: list[int], window: int) -> None:
        """Make requests, `window` at a time."""
        waiting = sizes[::-1]
        flying: list[tuple[float, float, int]] = []
        while waiting or flying:
            while waiting and len(flying) < window:
                size = waiting.pop()
                self.free_at = max(self.free_at, self.now + self.latency) + size / self.bandwidth
                heapq.heappush(flying, (self.free_at, self.meter.start_request(), size))
                # No two events at one time.
                self.now += 1e-7
            due, began, size = heapq.heappop(flying)
            self.now = max(self.now, due)
            self.meter.end_request(began, size)


@pytest.mark.parametrize(
    ("latency", "bandwidth", "sizing"),
    [
        (0.0003, 1e9, RequestSizing(64 * KIB, 8 * MIB, 8)),
        (0.002, 300e6, RequestSizing(64 * KIB, 4 * MIB, 8)),
        (0.03, 80e6, RequestSizing(64 * KIB, MIB, 32)),
        (0.1, 20e6, RequestSizing(32 * KIB, 512 * KIB, 64)),
        (0.15, 1e9, RequestSizing(64 * KIB, 8 * MIB, 64)),
        (0.3, 1e6, RequestSizing(4 * KIB, 512 * KIB, 64)),
    ],
)
def test_sizing_for_a_connection(latency: float, bandwidth: float, sizing: RequestSizing) -> None:
    assert sizing_for(Measurement(latency, bandwidth)) == sizing


def test_sizing_is_bounded_powers_of_two_and_keeps_the_link_full() -> None:
    for latency in np.geomspace(1e-5, 10, 13):
        for bandwidth in np.geomspace(1e3, 1e11, 17):
            sizing = sizing_for(Measurement(float(latency), float(bandwidth)))
            for value, (low, high) in (
                (sizing.gap, GAPS),
                (sizing.largest, LARGEST),
                (sizing.window, WINDOWS),
            ):
                assert low <= value <= high
                assert value & (value - 1) == 0
            ceiling = LARGEST[1] * WINDOWS[1]
            assert sizing.largest * sizing.window >= min(2 * latency * bandwidth, ceiling)


@pytest.mark.parametrize(
    ("latency", "bandwidth"), [(0.002, 300e6), (0.03, 80e6), (0.1, 20e6), (0.2, 2e6)]
)
@pytest.mark.parametrize("size", [MIB, 2 * MIB])
def test_a_connection_is_measured(latency: float, bandwidth: float, size: int) -> None:
    line = Line(latency, bandwidth)
    line.fetch([16 * KIB] * 8, window=1)
    line.fetch([size] * 64, window=16)
    expected = sizing_for(Measurement(latency, bandwidth))
    found = line.meter.request_sizing
    assert expected.gap / 2 <= found.gap <= expected.gap * 2
    assert expected.largest / 2 <= found.largest <= expected.largest * 2
    assert expected.window / 2 <= found.window <= expected.window * 2


def test_replies_that_end_together_are_not_taken_for_a_burst() -> None:
    replies = [(0.0, 1.6, 2 * MIB)] * 16
    assert bytes_between(replies, 0.1, 1.6, 0.1) == pytest.approx(32 * MIB)
    assert bytes_between(replies, 1.1, 1.6, 0.1) == pytest.approx(32 * MIB / 3)
    assert bytes_between(replies, 2.0, 3.0, 0.1) == 0
    assert bytes_between([(0.0, 0.1, MIB)], 0.0, 1.0, 0.1) == pytest.approx(MIB)


def test_few_requests_and_few_bytes_conclude_nothing() -> None:
    line = Line(0.1, 20e6)
    line.fetch([2 * MIB] * (FEWEST - 2), window=4)
    line.fetch([1000], window=1)
    assert line.meter.request_sizing == RequestSizing()
    line = Line(0.1, 20e6)
    line.fetch([1000] * 1000, window=16)
    assert line.meter.request_sizing == RequestSizing()


def test_failures_conclude_nothing() -> None:
    line = Line(0.1, 20e6)
    for _ in range(200):
        began = line.meter.start_request()
        line.now += 0.001
        line.meter.end_request(began, 0)
    assert line.meter.request_sizing == RequestSizing()


def test_small_changes_are_not_followed_and_large_ones_are() -> None:
    line = Line(0.03, 80e6)
    line.fetch([16 * KIB] * 8 + [2 * MIB] * 64, window=16)
    before = line.meter.request_sizing
    assert before != RequestSizing()
    line.bandwidth, line.latency = 100e6, 0.036
    line.fetch([16 * KIB] * 200 + [2 * MIB] * 64, window=16)
    assert line.meter.request_sizing == before
    line.bandwidth, line.latency = 4e6, 0.2
    line.fetch([16 * KIB] * 200, window=1)
    line.fetch([2 * MIB] * 100, window=64)
    after = line.meter.request_sizing
    assert after.gap < before.gap
    assert after.window > before.window


def test_a_reader_in_no_hurry_does_not_make_the_connection_slow() -> None:
    line = Line(0.03, 80e6)
    line.fetch([16 * KIB] * 8 + [2 * MIB] * 64, window=32)
    before = line.meter.request_sizing
    for _ in range(100):
        line.fetch([2 * MIB] * 3, window=1)
        line.now += 1
    assert line.meter.request_sizing == before


def test_meters_are_shared_by_server() -> None:
    options = {"endpoint_url": "http://127.0.0.1:1"}
    one = meter_for(URL.parse("s3://bucket/a.dcm"), options)
    assert one is not None
    assert one is meter_for(URL.parse("s3://bucket/b/c.dcm"), {**options, "key": "k"})
    elsewhere = {"endpoint_url": "http://127.0.0.1:2"}
    assert one is not meter_for(URL.parse("s3://bucket/a.dcm"), elsewhere)
    assert one is not meter_for(URL.parse("s3://other/a.dcm"), options)


def test_urls_without_a_meter() -> None:
    for url in ("memory://a.dcm", "/a.dcm", "file:///a.dcm", "zip://a.dcm::s3://b/a.zip"):
        assert meter_for(URL.parse(url), {}) is None
    assert URLSource("/a.dcm").request_sizing == LOCAL
    assert URLSource("memory://a.dcm").request_sizing == RequestSizing()
    assert URLSource("simplecache::s3://b/a.dcm").request_sizing == RequestSizing()
    assert BytesSource(b"").request_sizing == RequestSizing()


@pytest.mark.parametrize("kind", ["moto", "http"])
def test_a_source_learns_from_its_requests(request: pytest.FixtureRequest, kind: str) -> None:
    server: Server = request.getfixturevalue(f"{kind}_server")
    url = server.put("paced/a.dcm", bytes(8 * MIB))
    # A bucket under another name of the server has a meter of its own.
    url = url.replace("127.0.0.1", "localhost")
    options = {
        name: value.replace("127.0.0.1", "localhost") if name == "endpoint_url" else value
        for name, value in server.storage_options.items()
    }
    source = open_source(url, options)
    run(source.open(1000))
    assert source.request_sizing == RequestSizing()
    for start in range(FEWEST):
        run(source.read(start, 1000))
    run(source.read_many([(0, 8 * MIB)]))
    meter = meter_for(URL.parse(url), options)
    assert meter is not None
    assert source.request_sizing is meter.request_sizing
    assert meter._applied is not None
    assert 0 < meter._applied.latency < 5
    assert meter._applied.bandwidth > 1e5
