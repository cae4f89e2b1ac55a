"""Measurement of cases, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.measure import take_turns
from benchmarks.memory import peak_memory
from benchmarks.objects import Object, recipes
from benchmarks.peers import PEERS, Task
from benchmarks.plan import ideal_plan, needed_nbytes
from benchmarks.results import Row
from benchmarks.scale import Scale
from benchmarks.store import BUCKET, Store, store

Report = Callable[[str], None]


def measure(chosen: Sequence[Case], scale: Scale, folder: Path, report: Report) -> Iterator[Row]:
    """Yield the rows of all cases as soon as they are measured.

    Parameters
    ----------
    chosen
        Cases of `benchmarks.cases.cases`.
    scale
        Sizes and repetitions.
    folder
        An empty folder, where the objects are written.
    report
        Function that is called with each line of the log.
    """
    written = _write(chosen, scale, folder / BUCKET, report)
    table = recipes(scale)
    with store(folder) as served:
        for number, case in enumerate(chosen, 1):
            rounds = case.rounds or scale.repetitions
            tasks = case.selection.tasks(written[case.target], rounds)
            title = ": ".join(
                filter(None, (table[case.target].title, case.label and case.selection.title))
            )
            for link in (link for link in case.links if link in scale.links):
                report(f"{number:3}/{len(chosen)} {case.name}, {link}")
                for row in _rows(case, title, tasks, link, served, scale):
                    report(f"          {_log_line(row)}")
                    yield row


def _write(chosen: Sequence[Case], scale: Scale, bucket: Path, report: Report) -> dict[str, Object]:
    """Write the objects of all cases; return them by name."""
    bucket.mkdir()
    table = recipes(scale)
    written: dict[str, Object] = {}
    for name in dict.fromkeys(case.target for case in chosen):
        report(f"write {table[name].title}")
        suffix = "" if name == "ct" else ".dcm"
        written[name] = table[name].write(bucket / (name + suffix))
    return written


def _rows(
    case: Case, title: str, tasks: Sequence[Task], link: str, served: Store, scale: Scale
) -> list[Row]:
    task = tasks[0]
    place = served.place(task.target.path, link)
    peers = {name: PEERS[name] for name in case.peers if not PEERS[name].refuses(task, place)}
    plan = ideal_plan(task, place) if task.action in ("region", "segment") else None
    common = Row(
        case.name,
        case.group,
        title,
        task.target.frames,
        link,
        "",
        needed=needed_nbytes(task) or None,
        planned_requests=len(plan.lengths) if plan and place.remote else None,
        planned=float(plan.lengths.sum()) if plan else None,
        table=task.target.table_nbytes,
    )
    rows = {name: replace(common, peer=name) for name in peers}
    if case.timed:
        outcomes = take_turns(
            peers, tasks, place, served.proxy(link), patience=scale.patience, turn=case.turn
        )
        for name, outcome in outcomes.items():
            figures: dict[str, Any] = {} if outcome.cost is None else vars(outcome.cost)
            rows[name] = replace(
                rows[name], **figures, pixels=outcome.pixels, failure=outcome.failure
            )
    if case.memory and link == case.links[0] and (scale.memory or not case.timed):
        for name, row in rows.items():
            if row.failure is None:
                memory, seconds = peak_memory(name, task, place)
                timed: dict[str, Any] = {"seconds": seconds, "repetitions": 1}
                timed = {} if case.timed else timed
                rows[name] = replace(row, memory=memory, **timed)
    return list(rows.values())


def _log_line(row: Row) -> str:
    if row.failure is not None:
        return f"{row.peer}: {row.failure}"
    line = f"{row.peer}: {1000 * (row.seconds or 0):,.1f} ms"
    if row.requests is not None:
        line += f", {row.requests:.0f} requests, {(row.received or 0) / 1e6:.2f} MB"
    if row.memory is not None:
        line += f", {row.memory / 2**20:,.0f} MiB"
    return line + (f", pixels {row.pixels}" if row.pixels else "")
