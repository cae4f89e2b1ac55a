"""Examinations → the page of the documentation, and whether they are what is promised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from conformance.examination import Examination
from conformance.explained import reason
from conformance.readers import READERS

#: What one file may take.
SECONDS = 10.0
NBYTES = 2**30

#: Share of the files that pydicom decodes that must open.
SHARE = 0.99

HEAD = """# Conformance

Made by `make conformance`, not by hand. Every file is opened by the engine, alone, and all its
pixels are read, in a process that is watched for time and memory. Then other readers read it: \
pydicom
(stored values), highdicom (modality values), and for slides openslide and wsidicom. *Equal* means
bit for bit where the coding is lossless. Lossy coding is held to one level of decoders based on
libjpeg-turbo and OpenJPEG, as this package is: other JPEG decoders interpolate chroma differently.
"""

VERSIONS = ("xarray-dicom", "pydicom", "highdicom", "openslide-python", "wsidicom", "imagecodecs")


@dataclass(frozen=True)
class Case:
    """One file: where it is from, its name, and what came of it (None if the process died)."""

    group: str
    name: str
    found: Examination | None

    def read_by(self, reader: str) -> bool:
        """Whether another reader read the file."""
        comparison = self.found.comparisons.get(reader) if self.found else None
        return comparison is not None and comparison.error is None

    def equal_to(self, reader: str) -> bool:
        """Whether the engine and another reader make the same of it."""
        assert self.found is not None
        return self.found.opens and not self.found.comparisons[reader].message


def shortcomings(cases: Sequence[Case]) -> list[str]:
    """What is not as promised; nothing if all is."""
    short = [f"{case.name}: the process died or took too long" for case in cases if not case.found]
    decoded = [case for case in cases if case.read_by("pydicom")]
    opened = [case for case in decoded if case.found and case.found.opens]
    if len(opened) < SHARE * len(decoded):
        short.append(f"only {len(opened)} of {len(decoded)} files that pydicom decodes open")
    for case in cases:
        found = case.found
        if found is None:
            continue
        if not found.is_told:
            short.append(f"{case.name}: {found.error_type} is no DicomError: {found.error}")
        if found.seconds > SECONDS:
            short.append(f"{case.name}: {found.seconds:.1f} s")
        if found.nbytes > NBYTES:
            short.append(f"{case.name}: {found.nbytes / 2**20:.0f} MiB")
        for reader, comparison in found.differing.items():
            if reason(case.name, reader) is None:
                short.append(f"{case.name}: not equal to {reader}: {comparison.message}")
    return short


def page(collected: Sequence[Case], written: Sequence[Case], left_out: Sequence[str]) -> str:
    """The whole page, in Markdown."""
    cases = [*collected, *written]
    parts = [HEAD, "Versions: " + ", ".join(f"{name} {version(name)}" for name in VERSIONS) + "."]
    parts += ["## In short", _in_short(cases)]
    if collected:
        parts += ["## Files of others", _collected_text(len(collected)), _by_group(collected)]
    parts += ["## Files written here", _WRITTEN_TEXT]
    for writer in dict.fromkeys(case.group for case in written):
        parts += [f"### {writer}", _by_file([case for case in written if case.group == writer])]
    if left_out:
        parts += ["Left out:", _list(left_out)]
    parts += ["## Where readers differ", _differences(cases)]
    parts += ["## What does not open", _NOT_OPEN_TEXT, _failures(cases)]
    beyond = [case for case in cases if _is_beyond(case)]
    if beyond:
        names = _list(f"`{case.name}`" for case in beyond)
        parts += ["## What opens here and not in pydicom", names]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_WRITTEN_TEXT = """What no collected file has, other libraries write: each line is a file, or a \
