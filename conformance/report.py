"""The page ``docs/conformance.md``, and the list of shortcomings, of examined files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from conformance.examination import Examination
from conformance.explanations import reason
from conformance.readers import READERS

#: Most seconds and bytes that one file may take.
SECONDS = 10.0
NBYTES = 2**30

#: Least share of files that open among those that pydicom decodes.
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
class ExaminedFile:
    """A file with the result of its examination.

    Attributes
    ----------
    group
        Origin of the file: a kind of collected files, or a writer.
    name
        Name on the page.
    examination
        None if the process died.
    """

    group: str
    name: str
    examination: Examination | None

    def read_by(self, reader: str) -> bool:
        """Return True if another reader read the file."""
        comparison = self.examination.comparisons.get(reader) if self.examination else None
        return comparison is not None and comparison.error is None

    def equal_to(self, reader: str) -> bool:
        """Return True if the values of the engine and of another reader are equal."""
        assert self.examination is not None
        return self.examination.opens and not self.examination.comparisons[reader].message


def shortcomings(cases: Sequence[ExaminedFile]) -> list[str]:
    """Return a line for everything that falls short of the promises; empty if nothing does."""
    short = [
        f"{case.name}: the process died or took too long" for case in cases if not case.examination
    ]
    decoded = [case for case in cases if case.read_by("pydicom")]
    opened = [case for case in decoded if case.examination and case.examination.opens]
    if len(opened) < SHARE * len(decoded):
        short.append(f"only {len(opened)} of {len(decoded)} files that pydicom decodes open")
    for case in cases:
        examination = case.examination
        if examination is None:
            continue
        if not examination.is_documented:
            short.append(
                f"{case.name}: {examination.error_type} is no DicomError: {examination.error}"
            )
        if examination.seconds > SECONDS:
            short.append(f"{case.name}: {examination.seconds:.1f} s")
        if examination.nbytes > NBYTES:
            short.append(f"{case.name}: {examination.nbytes / 2**20:.0f} MiB")
        for reader, comparison in examination.differing.items():
            if reason(case.name, reader) is None:
                short.append(f"{case.name}: not equal to {reader}: {comparison.message}")
    return short


def page(
    collected: Sequence[ExaminedFile], written: Sequence[ExaminedFile], left_out: Sequence[str]
) -> str:
    """Return the page in Markdown.

    Parameters
    ----------
    collected, written
        Files of others, and generated files.
    left_out
        Files that could not be generated, with the reason.
    """
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


def _in_short(cases: Sequence[ExaminedFile]) -> str:
    examined = [case.examination for case in cases if case.examination]
    decoded = [case for case in cases if case.read_by("pydicom")]
    opened = sum(case.examination.opens for case in decoded if case.examination)
    compared = sum(case.read_by(reader.name) for case in cases for reader in READERS)
    unequal = sum(len(each.differing) for each in examined)
    undocumented = sum(not each.is_documented for each in examined)
    slowest = max(each.seconds for each in examined)
    largest = max(each.nbytes for each in examined) / 2**20
    return f"""- {opened:,} of {len(decoded):,} files that pydicom decodes open.
- {compared - unequal:,} of {compared:,} comparisons with another reader are equal; the other \
{unequal} are explained below.
- {undocumented} files raise anything but a `DicomError`.
- The slowest file takes {slowest:.1f} s, the largest peak of memory is {largest:.0f} MiB."""


def _by_group(cases: Sequence[ExaminedFile]) -> str:
    rows = []
    for group in sorted({case.group for case in cases}):
        own = [case for case in cases if case.group == group]
        row = [group, len(own), sum(case.examination.opens for case in own if case.examination)]
        for reader in READERS:
            read = [case for case in own if case.read_by(reader.name)]
            row += [len(read), sum(case.equal_to(reader.name) for case in read)]
        rows.append(row)
    head = ["Files", "n", "opens"]
    for reader in READERS:
        head += [f"{reader.name} reads", "equal"]
    return _table(head, rows)


def _by_file(cases: Sequence[ExaminedFile]) -> str:
    rows = [
        [
            case.name,
            "opens" if case.examination and case.examination.opens else "fails",
            *(_sign(case, reader.name) for reader in READERS),
        ]
        for case in sorted(cases, key=lambda case: case.name)
    ]
    return _table(["File", "engine", *(reader.name for reader in READERS)], rows)


def _sign(case: ExaminedFile, reader: str) -> str:
    comparison = case.examination.comparisons.get(reader) if case.examination else None
    if comparison is None:
        return ""
    if comparison.error is not None:
        return "–"
    if comparison.message or not case.equal_to(reader):
        return "≠"
    return "≈" if comparison.levels else "="


def _differences(cases: Sequence[ExaminedFile]) -> str:
    by_reason: dict[str, list[str]] = {}
    for case in cases:
        for reader, comparison in (case.examination.differing if case.examination else {}).items():
            why = reason(case.name, reader) or f"**Unexplained**: {comparison.message}"
            named = by_reason.setdefault(f"{why}.", [])
            if f"`{case.name}`" not in named:
                named.append(f"`{case.name}`")
    if not by_reason:
        return "Nowhere."
    return "\n\n".join(f"{why}\n\n{_list(sorted(names))}" for why, names in by_reason.items())


def _failures(cases: Sequence[ExaminedFile]) -> str:
    rows = []
    for case in cases:
        examination = case.examination
        if examination is None:
            rows.append([f"`{case.name}`", "the process died", "", ""])
        elif examination.error is not None and "no pixel data" not in examination.error:
            other = "decodes it" if case.read_by("pydicom") else "neither"
            rows.append(
                [f"`{case.name}`", examination.error_type or "", _message(examination.error), other]
            )
    return _table(["File", "error", "message", "pydicom"], sorted(rows, key=str))


def _message(error: str) -> str:
    """Return a message without the path of the file, which depends on the machine."""
    message = error.split(": ", 1)[-1] if "/" in error.split(": ", 1)[0] else error
    return message.replace("|", "\\|").replace("\n", " ")


def _is_beyond(case: ExaminedFile) -> bool:
    return bool(case.examination and case.examination.opens) and not case.read_by("pydicom")


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
