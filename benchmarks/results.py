"""What was found: rows that are kept as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One reader, on one object, over one link.

    Attributes
    ----------
    case, group
        Name and section, of `benchmarks.cases`.
    what
        The object, in words.
    frames
        That it has.
    link, peer
        Names.
    repetitions
        Measurements that the medians are of.
    seconds, fastest, cpu
        Median and least time, and median processor time of this process.
    requests, received
        To and from the store, medians.
    needed
        Bytes of the frames that were asked for.
    planned_requests, planned
        Requests and bytes of an ideal plan for them.
    table
        Bytes of the offset table.
    memory
        Peak bytes, opening included.
    pixels
        How they compare with the engine's.
    failure
        Why there are no figures.
    """

    case: str
    group: str
    what: str
    frames: int
    link: str
    peer: str
    repetitions: int | None = None
    seconds: float | None = None
    fastest: float | None = None
    cpu: float | None = None
    requests: float | None = None
    received: float | None = None
    needed: float | None = None
    planned_requests: float | None = None
    planned: float | None = None
    table: float | None = None
    memory: float | None = None
    pixels: str | None = None
    failure: str | None = None

    @property
    def request_ratio(self) -> float | None:
        """Requests over those of the ideal plan."""
        return _ratio(self.requests, self.planned_requests)

    @property
    def byte_ratio(self) -> float | None:
        """Bytes over those needed, without what merging fetched to save requests."""
        if self.received is None or self.planned is None or not self.needed:
            return None
        return (self.received - (self.planned - self.needed)) / self.needed

    @property
    def merging_ratio(self) -> float | None:
        """What merging fetched to save requests, over the bytes needed."""
        if self.planned is None or not self.needed:
            return None
        return self.planned / self.needed - 1

    @property
    def seconds_per_frame(self) -> float | None:
        """Median seconds over all frames of the object."""
        return _ratio(self.seconds, self.frames)

    @property
    def besides_table(self) -> float | None:
        """Bytes received but for those of the offset table."""
        return None if self.received is None else self.received - (self.table or 0)


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if over is None or not under else over / under


@dataclass(frozen=True)
class Run:
    """All rows, and where and when they were found."""

    scale: str
    date: str
    machine: dict[str, str]
    rows: tuple[Row, ...]

    def find(self, case: str, peer: str, link: str) -> Row | None:
        """The row of one reader."""
        for row in self.rows:
            if (row.case, row.peer, row.link) == (case, peer, link):
                return row
        return None

    def replaced(self, rows: Iterable[Row]) -> Run:
        """The same with newer rows for the cases that `rows` has."""
        newer = tuple(rows)
        names = {row.case for row in newer}
        kept = tuple(row for row in self.rows if row.case not in names)
        return dataclasses.replace(self, rows=kept + newer)


def save(run: Run, path: Path) -> None:
    """Write a run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(run), indent=1, ensure_ascii=False))


def load(path: Path) -> Run:
    """Read a run again."""
    content: dict[str, Any] = json.loads(path.read_text())
    rows = tuple(Row(**row) for row in content.pop("rows"))
    return Run(rows=rows, **content)
