"""Plots of a run, as small SVG files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.results import Row, Run
from benchmarks.store import FAR, LINKS, LOCAL, NARROW

mpl.rcParams["svg.hashsalt"] = "benchmarks"
mpl.rcParams["svg.fonttype"] = "none"

WIDTH, HEIGHT = 9.0, 3.6


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    title
        Title of the axes.
    group
        Group of the rows that are drawn, one line for each reader.
    across
        Function that returns the value of a row on the horizontal axis, or None.
    label
        Label of that axis.
    target
        End of the names of objects, such as ``"-eot"``; several objects make one line.
    link
        The only link that is drawn; None for all.
    logarithmic
        True if the horizontal axis is logarithmic.
    """

    title: str
    group: str
    across: Callable[[Row], float | None]
    label: str
    target: str = ""
    link: str | None = None
    logarithmic: bool = False


@dataclass(frozen=True)
class Plot:
    """One file: panels side by side, with seconds on the vertical axis."""

    file: str
    title: str
    panels: tuple[Panel, ...]


def _latency(row: Row) -> float | None:
    link = LINKS[row.link]
    return None if link.latency is None or link.bandwidth else 1000 * link.latency


def _frames(row: Row) -> float:
    return row.frames


def _workers(row: Row) -> float:
    return float(row.peer.split(", ")[1].split()[0])


PLOTS = (
    Plot(
        "benchmarks-latency.svg",
        "Seconds by latency",
        tuple(
            Panel(title, group, _latency, "latency, ms", target)
            for title, group, target in (
                ("open a slide", "open", "slide-eot"),
                ("4096 × 4096 region", "region-large", "slide-eot"),
                ("one segment of many", "segment", "organs"),
                ("CT series", "series", "ct"),
            )
        ),
    ),
    Plot(
        "benchmarks-frames.svg",
        "Seconds by number of frames",
        tuple(
            Panel(title, group, _frames, "frames", target, FAR, logarithmic=True)
            for title, group, target in (
                ("open, offset table", "growth", "-eot"),
                ("open, uncompressed", "growth", "-native"),
                ("open and first region", "growth-region", "-eot"),
                ("open a segmentation", "growth-segmentation", ""),
            )
        ),
    ),
    Plot(
        "benchmarks-workers.svg",
        "Seconds by number of workers",
        tuple(
            Panel(f"whole level, {link}", "workers", _workers, "processes", link=link)
            for link in (LOCAL, NARROW)
        ),
    ),
)


def draw(plot: Plot, run: Run, folder: Path) -> bool:
    """Draw a plot into a file of `folder`.

    Parameters
    ----------
    plot
        The plot.
    run
        The figures.
    folder
        Folder of the file.

    Returns
    -------
    bool
        False if the run has no rows for the plot; nothing is written then.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    every_axes = figure.subplots(1, len(plot.panels), squeeze=False)[0]
    lines: dict[str, Line2D] = {}
    colours: dict[str, str] = {}
    for axes, panel in zip(every_axes, plot.panels, strict=True):
        for name, points in _points(panel, run).items():
            across, seconds = zip(*sorted(points), strict=True)
            colour = colours.setdefault(name, f"C{len(colours)}")
            (lines[name],) = axes.plot(across, seconds, color=colour, marker="o", markersize=3)
        axes.set_title(panel.title, fontsize=9)
        axes.set_xlabel(panel.label, fontsize=8)
        axes.set_yscale("log")
        if panel.logarithmic:
            axes.set_xscale("log")
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    if not lines:
        return False
    every_axes[0].set_ylabel("seconds", fontsize=8)
    if len(lines) > 1:
        figure.legend(
            list(lines.values()), list(lines), loc="outside lower center", ncols=4, fontsize=8
        )
    figure.savefig(folder / plot.file, metadata={"Date": None})
    return True


def _points(panel: Panel, run: Run) -> dict[str, list[tuple[float, float]]]:
    """Return horizontal values and seconds, by reader."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in run.rows:
        if row.group != panel.group or not row.case.endswith(panel.target) or not row.seconds:
            continue
        if panel.link is not None and row.link != panel.link:
            continue
        across = panel.across(row)
        if across is not None:
            # All numbers of workers make one line.
            name = "Dask" if panel.across is _workers else row.peer
            points.setdefault(name, []).append((across, row.seconds))
    return points
