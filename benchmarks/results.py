"""Rows of figures, stored as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """Figures of one reader, on one object, over one link.

    Attributes
    ----------
    case, group
        Name and section, of `benchmarks.cases`.
    title
        Description of the object, and of the selection where a group has several.
    frames
        Number of frames of the object.
    link, peer
        Names.
    repetitions
        Number of measurements.
    seconds, fastest, cpu
        Median and least time, and median processor time of this process, in seconds.
    requests, received
        Median requests to the store and bytes from it.
    needed
        Bytes of the frames that are read.
    planned_requests, planned
        Requests and bytes of the ideal plan for them.
    table
        Bytes of the offset table.
    memory
        Peak bytes above those after imports, opening included.
    pixels
        Difference from the pixels of the engine, in words.
    failure
        The error of a reader without figures.
    """

    case: str
    group: str
    title: str
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
        """Requests divided by those of the ideal plan."""
        return _ratio(self.requests, self.planned_requests)

    @property
    def byte_ratio(self) -> float | None:
        """Bytes received, without the gaps of merged ranges, divided by those needed."""
        if self.received is None or self.planned is None or not self.needed:
            return None
        return (self.received - (self.planned - self.needed)) / self.needed

    @property
    def merging_ratio(self) -> float | None:
        """Bytes of the gaps of merged ranges divided by those needed."""
        if self.planned is None or not self.needed:
            return None
        return self.planned / self.needed - 1

    @property
    def seconds_per_frame(self) -> float | None:
        """Median seconds divided by the frames of the object."""
        return _ratio(self.seconds, self.frames)

    @property
    def besides_table(self) -> float | None:
        """Bytes received without those of the offset table."""
        return None if self.received is None else self.received - (self.table or 0)


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if over is None or not under else over / under


@dataclass(frozen=True)
class Run:
    """All rows, with scale, date and machine."""

    scale: str
    date: str
    machine: dict[str, str]
    rows: tuple[Row, ...]

    def find(self, case: str, peer: str, link: str) -> Row | None:
        """Return the row of one reader, or None.

        Parameters
        ----------
        case, peer, link
            Names.
        """
        for row in self.rows:
            if (row.case, row.peer, row.link) == (case, peer, link):
                return row
        return None

    def replaced(self, rows: Iterable[Row]) -> Run:
        """Return the run with `rows` in place of all rows of their cases."""
        newer = tuple(rows)
        names = {row.case for row in newer}
        others = tuple(row for row in self.rows if row.case not in names)
        return dataclasses.replace(self, rows=others + newer)


def save(run: Run, path: Path) -> None:
    """Write a run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(run), indent=1, ensure_ascii=False))


def load(path: Path) -> Run:
    """Read a run from JSON."""
    content: dict[str, Any] = json.loads(path.read_text())
    rows = tuple(Row(**row) for row in content.pop("rows"))
    return Run(rows=rows, **content)
