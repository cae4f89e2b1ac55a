"""Selections of an object that measurements read, at any scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.objects import TILE, Object
from benchmarks.peers import Task


@dataclass(frozen=True)
class Selection:
    """An action, and for a region its size.

    Attributes
    ----------
    action
        See `benchmarks.peers.base.Task`.
    rows, columns
        Size of a region in pixels; 0 for all of the object.
    opens
        True if the clock runs while the object is opened.
    scattered
        True if the region is at a random place in each round, of an object that stays open
        (unless `opens`); otherwise it is the region in the middle, from an edge of tiles on.
    """

    action: str
    rows: int = 0
    columns: int = 0
    opens: bool = False
    scattered: bool = False

    @property
    def title(self) -> str:
        """Description for the report."""
        size = f"{self.rows} × {self.columns}" if self.rows else "whole level"
        if self.action == "open":
            return "open"
        return f"open and {size}" if self.opens else size

    def tasks(self, target: Object, rounds: int) -> list[Task]:
        """Return the task of each round of measurements.

        Parameters
        ----------
        target
            The object.
        rounds
            Number of rounds.
        """
        sizes = zip(target.shape, (self.rows, self.columns), strict=True)
        rows, columns = (_middle(whole, size) for whole, size in sizes)
        segment = target.segments // 2 + 1
        task = Task(self.action, target, rows, columns, segment, self.opens)
        return list(self._scatter(task, rounds)) if self.scattered else [task] * rounds

    def _scatter(self, task: Task, rounds: int) -> Iterator[Task]:
        """Yield the task with its region at random places, the same ones in every run."""
        random = np.random.default_rng(0)
        height, width = task.target.shape
        for _ in range(rounds):
            top = int(random.integers(height - self.rows + 1))
            left = int(random.integers(width - self.columns + 1))
            yield replace(
                task,
                rows=(top, top + self.rows),
                columns=(left, left + self.columns),
                stays_open=not self.opens,
            )


def _middle(whole: int, size: int) -> tuple[int, int]:
    """Return the half-open bounds of the middle of an axis, from an edge of tiles on."""
    if not size or size >= whole:
        return 0, whole
    start = (whole - size) // 2 // TILE * TILE
    return start, start + size
