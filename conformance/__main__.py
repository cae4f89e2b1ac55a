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
from conformance.report import Case, page, shortcomings
from conformance.written import write_all

_ROOT = Path(__file__).resolve().parents[1]

#: Collected files; they lie beside the project and are no part of it.
CORPUS = _ROOT.parent / "shared" / "data"

PAGE = _ROOT / "docs" / "conformance.md"

#: What each kind of collected file is called on the page, by the kind in the inventory.
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
    """Group and name of every collected file; none if the corpus isn't there."""
    inventory = corpus / "inventory.csv"
    if not inventory.exists():
        return {}
    with inventory.open(newline="") as file:
        return {
            corpus / row["path"]: (KINDS[row["category"][0]], row["path"])
            for row in csv.DictReader(file)
        }


def examined(files: Mapping[Path, tuple[str, str]]) -> list[Case]:
    """What came of each file, in their order."""
    found = {}
    for number, (path, examination) in enumerate(examine_each(list(files), examine), 1):
        found[path] = examination
        if sys.stderr.isatty():
            print(f"\r{number} of {len(files)}", end="", file=sys.stderr)
    return [Case(group, name, found[path]) for path, (group, name) in files.items()]


def main() -> None:
    """Examine all files, write the page, and fail if anything falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="collected files")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        written, left_out = write_all(Path(temporary))
        theirs = examined(collected(options.corpus))
        ours = examined({one.path: (one.writer, one.name) for one in written})
    if not theirs:
        print(f"{options.corpus}: no inventory.csv, so files written here alone are examined")
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
