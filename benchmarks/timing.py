"""Clocks, counters and the table that is printed."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from proxy import LatencyProxy

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Cost(Generic[T]):
    """What one action took: the median of the repetitions, and the last result."""

    seconds: float
    requests: float
    received: float
    result: T


def cost(
    action: Callable[[S], T], proxy: LatencyProxy, repetitions: int, prepare: Callable[[], S]
) -> Cost[T]:
    """Run `action` on what `prepare` returns, after a warm-up, and take medians.

    The clock stands still while `prepare` runs.
    """
    action(prepare())
    seconds, requests, received = [], [], []
    for _ in range(repetitions):
        subject = prepare()
        gc.collect()
        before = proxy.requests, proxy.bytes_sent, time.perf_counter()
        result = action(subject)
        seconds.append(time.perf_counter() - before[2])
        requests.append(proxy.requests - before[0])
        received.append(proxy.bytes_sent - before[1])
    median = statistics.median
    return Cost(median(seconds), median(requests), median(received), result)


def allocated_blocks() -> int:
    """Memory blocks that Python objects hold."""
    gc.collect()
    return sys.getallocatedblocks()


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print `rows` in aligned columns."""
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for number, row in enumerate(cells):
        first, *others = zip(row, widths, strict=True)
        numbers = [cell.rjust(width) for cell, width in others]
        print("  " + "  ".join([first[0].ljust(first[1]), *numbers]))
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
