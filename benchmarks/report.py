"""The page ``docs/benchmarks.md``: verdicts, plots and a table for each section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import GROUPS
from benchmarks.plots import PLOTS, draw
from benchmarks.results import Row, Run
from benchmarks.scale import SCALES
from benchmarks.store import FAR, LINKS
from benchmarks.targets import Verdict, targets

INTRODUCTION = """\
# Benchmarks

<!-- Written by `make bench`: edit benchmarks/report.py instead. -->

Time, requests and memory of this package and of other readers, in one run on one machine.
The object store is `rclone serve s3` on the same machine, behind a proxy that delays, narrows
and counts; server and proxy share the processors with the readers. Objects are generated.

Readers take turns, in another order each round, so that a drift of the machine meets all of
them; each figure is the median of *n* measurements after one to warm up. Every reader starts with
nothing cached but its connections, except where a cached index is named: there an earlier opening
left it on the local disk. Pixels are compared in the same run.

In the tables, *CPU s* (of the reader's process), *requests* and *MB* are those at 30 ms where
that was measured. *ideal* is the number of requests of the best plan for the store; *bytes /
needed* compares the bytes received with those of the frames read, without the gaps that were
fetched to save requests, which are in *merging*. *peak MiB* is memory above that after imports,
opening included, in a process that did nothing else.
"""

READERS = """\
## Readers

| reader | what it does |
|---|---|
| xarray-dicom | `xr.open_dataset(..., engine="dicom")`; S3 by obstore, or by s3fs where named; a region by `.isel` and `.values` |
| highdicom + s3fs | `highdicom.imread(..., lazy_frame_retrieval=True)` on an s3fs file with blocks of 500 kB, as its guide recommends; a series by `pydicom.dcmread` in 16 threads and `get_volume_from_series` |
| wsidicom | `WsiDicom.open` and `read_region` with a thread for each core, or with one; for patches its caches of frames are set to 0 bytes |
| openslide | `OpenSlide` and `read_region`; for patches with an `OpenSlideCache` of 0 bytes |
| imagecodecs | decodes the frames needed from memory, with all cores or in the calling thread, and drops the pixels or stores them in one array |
| obstore ranges, s3fs ranges | fetch the merged byte ranges needed, and drop the bytes |

"""  # noqa: E501

AGAIN = """\
## Run it again

```console
make bench                                   # all, and this page
.venv/bin/python -m benchmarks --list        # names of cases
.venv/bin/python -m benchmarks open series   # some groups; their tables are printed
.venv/bin/python -m benchmarks --quick       # tiny sizes, as a test
.venv/bin/python -m benchmarks --report      # this page from the figures in .bench/
```
"""


def _number(scale: float, digits: int) -> Callable[[float], str]:
    return lambda value: f"{value * scale:,.{digits}f}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.{0 if seconds >= 0.02 else 1}f}"


def _cpu_seconds(seconds: float) -> str:
    return f"{seconds:.{2 if seconds >= 0.1 else 4}f}"


@dataclass(frozen=True)
class Line:
    """A line of a table: one reader on one object, over every link.

    Attributes
    ----------
    rows
        By link.
    """

    rows: Mapping[str, Row]

    @property
    def chosen(self) -> Row:
        """Row whose counts are shown: at 30 ms, or else the last row with counts."""
        counted = [row for row in self.rows.values() if row.requests is not None]
        return self.rows.get(FAR) or (counted or list(self.rows.values()))[-1]

    @property
    def memory(self) -> float | None:
        """Peak memory in bytes, which is measured on one link."""
        return next((r.memory for r in self.rows.values() if r.memory is not None), None)

    @property
    def pixels(self) -> str:
        """Differences of pixels on all links, in words."""
        return "; ".join(dict.fromkeys(row.pixels for row in self.rows.values() if row.pixels))

    @property
    def repetitions(self) -> int | None:
        """Least number of measurements of all links."""
        return min((r.repetitions for r in self.rows.values() if r.repetitions), default=None)


#: Columns besides object, reader and the links: heading and text of a line's figure.
COLUMNS: dict[str, Callable[[Line], str]] = {
    "n": lambda line: _text(line.repetitions, str),
    "CPU s": lambda line: _text(line.chosen.cpu, _cpu_seconds),
    "requests": lambda line: _text(line.chosen.requests, _number(1, 0)),
    "ideal": lambda line: _text(line.chosen.planned_requests, _number(1, 0)),
    "MB": lambda line: _text(line.chosen.received, _number(1e-6, 2)),
    "bytes / needed": lambda line: _text(line.chosen.byte_ratio, _number(1, 2)),
    "merging": lambda line: (
        "" if line.chosen.requests is None else _text(line.chosen.merging_ratio, _percent)
    ),
    "peak MiB": lambda line: _text(line.memory, _number(2**-20, 0)),
    "pixels": lambda line: line.pixels,
}


def _percent(ratio: float) -> str:
    return f"+{100 * ratio:.1f} %"


def _text(value: float | None, spell: Callable[[float], str]) -> str:
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
        "## Targets\n",
        verdict_table(verdicts),
        "## At a glance\n",
        *pictures,
        *(section(run.rows, group) for group in GROUPS),
        READERS + AGAIN,
    ]
    page.write_text("\n".join(part for part in parts if part), encoding="utf-8")


def section(rows: Sequence[Row], group: str) -> str:
    """Return heading, explanation and table of one group; empty if there are no rows."""
    own = [row for row in rows if row.group == group]
    if not own:
        return ""
    heading, explanation = GROUPS[group]
    done = [row for row in own if row.failure is None]
    failed = [
        f"- {row.title}, {row.link}: {row.peer} failed. `{_first_line(row.failure)}`"
        for row in own
        if row.failure is not None
    ]
    parts = [f"## {heading}\n", f"{explanation}\n", table(done)]
    return "\n".join([*parts, *failed, ""] if failed else parts)


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table with milliseconds for each link, without empty columns."""
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.title, row.peer), {})[row.link] = row
    links = [link for link in LINKS if any(link in by_link for by_link in lines.values())]
    columns: dict[str, list[str]] = {"object": [], "reader": [peer for _, peer in lines]}
    before = ""
    for title, _ in lines:
        columns["object"].append(title if title != before else "")
        before = title
    for link in links:
        columns[f"ms, {link}"] = [
            _text(by_link[link].seconds, _milliseconds) if link in by_link else ""
            for by_link in lines.values()
        ]
    for name, spell in COLUMNS.items():
        column = [spell(Line(by_link)) for by_link in lines.values()]
        if any(column):
            columns[name] = column
    words = {"object", "reader", "pixels"}
    return "\n".join(
        [
            _line(columns),
            _line("---" if name in words else "---:" for name in columns),
            *map(_line, zip(*columns.values(), strict=True)),
            "",
        ]
    )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0].replace("`", "'")[:200]


def _machine(run: Run) -> str:
    described = "; ".join(f"{key} {value}" for key, value in run.machine.items())
    size = "" if run.scale == "full" else " Sizes are tiny: the figures mean nothing."
    return f"Measured on {run.date}. Machine: {described}.{size}\n"


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Return a Markdown table of targets and figures."""
    lines = [
        _line(("target", "measured", "met", "where, or why")),
        _line(("---", "---:", "---", "---")),
    ]
    for verdict in verdicts:
        measured = "not measured" if verdict.measured is None else f"{verdict.measured:.2f}"
        met = {True: "yes", False: "**no**", None: ""}[verdict.met]
        lines.append(_line((verdict.statement, measured, met, verdict.detail)))
    return "\n".join([*lines, ""])
