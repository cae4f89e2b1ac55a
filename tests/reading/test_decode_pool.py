"""Who decodes when, and with how many threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import dask
import pytest
import xarray as xr

from support.generate.slide import slide
from xarray_dicom.decode_threads import Caller, DecodePool, Slots, cpu_count, on_behalf_of
from xarray_dicom.runtime import runtime

SECONDS = 30


@pytest.fixture
def pool() -> Iterator[Callable[[int], DecodePool]]:
    made = []

    def make(threads: int) -> DecodePool:
        made.append(DecodePool(threads))
        return made[-1]

    yield make
    for one in made:
        one.shutdown()


def submit(pool: DecodePool, caller: Caller, function: Callable[..., Any], *args: Any) -> Any:
    token = on_behalf_of.set(caller)
    try:
        return pool.submit(function, *args)
    finally:
        on_behalf_of.reset(token)


class Gauge:
    """How many threads are in a block at a time."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.inside -= 1


def test_callers_take_turns(pool: Callable[[int], DecodePool]) -> None:
    one = pool(1)
    gate = threading.Event()
    order: list[str] = []
    callers = {name: Caller(Slots(1)) for name in ("first", "large", "small")}
    futures = [submit(one, callers["first"], gate.wait, SECONDS)]
    futures += [submit(one, callers["large"], order.append, f"large {n}") for n in range(5)]
    futures += [submit(one, callers["small"], order.append, f"small {n}") for n in range(2)]
    gate.set()
    for future in futures:
        future.result(SECONDS)
    assert order == [
        "large 0", "small 0", "large 1", "small 1", "large 2", "large 3", "large 4"
    ]  # fmt: skip


def test_callers_keep_to_their_slots(pool: Callable[[int], DecodePool]) -> None:
    six, few, gauges = pool(6), Slots(2), (Gauge(), Gauge())

    def work(gauge: Gauge) -> None:
        with gauge:
            time.sleep(0.001)

    limited = [Caller(few) for _ in range(3)]
    free = Caller(Slots(6))
    futures: list[Future[None]] = []
    for n in range(120):
        futures.append(submit(six, limited[n % 3], work, gauges[0]))
        futures.append(submit(six, free, work, gauges[1]))
    for future in futures:
        future.result(SECONDS)
    assert gauges[0].most == 2
    assert gauges[1].most > 2
    assert few.occupied == 0


def test_failures_and_cancelled_jobs_leave_no_slot_occupied(
    pool: Callable[[int], DecodePool],
) -> None:
    two, slots = pool(2), Slots(1)
    gate = threading.Event()
    first = submit(two, Caller(slots), gate.wait, SECONDS)
    failing = submit(two, Caller(slots), [].pop)
    cancelled = submit(two, Caller(slots), time.sleep, SECONDS)
    last = submit(two, Caller(slots), lambda: "done")
    assert cancelled.cancel()
    gate.set()
    assert first.result(SECONDS)
    with pytest.raises(IndexError):
        failing.result(SECONDS)
    with pytest.raises(CancelledError):
        cancelled.result(SECONDS)
    assert last.result(SECONDS) == "done"
    assert slots.occupied == 0


def test_without_dask_all_processors_decode() -> None:
    assert runtime().slots().limit == cpu_count()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("pool") / "slide.dcm"
    slide(target, shape=(1024, 1024), tile=64)
    return target


def watch() -> None:
    """Count from now on in this process how many threads decode at a time."""
    from xarray_dicom.reading import reader

    decode_share, gauge = reader.decode_share, Gauge()

    def watched(*args: Any) -> None:
        with gauge:
            time.sleep(0.002)
            decode_share(*args)

    reader.decode_share = watched  # type: ignore[assignment]
    reader.gauge, reader.unwatched = gauge, decode_share  # type: ignore[attr-defined]


def most() -> int:
    """The most threads that decoded at a time, and an end to counting."""
    from xarray_dicom.reading import reader

    reader.decode_share = reader.unwatched  # type: ignore[attr-defined]
    found: int = reader.gauge.most  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("processes", "workers", "threads"), [(True, 2, 1), (False, 2, 1), (False, 1, 1), (False, 1, 9)]
)
def test_workers_of_dask_decode_with_the_threads_they_have(
    path: Path, processes: bool, workers: int, threads: int
) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.admin.log-format": "%(message)s"}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=processes,
            host=None if not processes else "127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        everywhere = client.run if processes else lambda function: {"here": function()}
        everywhere(watch)
        image = xr.open_dataset(path, engine="dicom").image.chunk(y=64)
        assert image.mean().compute() > 0
        peaks = everywhere(most)
    expected = threads if processes else min(threads * workers, cpu_count())
    assert len(peaks) == (workers if processes else 1)
    assert all(1 <= peak <= expected for peak in peaks.values())
