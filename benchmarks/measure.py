"""Clocks and counters: peers take turns, and of each the median is taken."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer, Task
from benchmarks.store import Place
from support.proxy import LatencyProxy


@dataclass(frozen=True)
class Cost:
    """What one action took: medians, and of the seconds the least as well."""

    repetitions: int
    seconds: float
    fastest: float
    cpu: float
    requests: float | None
    received: float | None


@dataclass(frozen=True)
class Outcome:
    """Of one peer: its cost, or why there is none, and what its pixels were like.

    Attributes
    ----------
    pixels
        How they differ from those of the first peer; None where it delivers none.
    """

    cost: Cost | None
    pixels: str | None
    failure: str | None = None


def take_turns(
    peers: Mapping[str, Peer],
    task: Task,
    place: Place,
    proxy: LatencyProxy | None,
    *,
    repetitions: int,
    patience: float,
) -> dict[str, Outcome]:
    """Measure all peers, one after another and then again, so that drift meets all of them.

    Parameters
    ----------
    peers
        By name.
    proxy
        What counts; None if nothing does.
    repetitions
        Rounds, after one to warm up, in which pixels are compared.
    patience
        Seconds in all after which a peer that was measured twice is measured no further.
    """
    pixels, failures = _warm_up(peers, task, place)
    # What is there by now is not looked through by each collection between measurements.
    gc.collect()
    gc.freeze()
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in peers if name not in failures}
    for _ in range(repetitions):
        for name, rounds in taken.items():
            if len(rounds) < 2 or sum(seconds for seconds, *_ in rounds) < patience:
                rounds.append(_measure(peers[name], task, place, proxy))
    for peer in peers.values():
        peer.close()
    costs = {name: _cost(rounds, counted=proxy is not None) for name, rounds in taken.items()}
    return {name: Outcome(costs.get(name), pixels.get(name), failures.get(name)) for name in peers}


def _warm_up(
    peers: Mapping[str, Peer], task: Task, place: Place
) -> tuple[dict[str, str | None], dict[str, str]]:
    """Run each peer once; how its pixels compare, or how it failed."""
    pixels: dict[str, str | None] = {}
    failures: dict[str, str] = {}
    reference: NDArray[Any] | None = None
    for name, peer in peers.items():
        # A peer that can't is a finding, not the end of the run.
        try:
            found = peer.pixels(peer.act(place, task, peer.ready(place, task)), task)
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {error}"
            continue
        if reference is None:
            reference = found
        pixels[name] = None if found is None or reference is None else compare(reference, found)
    return pixels, failures


def compare(reference: NDArray[Any], found: NDArray[Any]) -> str:
    """How two images differ, in words."""
    if reference.shape != found.shape:
        return f"shape {found.shape} instead of {reference.shape}"
    if np.array_equal(reference, found):
        return "equal"
    difference = max(
        np.abs(np.subtract(a, b, dtype=np.float64)).max()
        for a, b in zip(reference, found, strict=True)
    )
    return f"differ by ≤ {difference:g}"


def _measure(peer: Peer, task: Task, place: Place, proxy: LatencyProxy | None) -> tuple[float, ...]:
    subject = peer.ready(place, task)
    gc.collect()
    counted = (proxy.requests, proxy.bytes_sent) if proxy else (0, 0)
    cpu, start = time.process_time(), time.perf_counter()
    result = peer.act(place, task, subject)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    del result
    now = (proxy.requests, proxy.bytes_sent) if proxy else (0, 0)
    return seconds, cpu, now[0] - counted[0], now[1] - counted[1]


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
