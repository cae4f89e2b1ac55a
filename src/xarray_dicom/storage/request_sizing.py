"""Sizes and numbers of requests, by what this process has measured of the connection."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from xarray_dicom.runtime import runtime
from xarray_dicom.storage.url import URL, server_options


@dataclass(frozen=True, slots=True)
class RequestSizing:
    """Division of a read into requests.

    Attributes
    ----------
    gap
        Unwanted bytes between two ranges that cost less than another request.
    largest
        Bytes of one merged request: enough to outweigh what a request costs by itself, few
        enough to overlap with decoding.
    window
        Requests of one read in flight at a time.
    """

    gap: int = 8 * 2**10
    largest: int = 2 * 2**20
    window: int = 16


#: Seconds of this process that a request takes however few bytes it brings: the client,
#: the event loop and the tasks around it, measured with s3fs, gcsfs, aiohttp and obstore.
REQUEST_COST = 1e-3

#: Least ratio of the time that the bytes of a largest request take to `REQUEST_COST`.
WORTH = 8

#: Bounds of what is derived from measurements: bytes, bytes, requests.
GAPS = 4 * 2**10, 64 * 2**10
LARGEST = 512 * 2**10, 8 * 2**20
WINDOWS = 8, 64

#: Sizing for local files: a switch between threads takes as long as 200 KiB from memory, or a
#: tenth of that from a disk, and buffers filled at the same time slow each other down.
LOCAL = RequestSizing(gap=32 * 2**10, largest=2 * 2**20, window=4)

#: Protocols whose requests cross a network.
_REMOTE = {"s3", "s3a", "gs", "gcs", "http", "https", "az", "abfs", "abfss"}

#: Most bytes of a reply from which the latency is measured.
SMALL = 256 * 2**10

#: Small replies after which the least latency of earlier ones is forgotten.
LATENCY_SAMPLES = 64

#: Requests before which nothing is concluded.
FEWEST = 32

#: Bytes and seconds of one measurement of the bandwidth.
SAMPLE_BYTES = 4 * 2**20
SAMPLE_SECONDS = 0.25

#: Latest replies whose bytes are spread over the time that they took.
LATEST_REPLIES = 512

#: Least seconds in which the bytes of a reply come.
SHORTEST = 1e-6

#: Factor by which a measurement changes before the sizing follows.
HYSTERESIS = 2.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """Latency and bandwidth of a connection.

    Attributes
    ----------
    latency
        Seconds from a request to its reply, however short.
    bandwidth
        Bytes per second of all requests together.
    """

    latency: float
    bandwidth: float


def sizing_for(measured: Measurement) -> RequestSizing:
    """Return the sizing for a connection: powers of two, within `GAPS`, `LARGEST`, `WINDOWS`.

    A gap costs less than the request that it saves, and a whole request takes `WORTH` times
    longer than what it costs by itself. The window keeps this process busy with small
    requests for the time of one latency, and twice the product of bandwidth and latency in
    flight with large ones.
    """
    in_transit = 2 * measured.bandwidth * measured.latency
    bytes_of_request = measured.bandwidth * REQUEST_COST
    gap = _power_of_two(bytes_of_request, GAPS)
    largest = _power_of_two(max(WORTH * bytes_of_request, in_transit / WINDOWS[1]), LARGEST)
    window = _power_of_two(max(measured.latency / REQUEST_COST, in_transit / largest), WINDOWS)
    return RequestSizing(gap, largest, window)


def _power_of_two(value: float, bounds: tuple[int, int]) -> int:
    """Return the least power of two from `value` up, within `bounds`, which are such powers."""
    low, high = bounds
    return min(high, 1 << math.ceil(math.log2(max(value, low))))


class ConnectionMeter:
    """Latency and bandwidth of the connection to one server, measured by the requests made.

    Lives on the runtime's event loop; `request_sizing` alone may be read elsewhere.

    Parameters
    ----------
    clock
        Function that returns the time in seconds.

    Attributes
    ----------
    request_sizing
        Sizing of requests to the server. It stays at its default until `FEWEST` requests and
        `SAMPLE_BYTES` have come, and follows changes by more than `HYSTERESIS` times.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.request_sizing = RequestSizing()
        self._clock = clock
        self._applied: Measurement | None = None
        self._requests = 0
        self._in_flight: list[float] = []
        self._most_in_flight = 0
        self._latency = _RecentMinimum()
        self._bandwidth = 0.0
        self._replies: deque[tuple[float, float, int]] = deque(maxlen=LATEST_REPLIES)
        self._counted_to = 0.0
        self._counted_at = 0.0

    def start_request(self) -> float:
        """Note that a request goes out, and return the time, which `end_request` takes."""
        now = self._clock()
        if not self._in_flight:
            self._counted_at = now
            # Nothing comes before the first reply is on its way.
            self._counted_to = now + (self._latency.least or 0.0)
            self._replies.clear()
        self._in_flight.append(now)
        self._most_in_flight = max(self._most_in_flight, len(self._in_flight))
        return now

    def end_request(self, started: float, size: int) -> None:
        """Note that the reply to a request is there, with `size` bytes; 0 if it failed."""
        now = self._clock()
        self._in_flight.remove(started)
        self._requests += 1
        if 0 < size <= SMALL:
            self._latency.add(now - started)
        self._replies.append((started, now, size))
        if not self._in_flight or now - self._counted_at >= SAMPLE_SECONDS:
            self._measure_bandwidth(now)
        self._resize()

    def _measure_bandwidth(self, now: float) -> None:
        """Measure over the time since the last measurement for which every reply is there."""
        self._counted_at = now
        start, stop = self._counted_to, min(self._in_flight, default=now)
        if stop <= start:
            return
        received = bytes_between(self._replies, start, stop, self._latency.least or 0.0)
        if received < SAMPLE_BYTES:
            return
        self._counted_to = stop
        rate = received / (stop - start)
        # Few requests at a time prove a lower bound of the bandwidth only.
        if rate > self._bandwidth:
            self._bandwidth = rate
        elif self._most_in_flight >= self.request_sizing.window // 2:
            self._bandwidth = (self._bandwidth + rate) / 2
        self._most_in_flight = len(self._in_flight)

    def _resize(self) -> None:
        latency = self._latency.least
        if self._requests < FEWEST or latency is None or not self._bandwidth:
            return
        before = self._applied
        if (
            before is None
            or _differ(latency, before.latency)
            or _differ(self._bandwidth, before.bandwidth)
        ):
            self._applied = Measurement(latency, self._bandwidth)
            self.request_sizing = sizing_for(self._applied)