folder of files that
make one image. `=` equal, `≈` within one level, `≠` not equal (see below), `–` the reader does \
not read
it, blank: not made for such files."""

_NOT_OPEN_TEXT = """Files with an image that the engine refuses, and whether pydicom decodes them. \
Objects without pixels
(reports, plans, presentation states, headers alone) are refused as such and not listed."""


def _collected_text(count: int) -> str:
    return (
        f"{count:,} files from the test suites of DICOM software, as they are published: slides, "
        "segmentations, scanners of\nmany makers, and files that are damaged on purpose. *Reads* "
        "counts what a reader reads, *equal* those of them in\nwhich the engine gives the same "
        "pixels."
    )


def _in_short(cases: Sequence[Case]) -> str:
    examined = [case.found for case in cases if case.found]
    decoded = [case for case in cases if case.read_by("pydicom")]
    opened = sum(case.found.opens for case in decoded if case.found)
    compared = sum(case.read_by(one.name) for case in cases for one in READERS)
    unequal = sum(len(found.differing) for found in examined)
    untold = sum(not found.is_told for found in examined)
    slowest = max(found.seconds for found in examined)
    largest = max(found.nbytes for found in examined) / 2**20
    return f"""- {opened:,} of {len(decoded):,} files that pydicom decodes open.
- {compared - unequal:,} of {compared:,} comparisons with another reader are equal; the other \
{unequal} are explained below.
- {untold} files raise anything but a `DicomError`.
- The slowest file takes {slowest:.1f} s, the largest peak of memory is {largest:.0f} MiB."""


def _by_group(cases: Sequence[Case]) -> str:
    rows = []
    for group in sorted({case.group for case in cases}):
        own = [case for case in cases if case.group == group]
        row = [group, len(own), sum(case.found.opens for case in own if case.found)]
        for reader in READERS:
            read = [case for case in own if case.read_by(reader.name)]
            row += [len(read), sum(case.equal_to(reader.name) for case in read)]
        rows.append(row)
    head = ["Files", "n", "opens"]
    for reader in READERS:
        head += [f"{reader.name} reads", "equal"]
    return _table(head, rows)


def _by_file(cases: Sequence[Case]) -> str:
    rows = [
        [
            case.name,
            "opens" if case.found and case.found.opens else "fails",
            *(_sign(case, reader.name) for reader in READERS),
        ]
        for case in sorted(cases, key=lambda case: case.name)
    ]
    return _table(["File", "engine", *(reader.name for reader in READERS)], rows)


def _sign(case: Case, reader: str) -> str:
    comparison = case.found.comparisons.get(reader) if case.found else None
    if comparison is None:
        return ""
    if comparison.error is not None:
        return "–"
    if comparison.message or not case.equal_to(reader):
        return "≠"
    return "≈" if comparison.levels else "="


def _differences(cases: Sequence[Case]) -> str:
    by_reason: dict[str, list[str]] = {}
    for case in cases:
        for reader, comparison in (case.found.differing if case.found else {}).items():
            why = reason(case.name, reader) or f"**Unexplained**: {comparison.message}"
            named = by_reason.setdefault(f"{why}.", [])
            if f"`{case.name}`" not in named:
                named.append(f"`{case.name}`")
    if not by_reason:
        return "Nowhere."
    return "\n\n".join(f"{why}\n\n{_list(sorted(names))}" for why, names in by_reason.items())


def _failures(cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        found = case.found
        if found is None:
            rows.append([f"`{case.name}`", "the process died", "", ""])
        elif found.error is not None and "no pixel data" not in found.error:
            other = "decodes it" if case.read_by("pydicom") else "neither"
            rows.append([f"`{case.name}`", found.error_type or "", _message(found.error), other])
    return _table(["File", "error", "message", "pydicom"], sorted(rows, key=str))


def _message(error: str) -> str:
    """The message without the path of the file, which differs from one machine to the next."""
    told = error.split(": ", 1)[-1] if "/" in error.split(": ", 1)[0] else error
    return told.replace("|", "\\|").replace("\n", " ")


def _is_beyond(case: Case) -> bool:
    return bool(case.found and case.found.opens) and not case.read_by("pydicom")


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
