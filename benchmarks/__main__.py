"""Measure, store the figures, and write ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import ROOT
from benchmarks.cases import GROUPS, Case, cases
from benchmarks.machine import describe
from benchmarks.report import section, verdict_table, write_report
from benchmarks.results import Row, Run, load, save
from benchmarks.run import measure
from benchmarks.scale import FULL, QUICK
from benchmarks.targets import targets

RESULTS = ROOT / ".bench"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", help="groups, or beginnings of names of cases; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, each measured once")
    parser.add_argument("--list", action="store_true", help="print the names of cases")
    parser.add_argument("--report", action="store_true", help="only write the page again")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="folder of the figures")
    options = parser.parse_args(arguments)
    scale = QUICK if options.quick else FULL
    # Tiny figures stay away from the documentation.
    docs = ROOT / "docs" if scale is FULL and options.folder == RESULTS else options.folder / "docs"
    page, images = docs / "benchmarks.md", docs / "images"
    figures = options.folder / f"{scale.name}.json"
    every = cases(scale)
    chosen = [case for case in every if _is_chosen(case, options.cases)]
    if not chosen:
        parser.error(f"no such case; groups are {', '.join(GROUPS)}")
    if options.list:
        print("\n".join(case.name for case in chosen))
        return
    if options.report:
        if not figures.exists():
            parser.error(f"there are no figures in {figures} yet")
        write_report(load(figures), page, images)
        return

    start = time.monotonic()
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    run = Run(scale.name, date, describe(), ())
    before = load(figures) if figures.exists() and chosen != every else run
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(chosen, scale, Path(folder), _log):
            rows.append(row)
            # Saved row by row, so that a run that breaks off leaves its figures.
            save(before.replaced(rows), figures)
    if chosen == every:
        write_report(load(figures), page, images)
        _log(f"{page}: {(time.monotonic() - start) / 60:.1f} minutes")
        return
    for group in GROUPS:
        print(section(rows, group), end="")
    judged = [target.verdict(replace(run, rows=tuple(rows))) for target in targets(scale)]
    if judged := [verdict for verdict in judged if verdict.measured is not None]:
        print(verdict_table(judged))


def _is_chosen(case: Case, beginnings: list[str]) -> bool:
    # A group is a word: "open" leaves "open-series" out.
    return not beginnings or any(
        case.group == beginning or ("/" in beginning and case.name.startswith(beginning))
        for beginning in beginnings
    )


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
