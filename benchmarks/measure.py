"""Measurement of time and transfers: peers take turns, and of each the median is taken."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer, Task
from benchmarks.store import Place
from support.proxy import LatencyProxy


@dataclass(frozen=True)
class Cost:
    """The cost of one action.

    Attributes
    ----------
    repetitions
        Number of measurements.
    seconds, fastest
        Median and least time.
    cpu
        Median processor time of this process in seconds.
    requests, received
        Median requests to the store and bytes from it; None where nothing is counted.
    """

    repetitions: int
    seconds: float
    fastest: float
    cpu: float
    requests: float | None
    received: float | None


@dataclass(frozen=True)
class Outcome:
    """The result of measuring one peer.

    Attributes
    ----------
    cost
        None if the peer failed.
    pixels
        Difference from the pixels of the first peer, in words; None where it delivers none.
    failure
        The error, if the peer failed.
    """

    cost: Cost | None
    pixels: str | None
    failure: str | None = None


def take_turns(
    peers: Mapping[str, Peer],
    tasks: Sequence[Task],
    place: Place,
    proxy: LatencyProxy | None,
    *,
    patience: float,
    turn: int = 1,
) -> dict[str, Outcome]:
    """Measure all peers in rounds, so that a drift of the machine meets all of them.

    Parameters
    ----------
    peers
        By name.
    tasks
        Those of each round, after one to warm up. Pixels are compared off the clock, in the
        round to warm up and wherever the task differs from its.
    proxy
        The proxy that counts requests; None if nothing is counted.
    patience
        Seconds in all after which a peer that was measured twice is measured no further.
    turn
        Tasks that a peer does before it is another one's turn.
    """
    differences, failures = _warm_up(peers, tasks[0], place)
    # Objects alive by now are exempt from the collections between measurements.
    gc.collect()
    gc.freeze()
    measurements: dict[str, list[tuple[float, ...]]] = {
        name: [] for name in peers if name not in failures
    }
    for number, first in enumerate(range(0, len(tasks), turn)):
        block = tasks[first : first + turn]
        images: list[dict[str, NDArray[Any] | None]] = [{} for _ in block]
        for name in _rotated(list(measurements), number):
            rounds, peer = measurements[name], peers[name]
            for task, pixels in zip(block, images, strict=True):
                if len(rounds) < 2 or sum(seconds for seconds, *_ in rounds) < patience:
                    figures, result = _measure(peer, task, place, proxy)
                    rounds.append(figures)
                    if task is not tasks[0]:
                        pixels[name] = peer.pixels(result, task)
                    del result
        for pixels in images:
            for name, difference in _compared(pixels, next(iter(peers))).items():
                differences[name] = max(differences.get(name, difference), difference)
    for peer in peers.values():
        peer.close()
    costs = {
        name: _cost(rounds, counted=proxy is not None) for name, rounds in measurements.items()
    }
    texts = {name: difference.text for name, difference in differences.items()}
    return {name: Outcome(costs.get(name), texts.get(name), failures.get(name)) for name in peers}


def _rotated(names: list[str], number: int) -> list[str]:
    """Return names in another order each round, so that none always follows the same one."""
    start = number % max(1, len(names))
    return names[start:] + names[:start]


def _warm_up(
    peers: Mapping[str, Peer], task: Task, place: Place
) -> tuple[dict[str, PixelDifference], dict[str, str]]:
    """Run each peer once; return how its pixels compare, or how it failed."""
    images: dict[str, NDArray[Any] | None] = {}
    failures: dict[str, str] = {}
    differences: dict[str, PixelDifference] = {}
    for name, peer in peers.items():
        # A peer that can't is a finding, not the end of the run.
        try:
            images[name] = peer.pixels(peer.act(place, task, peer.ready(place, task)), task)
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {error}"
            continue
        first = next(iter(peers))
        differences |= _compared({first: images.get(first), name: images[name]}, first)
        # Only the reference stays: images of a whole level are large.
        if name != first:
            del images[name]
    return differences, failures


def _compared(images: Mapping[str, NDArray[Any] | None], first: str) -> dict[str, PixelDifference]:
    """Return the differences of images to that of the first peer, by peer."""
    reference = images.get(first)
    if reference is None:
        return {}
    return {name: compare(reference, image) for name, image in images.items() if image is not None}


class PixelDifference(NamedTuple):
    """Greatest difference of two images in grey levels, and words for it."""

    levels: float
    text: str


def compare(reference: NDArray[Any], image: NDArray[Any]) -> PixelDifference:
    """Return the difference of an image to another one."""
    if reference.shape != image.shape:
        return PixelDifference(math.inf, f"shape {image.shape} instead of {reference.shape}")
    if np.array_equal(reference, image):
        return PixelDifference(0, "equal")
    # Plane by plane, for the size of the float64 in between.
    levels = max(
        float(np.abs(np.subtract(a, b, dtype=np.float64)).max())
        for a, b in zip(reference, image, strict=True)
    )
    return PixelDifference(levels, f"differ by ≤ {levels:g}")


def _measure(
    peer: Peer, task: Task, place: Place, proxy: LatencyProxy | None
) -> tuple[tuple[float, ...], Any]:
    """Return seconds, processor seconds, requests and bytes of one action, and its result."""
    subject = peer.ready(place, task)
    gc.collect()
    counted = (proxy.requests, proxy.bytes_sent) if proxy else (0, 0)
    cpu, start = time.process_time(), time.perf_counter()
    result = peer.act(place, task, subject)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    now = (proxy.requests, proxy.bytes_sent) if proxy else (0, 0)
    return (seconds, cpu, now[0] - counted[0], now[1] - counted[1]), result


def _cost(rounds: list[tuple[float, ...]], *, counted: bool) -> Cost:
    seconds, cpu, requests, received = zip(*rounds, strict=True)
    median = statistics.median
    return Cost(
        len(rounds),
        median(seconds),
        min(seconds),
        median(cpu),
        median(requests) if counted else None,
        median(received) if counted else None,
    )