def bytes_between(
    replies: Iterable[tuple[float, float, int]], start: float, stop: float, latency: float
) -> float:
    """Return the bytes received in a time, if each reply came evenly after the latency.

    Parameters
    ----------
    replies
        Start of each request, end of its reply, both in seconds, and bytes of the reply.
    start, stop
        The time, in seconds.
    latency
        Seconds from the start of a request to the first byte of its reply.

    Returns
    -------
    float
        Bytes.
    """
    received = 0.0
    for started, ended, size in replies:
        first = min(started + latency, ended - SHORTEST)
        shared = min(ended, stop) - max(first, start)
        if shared > 0:
            received += size * shared / (ended - first)
    return received


class _RecentMinimum:
    """Minimum of the last values: between `LATENCY_SAMPLES` and twice as many."""

    def __init__(self) -> None:
        self._earlier = math.inf
        self._current = math.inf
        self._count = 0

    def add(self, value: float) -> None:
        if self._count == LATENCY_SAMPLES:
            self._earlier, self._current, self._count = self._current, math.inf, 0
        self._current = min(self._current, value)
        self._count += 1

    @property
    def least(self) -> float | None:
        least = min(self._earlier, self._current)
        return least if math.isfinite(least) else None


def _differ(now: float, before: float) -> bool:
    low, high = sorted((max(now, REQUEST_COST / 10), max(before, REQUEST_COST / 10)))
    return high > HYSTERESIS * low


def meter_for(url: URL, options: Mapping[str, Any]) -> ConnectionMeter | None:
    """Return the meter that all requests of this process to the server of `url` share.

    None for objects on this machine, and for chains, whose requests others make.
    """
    if url.is_chain or url.protocol not in _REMOTE:
        return None
    key = ("meter", url.protocol, url.links[0].host, *sorted(server_options(options)))
    return runtime().shared(key, ConnectionMeter)


def sizing_without_meter(url: URL) -> RequestSizing:
    """Return the sizing where nothing is measured: files have their own."""
    return LOCAL if url.links[0].is_local else RequestSizing()
