"""Targets of the engine, judged by the rows of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from benchmarks.peers import (
    DECODING,
    DECODING_ARRAY,
    ENGINE,
    HIGHDICOM,
    OBSTORE_RANGES,
    OPENSLIDE,
    S3FS_RANGES,
    WSIDICOM,
    WSIDICOM_ONE_THREAD,
)
from benchmarks.results import Row, Run
from benchmarks.scale import Scale
from benchmarks.store import FAR, LOCAL, NARROW

LARGE_REGION = "region-large/slide-eot"


@dataclass(frozen=True)
class Cell:
    """One figure of a run."""

    case: str
    peer: str
    link: str
    column: str = "seconds"

    def value(self, run: Run) -> float | None:
        """Return the figure, or None if the run lacks it."""
        row = run.find(self.case, self.peer, self.link)
        value: float | None = None if row is None else getattr(row, self.column)
        return value


@dataclass(frozen=True)
class Verdict:
    """The judgement of a target.

    Attributes
    ----------
    statement
        The target, in words.
    measured, limit
        The figure, None if the run lacks it, and its limit.
    met
        True if the target is met; None if the run can't say.
    detail
        Rows that are furthest from the limit, or the reason why it is not met.
    """

    statement: str
    measured: float | None
    limit: float
    met: bool | None
    detail: str = ""


class Target(Protocol):
    """A requirement that a run can be judged by."""

    def verdict(self, run: Run) -> Verdict:
        """Judge a run."""
        ...


@dataclass(frozen=True)
class Ratio:
    """A limit on a figure divided by another one.

    Attributes
    ----------
    statement
        The target, in words.
    over
        The figure.
    under
        The divisor: the least figure of each tuple, and of those the greatest, so that there
        can be several floors, each reached in several ways; 1 if empty.
    limit
        Greatest ratio allowed.
    at_least
        True if the limit is the least ratio allowed instead.
    remark
        Reason why the limit may not be met.
    """

    statement: str
    over: Cell
    under: tuple[tuple[Cell, ...], ...]
    limit: float
    at_least: bool = False
    remark: str = ""

    def verdict(self, run: Run) -> Verdict:
        """Judge a run."""
        top = self.over.value(run)
        floors = [[cell.value(run) for cell in ways] for ways in self.under]
        measured_floors = [min(value for value in ways if value) for ways in floors if any(ways)]
        if top is None or len(measured_floors) < len(self.under):
            return Verdict(self.statement, None, self.limit, None)
        measured = top / max(measured_floors, default=1.0)
        met = measured >= self.limit if self.at_least else measured <= self.limit
        return Verdict(self.statement, measured, self.limit, met, "" if met else self.remark)


@dataclass(frozen=True)
class Faster:
    """The engine being faster than a peer in every case that both were measured in, on a link."""

    statement: str
    peer: str
    link: str
    limit: float = 1.0

    def verdict(self, run: Run) -> Verdict:
        """Judge a run."""
        ratios = dict(self._ratios(run))
        if not ratios:
            return Verdict(self.statement, None, self.limit, None)
        worst = min(ratios, key=ratios.__getitem__)
        slower = [f"{case} ({ratio:.2f})" for case, ratio in ratios.items() if ratio < self.limit]
        detail = f"slower in {', '.join(slower)}" if slower else f"least in {worst}"
        return Verdict(self.statement, ratios[worst], self.limit, not slower, detail)

    def _ratios(self, run: Run) -> Iterator[tuple[str, float]]:
        for row in run.rows:
            if (row.peer, row.link) != (self.peer, self.link) or row.seconds is None:
                continue
            ours: Row | None = run.find(row.case, ENGINE, self.link)
            if ours is not None and ours.seconds:
                yield row.case, row.seconds / ours.seconds


def targets(scale: Scale) -> list[Target]:
    """Return all targets, in the order of the report."""
    return [
        *_whole_level(),
        *_against_highdicom(),
        *_against_wsidicom(scale),
        Faster("faster than wsidicom on a local disk wherever it can", WSIDICOM, LOCAL),
        Faster("faster than openslide on a local disk wherever it can", OPENSLIDE, LOCAL),
        _large_segmentation(scale),
        *_transfers(),
        *_growth(scale),
    ]


def _whole_level() -> Iterator[Target]:
    level = "level/slide-eot"
    local, narrow = Cell(level, ENGINE, LOCAL), Cell(level, ENGINE, NARROW)
    yield Ratio(
        "a whole level from a local disk takes at most 1.15 × raw decoding",
        local,
        ((Cell(level, DECODING, LOCAL),),),
        1.15,
        remark="raw decoding throws each frame away; the row below stores them",
    )
    yield Ratio(
        "the same, next to raw decoding into one array",
        local,
        ((Cell(level, DECODING_ARRAY, LOCAL),),),
        1.15,
    )
    ranges = tuple(Cell(level, peer, NARROW) for peer in (OBSTORE_RANGES, S3FS_RANGES))
    yield Ratio(
        "a whole level at 30 ms and 80 MB/s takes at most 1.25 × the slower of raw ranges and "
        "raw decoding",
        narrow,
        (ranges, (Cell(level, DECODING, NARROW),)),
        1.25,
    )


def _against_highdicom() -> Iterator[Target]:
    def ratio(statement: str, case: str, least: float, remark: str = "") -> Ratio:
        return Ratio(
            f"{statement} at least {least} × as fast as with highdicom + s3fs at 30 ms",
            Cell(case, HIGHDICOM, FAR),
            ((Cell(case, ENGINE, FAR),),),
            least,
            at_least=True,
            remark=remark,
        )

    yield ratio(
        "a slide with an Extended Offset Table opens",
        "open/slide-eot",
        10,
        "one request against two, of 30 ms each",
    )
    yield ratio("a slide without an offset table opens", "open/slide-none", 10)
    yield ratio("a region of 4096 × 4096 is read", LARGE_REGION, 5)
    yield ratio("one segment of 100 is read", "segment/organs", 10)
    yield ratio(
        "a DICOM-TIFF slide without an offset table shows a first region",
        "first-region/slide-dual",
        20,
    )


def _against_wsidicom(scale: Scale) -> Iterator[Target]:
    """Yield the targets of patches, next to wsidicom with the threads that suit it best."""
    patch, small = (f"{size} × {size}" for size in (scale.patch, scale.small))
    for statement, label, limit in (
        ("a local slide opens in at most {} × wsidicom's time", "open", 1.2),
        (f"random patches of {patch} take at most {{}} × wsidicom's time", "patch", 1.1),
        (f"random regions of {small} take at most {{}} × wsidicom's time", "region", 1.0),
        (f"opening and reading {small} takes at most {{}} × wsidicom's time", "open-region", 1.0),
    ):
        case = f"patches/slide-eot/{label}"
        peers = (WSIDICOM,) if label == "open" else (WSIDICOM, WSIDICOM_ONE_THREAD)
        under = (tuple(Cell(case, peer, LOCAL) for peer in peers),)
        yield Ratio(statement.format(limit), Cell(case, ENGINE, LOCAL), under, limit)


def _large_segmentation(scale: Scale) -> Target:
    smaller, largest = (
        f"growth-segmentation/segmentation-{count}" for count in scale.segmentation_growth[-2:]
    )
    return Ratio(
        f"a segmentation of {scale.segmentation_growth[-1]:,} frames opens at least 60 × as fast "
        "per frame as the largest that highdicom opens here",
        Cell(smaller, HIGHDICOM, LOCAL, "seconds_per_frame"),
        ((Cell(largest, ENGINE, LOCAL, "seconds_per_frame"),),),
        60,
        at_least=True,
    )


def _transfers() -> Iterator[Target]:
    """Yield the targets of bytes and requests."""
    band, requests = "a contiguous region takes at most", "× the requests of the ideal plan"

    def ratio(statement: str, case: str, column: str, limit: float) -> Ratio:
        return Ratio(statement, Cell(case, ENGINE, FAR, column), (), limit)

    yield ratio(
        f"{band} 1.05 × the bytes needed, besides what merging fetches",
        "band/slide-eot",
        "byte_ratio",
        1.05,
    )
    yield ratio(f"{band} 1.2 {requests}", "band/slide-eot", "request_ratio", 1.2)
    large = f"a region of 4096 × 4096 takes at most 1.2 {requests}"
    yield ratio(large, LARGE_REGION, "request_ratio", 1.2)


def _growth(scale: Scale) -> Iterator[Target]:
    """Yield the targets of costs that must not grow with the object."""
    # Files of the fewest frames are smaller than the first read of every file.
    fewest, most = scale.growth[len(scale.growth) // 2 - 1], scale.growth[-1]

    def growth(statement: str, key: str, column: str, limit: float) -> Ratio:
        less, more = (
            Cell(f"growth/slide-{count}-{key}", ENGINE, FAR, column) for count in (fewest, most)
        )
        return Ratio(statement, more, ((less,),), limit)

    yield growth(
        f"an uncompressed slide of {most:,} frames takes no more bytes to open than one of "
        f"{fewest:,}",
        "native",
        "besides_table",
        1.05,
    )
    yield growth(
        f"an uncompressed slide of {most:,} frames opens at 30 ms as fast as one of {fewest:,}",
        "native",
        "seconds",
        1.25,
    )
    yield growth(
        f"a slide of {most:,} frames takes no more bytes to open than one of {fewest:,}, besides "
        "those of its Extended Offset Table",
        "eot",
        "besides_table",
        1.25,
    )
    copies = [Cell(f"memory/repeated-{size}", ENGINE, LOCAL, "memory") for size in scale.zarr]
    yield Ratio(
        "the memory to copy a level to Zarr does not grow with the level",
        copies[-1],
        ((copies[len(copies) // 2 - (len(copies) % 2 == 0)],),),
        1.25,
    )
