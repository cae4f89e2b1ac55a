"""Compare the engine with other readers: ``python -m conformance``."""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from conformance.examination import examine
from conformance.isolation import examine_each
from conformance.report import ExaminedFile, page, shortcomings
from conformance.written import write_all

_ROOT = Path(__file__).resolve().parents[1]

#: Collected files, which are beside the project and no part of it.
CORPUS = _ROOT.parent / "shared" / "data"

PAGE = _ROOT / "docs" / "conformance.md"

#: Name on the page of each kind of collected file, by its digit in the inventory.
KINDS = {
    "1": "whole slides",
    "2": "segmentations",
    "3": "parametric maps",
    "4": "multi-frame images",
    "5": "single-frame images of series",
    "6": "other single-frame images",
    "8": "damaged on purpose",
    "9": "without pixels",
}


def collected(corpus: Path) -> dict[Path, tuple[str, str]]:
    """Return group and name of every collected file; empty if the corpus isn't there."""
    inventory = corpus / "inventory.csv"
    if not inventory.exists():
        return {}
    with inventory.open(newline="") as file:
        return {
            corpus / row["path"]: (KINDS[row["category"][0]], row["path"])
            for row in csv.DictReader(file)
        }


def examine_all(files: Mapping[Path, tuple[str, str]]) -> list[ExaminedFile]:
    """Examine files by path, with group and name of each; return them in that order."""
    examinations = {}
    for number, (path, examination) in enumerate(examine_each(list(files), examine), 1):
        examinations[path] = examination
        if sys.stderr.isatty():
            print(f"\r{number} of {len(files)}", end="", file=sys.stderr)
    return [ExaminedFile(group, name, examinations[path]) for path, (group, name) in files.items()]


def main() -> None:
    """Examine all files, write the page, and exit with 1 if anything falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="collected files")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        written, left_out = write_all(Path(temporary))
        theirs = examine_all(collected(options.corpus))
        ours = examine_all({file.path: (file.writer, file.name) for file in written})
    if not theirs:
        print(f"{options.corpus}: no inventory.csv, so only files that are generated are examined")
    short = shortcomings([*theirs, *ours])
    if theirs or options.output != PAGE:
        options.output.write_text(page(theirs, ours, left_out))
        print(f"wrote {options.output}")
    if short:
        print("\n".join(["Falls short:", *short]))
        raise SystemExit(1)
    print(f"{len(theirs) + len(ours)} files examined, nothing falls short")


if __name__ == "__main__":
    main()
