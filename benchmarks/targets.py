"""What was asked of the engine, as a table over the rows of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from benchmarks.peers import (
    DECODING,
    ENGINE,
    HIGHDICOM,
    KEPT,
    OBSTORE_RANGES,
    OPENSLIDE,
    S3FS_RANGES,
    WSIDICOM,
    WSIDICOM_ALONE,
)
from benchmarks.results import Row, Run
from benchmarks.scale import Scale
from benchmarks.store import FAR, LOCAL, NARROW


@dataclass(frozen=True)
class Cell:
    """One figure of a run."""

    case: str
    peer: str
    link: str
    column: str = "seconds"

    def value(self, run: Run) -> float | None:
        """The figure, if the run has it."""
        row = run.find(self.case, self.peer, self.link)
        value: float | None = None if row is None else getattr(row, self.column)
        return value


@dataclass(frozen=True)
class Verdict:
    """What was measured, and whether that is what was asked; None if it can't be told."""

    asked: str
    measured: float | None
    limit: float
    met: bool | None
    #: Where it is met least, or why it can't be.
    detail: str = ""


class Target(Protocol):
    """Something that was asked."""

    def verdict(self, run: Run) -> Verdict:
        """Judge a run."""
        ...


@dataclass(frozen=True)
class Ratio:
    """A figure over another one.

    Attributes
    ----------
    over
        The figure.
    under
        What it is divided by: of each tuple the least figure, and of those the greatest, so
        that there can be several floors, each reached in several ways; 1 if empty.
    limit
        Of the ratio.
    at_least
        Whether the limit is the least, not the most.
    remark
        Why the limit may not be met.
    """

    asked: str
    over: Cell
    under: tuple[tuple[Cell, ...], ...]
    limit: float
    at_least: bool = False
    remark: str = ""

    def verdict(self, run: Run) -> Verdict:
        """Judge a run."""
        top = self.over.value(run)
        floors = [[cell.value(run) for cell in ways] for ways in self.under]
        known = [min(value for value in ways if value) for ways in floors if any(ways)]
        if top is None or len(known) < len(self.under):
            return Verdict(self.asked, None, self.limit, None)
        measured = top / max(known, default=1.0)
        met = measured >= self.limit if self.at_least else measured <= self.limit
        return Verdict(self.asked, measured, self.limit, met, "" if met else self.remark)


@dataclass(frozen=True)
class Faster:
    """The engine is faster than a peer wherever both were measured on a link."""

    asked: str
    peer: str
    link: str
    limit: float = 1.0

    def verdict(self, run: Run) -> Verdict:
        """Judge a run."""
        ratios = dict(self._ratios(run))
        if not ratios:
            return Verdict(self.asked, None, self.limit, None)
        worst = min(ratios, key=ratios.__getitem__)
        slower = [f"{case} ({ratio:.2f})" for case, ratio in ratios.items() if ratio < self.limit]
        detail = f"slower in {', '.join(slower)}" if slower else f"least in {worst}"
        return Verdict(self.asked, ratios[worst], self.limit, not slower, detail)

    def _ratios(self, run: Run) -> Iterator[tuple[str, float]]:
        for row in run.rows:
            if (row.peer, row.link) != (self.peer, self.link) or row.seconds is None:
                continue
            ours: Row | None = run.find(row.case, ENGINE, self.link)
            if ours is not None and ours.seconds:
                yield row.case, row.seconds / ours.seconds


