"""``docs/benchmarks.md``: verdicts, plots and a table for each section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.cases import GROUPS
from benchmarks.plots import PLOTS, draw
from benchmarks.results import Row, Run
from benchmarks.scale import SCALES
from benchmarks.targets import Verdict, targets

INTRODUCTION = """\
# Benchmarks

<!-- Written by `make bench`: edit benchmarks/report.py instead. -->

How fast this package opens and reads, next to what else there is, in one run on one machine.
The object store is `rclone serve s3` on the same machine, behind a proxy that delays, narrows
and counts; server and proxy share the processors with the readers. Objects are generated.

Readers take turns, so that a drift of the machine meets all of them; each figure is the median
of *n* measurements after one to warm up. Every reader starts with nothing cached but its
connections, except where a cached index is named: there an earlier opening left it on the local
disk. Pixels are compared in the same run.
"""

READERS = """\
## Readers

| reader | what it does |
|---|---|
| xarray-dicom | `xr.open_dataset(..., engine="dicom")`; S3 by obstore, or by s3fs where named |
| highdicom + s3fs | `highdicom.imread(..., lazy_frame_retrieval=True)` on an s3fs file with blocks of 500 kB, as its guide recommends; a series by `pydicom.dcmread` in 16 threads and `get_volume_from_series` |
| wsidicom | `WsiDicom.open` and `read_region` with a thread for each core |
| openslide | `OpenSlide` and `read_region` |
| imagecodecs, thread pool | decodes the frames needed with all cores, bytes at hand, and drops the pixels |
| obstore ranges, s3fs ranges | fetch the merged byte ranges needed, and drop the bytes |

"""  # noqa: E501

AGAIN = """\
## Run it again

```console
make bench                                   # all, and this page
.venv/bin/python -m benchmarks --list        # names of cases
.venv/bin/python -m benchmarks open series   # some groups; their tables are printed
.venv/bin/python -m benchmarks --quick       # tiny sizes: that all works
.venv/bin/python -m benchmarks --report      # this page from the figures kept in .bench/
```
"""


def _number(scale: float, digits: int) -> Callable[[float], str]:
    return lambda value: f"{value * scale:,.{digits}f}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.{0 if seconds >= 0.02 else 1}f}"


#: Columns of a table: a heading, and how the figure of a row is spelled.
COLUMNS: dict[str, Callable[[Row], str]] = {
    "object": lambda row: row.what,
    "link": lambda row: row.link,
    "reader": lambda row: row.peer,
    "ms": lambda row: _spelled(row.seconds, _milliseconds),
    "n": lambda row: _spelled(row.repetitions, str),
    "CPU s": lambda row: _spelled(row.cpu, _number(1, 2)),
    "requests": lambda row: _spelled(row.requests, _number(1, 0)),
    "ideal": lambda row: _spelled(row.planned_requests, _number(1, 0)),
    "MB": lambda row: _spelled(row.received, _number(1e-6, 2)),
    "bytes / needed": lambda row: _spelled(row.byte_ratio, _number(1, 2)),
    "+ merging": lambda row: (
        "" if row.requests is None else _spelled(row.merging_ratio, _number(1, 2))
    ),
    "peak MiB": lambda row: _spelled(row.memory, _number(2**-20, 0)),
    "pixels": lambda row: row.pixels or "",
}


def _spelled(value: float | None, spell: Callable[[float], str]) -> str:
    return "" if value is None else spell(value)


def write_report(run: Run, page: Path, images: Path) -> None:
    """Write the page and its plots.

    Parameters
    ----------
    run
        All rows.
    page
        The Markdown file.
    images
        Folder of the plots, reached from the page by a relative path.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    drawn = [plot for plot in PLOTS if draw(plot, run, images)]
    relative = images.relative_to(page.parent)
    pictures = [f"![{plot.title}]({relative}/{plot.file})\n" for plot in drawn]
    verdicts = [target.verdict(run) for target in targets(SCALES[run.scale])]
    parts = [
        INTRODUCTION,
        _machine(run),
        "## Asked and measured\n",
        _verdicts(verdicts),
        "## At a glance\n",
        *pictures,
        *(section(run.rows, group) for group in GROUPS),
        READERS + AGAIN,
    ]
    page.write_text("\n".join(part for part in parts if part), encoding="utf-8")


def section(rows: Sequence[Row], group: str) -> str:
    """Heading, explanation and table of one group; empty if there are no rows."""
    mine = [row for row in rows if row.group == group]
    if not mine:
        return ""
    heading, explanation = GROUPS[group]
    done = [row for row in mine if row.failure is None]
    failed = [
        f"- {row.what}, {row.link}: {row.peer} failed. `{_first_line(row.failure)}`"
        for row in mine
        if row.failure is not None
    ]
    parts = [f"## {heading}\n", f"{explanation}\n", table(done)]
    return "\n".join([*parts, *failed, ""] if failed else parts)


def table(rows: Sequence[Row]) -> str:
    """A Markdown table, without columns that no row has."""
    cells = {name: [spell(row) for row in rows] for name, spell in COLUMNS.items()}
    kept = {name: column for name, column in cells.items() if any(column)}
    words = {"object", "link", "reader", "pixels"}
    lines = [
        _line(kept),
        _line("---" if name in words else "---:" for name in kept),
        *map(_line, zip(*kept.values(), strict=True)),
    ]
    return "\n".join([*lines, ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0].replace("`", "'")[:200]


def _machine(run: Run) -> str:
    told = "; ".join(f"{key} {value}" for key, value in run.machine.items())
    size = "" if run.scale == "full" else " Sizes are tiny: the figures mean nothing."
    return f"Measured on {run.date}. Machine: {told}.{size}\n"


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    lines = [_line(("asked", "measured", "met")), _line(("---", "---:", "---"))]
    for verdict in verdicts:
        measured = "not measured" if verdict.measured is None else f"{verdict.measured:.2f}"
        met = {True: "yes", False: "**no**", None: ""}[verdict.met]
        lines.append(
            _line((verdict.asked, measured, f"{met}; {verdict.detail}" if verdict.detail else met))
        )
    return "\n".join([*lines, ""])
