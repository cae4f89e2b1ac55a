"""The way to a server, as the requests of this process have found it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from xarray_dicom.runtime import runtime
from xarray_dicom.storage.pace import Pace
from xarray_dicom.storage.url import addresses_of, protocol_of, split_link

#: Seconds of this process that a request takes however few bytes it brings: the client,
#: the event loop and the tasks around it, measured with s3fs, gcsfs, aiohttp and obstore.
REQUEST_COST = 1e-3

#: How much longer the bytes of a whole request take than the request itself.
WORTH = 8

GAPS = 4 * 2**10, 64 * 2**10
LARGEST = 512 * 2**10, 8 * 2**20
WINDOWS = 8, 64

#: Files need no waiting: a jump between threads takes as long as 200 KiB from memory, or a
#: tenth of that from a disk, and buffers filled at a time slow each other down.
LOCAL = Pace(gap=32 * 2**10, largest=2 * 2**20, window=4)

#: Protocols whose requests cross a network.
_REMOTE = {"s3", "s3a", "gs", "gcs", "http", "https", "az", "abfs", "abfss"}

#: Replies that tell the latency have no more bytes than this.
SMALL = 256 * 2**10

#: Small replies after which the least latency of earlier ones is forgotten.
REMEMBERED = 64

#: Requests before which nothing is concluded.
FEWEST = 32

#: Bytes, and seconds, that tell a bandwidth.
SAMPLE_BYTES = 4 * 2**20
SAMPLE_SECONDS = 0.25

#: Replies whose bytes are spread over the time that they took.
KEPT = 512

#: Seconds in which the bytes of a reply come at least.
SHORTEST = 1e-6

#: How far a measurement moves before the pace follows.
HYSTERESIS = 2.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a link does.

    Attributes
    ----------
    latency
        Seconds from a request to its reply, however short.
    bandwidth
        Bytes per second of all requests together.
    """

    latency: float
    bandwidth: float


def pace_of(measured: Measured) -> Pace:
    """The pace for a link: powers of two, within `GAPS`, `LARGEST` and `WINDOWS`.

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
    return Pace(gap, largest, window)


def _power_of_two(value: float, bounds: tuple[int, int]) -> int:
    """The power of two that is not below `value`, within `bounds`, which are two as well."""
    low, high = bounds
    return min(high, 1 << math.ceil(math.log2(max(value, low))))


class Link:
    """Latency and bandwidth of the way to one server, learned from the requests made.

    Lives on the runtime's event loop; `pace` alone may be read elsewhere.

    Parameters
    ----------
    clock
        Tells the time in seconds.

    Attributes
    ----------
    pace
        How to ask the server. It stays what it is by default until `FEWEST` requests and
        `SAMPLE_BYTES` have come, and follows changes by more than `HYSTERESIS` times.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.pace = Pace()
        self._clock = clock
        self._followed: Measured | None = None
        self._requests = 0
        self._in_flight: list[float] = []
        self._most = 0
        self._latency = _Least()
        self._bandwidth = 0.0
        self._replies: deque[tuple[float, float, int]] = deque(maxlen=KEPT)
        self._counted_to = 0.0
        self._counted_at = 0.0

    def began(self) -> float:
        """Note that a request goes out; returns what `ended` wants."""
        now = self._clock()
        if not self._in_flight:
            self._counted_at = now
            # Nothing comes before the first reply is on its way.
            self._counted_to = now + (self._latency.least or 0.0)
            self._replies.clear()
        self._in_flight.append(now)
        self._most = max(self._most, len(self._in_flight))
        return now

    def ended(self, began: float, size: int) -> None:
        """Note that the reply to a request is there, with `size` bytes; 0 if it failed."""
        now = self._clock()
        self._in_flight.remove(began)
        self._requests += 1
        if 0 < size <= SMALL:
            self._latency.add(now - began)
        self._replies.append((began, now, size))
        if not self._in_flight or now - self._counted_at >= SAMPLE_SECONDS:
            self._count(now)
        self._follow()

    def _count(self, now: float) -> None:
        """Learn the bandwidth from the time for which every reply is there."""
        self._counted_at = now
        start, stop = self._counted_to, min(self._in_flight, default=now)
        if stop <= start:
            return
        came = bytes_between(self._replies, start, stop, self._latency.least or 0.0)
        if came < SAMPLE_BYTES:
            return
        self._counted_to = stop
        rate = came / (stop - start)
        # A reader that asks for little tells only that the link can do as much.
        if rate > self._bandwidth:
            self._bandwidth = rate
        elif self._most >= self.pace.window // 2:
            self._bandwidth = (self._bandwidth + rate) / 2
        self._most = len(self._in_flight)

    def _follow(self) -> None:
        latency = self._latency.least
        if self._requests < FEWEST or latency is None or not self._bandwidth:
            return
        before = self._followed
        if (
            before is None
            or _moved(latency, before.latency)
            or _moved(self._bandwidth, before.bandwidth)
        ):
            self._followed = Measured(latency, self._bandwidth)
            self.pace = pace_of(self._followed)


def bytes_between(
    replies: Iterable[tuple[float, float, int]], start: float, stop: float, latency: float
) -> float:
    """Bytes that came from `start` to `stop`, if each reply came evenly after the latency.

    Parameters
    ----------
    replies
        When each request began, when its reply was there, and the bytes that it had.
    """
    came = 0.0
    for began, ended, size in replies:
        first = min(began + latency, ended - SHORTEST)
        shared = min(ended, stop) - max(first, start)
        if shared > 0:
            came += size * shared / (ended - first)
    return came


class _Least:
    """The least of the last values: between `REMEMBERED` and twice as many."""

    def __init__(self) -> None:
        self._earlier = math.inf
        self._current = math.inf
        self._count = 0

    def add(self, value: float) -> None:
        if self._count == REMEMBERED:
            self._earlier, self._current, self._count = self._current, math.inf, 0
        self._current = min(self._current, value)
        self._count += 1

    @property
    def least(self) -> float | None:
        least = min(self._earlier, self._current)
        return least if math.isfinite(least) else None


def _moved(now: float, before: float) -> bool:
    low, high = sorted((max(now, REQUEST_COST / 10), max(before, REQUEST_COST / 10)))
    return high > HYSTERESIS * low


def link_to(url: str, options: Mapping[str, Any]) -> Link | None:
    """The link to the server of `url` that all requests of this process share.

    None for what is on this machine, and for chains, whose requests are not their own.
    """
    protocol = protocol_of(url)
    if protocol not in _REMOTE or split_link(url)[1]:
        return None
    host = url.partition("://")[2].partition("/")[0]
    return runtime().shared(("link", protocol, host, *sorted(addresses_of(options))), Link)


def pace_without_link(url: str) -> Pace:
    """The pace for what has no link: files have their own."""
    return LOCAL if protocol_of(url) in ("file", "local") else Pace()