def targets(scale: Scale) -> list[Target]:
    """All that was asked."""
    level, large, band = "level/slide-eot", "region-large/slide-eot", "band/slide-eot"
    # Files of the fewest frames are smaller than what is read first of every file.
    fewest, most = scale.growth[len(scale.growth) // 2 - 1], scale.growth[-1]
    segmentations = [f"growth-segmentation/segmentation-{n}" for n in scale.segmentation_growth]

    def growth(kind: str, column: str) -> tuple[Cell, Cell]:
        less, more = (
            Cell(f"growth/slide-{count}-{kind}", ENGINE, FAR, column) for count in (fewest, most)
        )
        return less, more

    def against_highdicom(asked: str, case: str, least: float, remark: str = "") -> Ratio:
        ours = ((Cell(case, ENGINE, FAR),),)
        return Ratio(asked, Cell(case, HIGHDICOM, FAR), ours, least, at_least=True, remark=remark)

    native_less, native_more = growth("native", "besides_table")
    table_less, table_more = growth("eot", "besides_table")
    native_seconds_less, native_seconds_more = growth("native", "seconds")
    copies = [Cell(f"memory/repeated-{size}", ENGINE, LOCAL, "memory") for size in scale.zarr]
    return [
        Ratio(
            "a whole level from a local disk takes at most 1.15 × raw decoding",
            Cell(level, ENGINE, LOCAL),
            ((Cell(level, DECODING, LOCAL),),),
            1.15,
            remark="raw decoding throws each frame away; the row below keeps them",
        ),
        Ratio(
            "the same, next to raw decoding that keeps the pixels",
            Cell(level, ENGINE, LOCAL),
            ((Cell(level, KEPT, LOCAL),),),
            1.15,
        ),
        Ratio(
            "a whole level at 30 ms and 80 MB/s takes at most 1.25 × the slower of raw ranges "
            "and raw decoding",
            Cell(level, ENGINE, NARROW),
            (
                (Cell(level, OBSTORE_RANGES, NARROW), Cell(level, S3FS_RANGES, NARROW)),
                (Cell(level, DECODING, NARROW),),
            ),
            1.25,
        ),
        against_highdicom(
            "a slide with an Extended Offset Table opens at least 10 × as fast as with "
            "highdicom + s3fs at 30 ms",
            "open/slide-eot",
            10,
            "one request against two, of 30 ms each",
        ),
        against_highdicom(
            "a slide without an offset table opens at least 10 × as fast as with highdicom + "
            "s3fs at 30 ms",
            "open/slide-none",
            10,
        ),
        against_highdicom(
            "a region of 4096 × 4096 is read at least 5 × as fast as with highdicom + s3fs at "
            "30 ms",
            large,
            5,
        ),
        against_highdicom(
            "one segment of 100 is read at least 10 × as fast as with highdicom + s3fs at 30 ms",
            "segment/organs",
            10,
        ),
        against_highdicom(
            "a DICOM-TIFF slide without an offset table shows a first region at least 20 × as "
            "fast as with highdicom + s3fs at 30 ms",
            "first-region/slide-dual",
            20,
        ),
        *_against_wsidicom(scale),
        Faster("faster than wsidicom on a local disk wherever it can", WSIDICOM, LOCAL),
        Faster("faster than openslide on a local disk wherever it can", OPENSLIDE, LOCAL),
        Ratio(
            f"a segmentation of {scale.segmentation_growth[-1]:,} frames opens at least 60 × as "
            "fast per frame as the largest that highdicom opens here",
            Cell(segmentations[-2], HIGHDICOM, LOCAL, "seconds_per_frame"),
            ((Cell(segmentations[-1], ENGINE, LOCAL, "seconds_per_frame"),),),
            60,
            at_least=True,
        ),
        Ratio(
            "a contiguous region takes at most 1.05 × the bytes needed, besides what merging "
            "fetches",
            Cell(band, ENGINE, FAR, "byte_ratio"),
            (),
            1.05,
        ),
        Ratio(
            "a contiguous region takes at most 1.2 × the requests of the ideal plan",
            Cell(band, ENGINE, FAR, "request_ratio"),
            (),
            1.2,
        ),
        Ratio(
            "a region of 4096 × 4096 takes at most 1.2 × the requests of the ideal plan",
            Cell(large, ENGINE, FAR, "request_ratio"),
            (),
            1.2,
        ),
        Ratio(
            f"an uncompressed slide of {most:,} frames takes no more bytes to open than one of "
            f"{fewest:,}",
            native_more,
            ((native_less,),),
            1.05,
        ),
        Ratio(
            f"an uncompressed slide of {most:,} frames opens at 30 ms as fast as one of {fewest:,}",
            native_seconds_more,
            ((native_seconds_less,),),
            1.25,
        ),
        Ratio(
            f"a slide of {most:,} frames takes no more bytes to open than one of {fewest:,}, "
            "besides those of its Extended Offset Table",
            table_more,
            ((table_less,),),
            1.25,
        ),
        Ratio(
            "the memory to copy a level to Zarr does not grow with the level",
            copies[-1],
            ((copies[len(copies) // 2 - (len(copies) % 2 == 0)],),),
            1.25,
        ),
    ]


def _against_wsidicom(scale: Scale) -> list[Target]:
    """Return what was asked of patches, next to wsidicom with the threads that suit it best."""

    def ratio(asked: str, label: str, limit: float) -> Ratio:
        case = f"patches/slide-eot/{label}"
        ways = (WSIDICOM,) if label == "open" else (WSIDICOM, WSIDICOM_ALONE)
        under = (tuple(Cell(case, peer, LOCAL) for peer in ways),)
        return Ratio(asked, Cell(case, ENGINE, LOCAL), under, limit)

    patch, small = (f"{size} × {size}" for size in (scale.patch, scale.small))
    return [
        ratio("a slide on a local disk opens in at most 1.2 × wsidicom's time", "open", 1.2),
        ratio(
            f"random patches of {patch} of a local slide take at most 1.1 × wsidicom's time, "
            "without caches",
            "patch",
            1.1,
        ),
        ratio(
            f"random regions of {small} of a local slide take at most wsidicom's time, without "
            "caches",
            "region",
            1.0,
        ),
        ratio(
            f"opening a local slide and reading {small} takes at most wsidicom's time",
            "open-region",
            1.0,
        ),
    ]
