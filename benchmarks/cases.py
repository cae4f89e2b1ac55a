"""What is measured: a row for each object, action, links and readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import objects
from benchmarks.objects import TILE, Object
from benchmarks.peers import (
    BY_S3FS,
    CACHED,
    CHUNKED,
    DECODING,
    DECODING_ALONE,
    ENGINE,
    HIGHDICOM,
    KEPT,
    OBSTORE_RANGES,
    OPENSLIDE,
    S3FS_RANGES,
    WSIDICOM,
    WSIDICOM_ALONE,
    Task,
    cluster,
)
from benchmarks.scale import Scale
from benchmarks.store import FAR, FARTHER, LOCAL, NARROW, NEAR

EVERYWHERE = (LOCAL, NEAR, FAR, FARTHER)
HERE_AND_FAR = (LOCAL, FAR)

READERS = (ENGINE, HIGHDICOM, WSIDICOM, OPENSLIDE)
OPENERS = (ENGINE, CACHED, BY_S3FS, HIGHDICOM, WSIDICOM, OPENSLIDE)
RAW = (DECODING, OBSTORE_RANGES, S3FS_RANGES)
PATCH_READERS = (ENGINE, CHUNKED, WSIDICOM, WSIDICOM_ALONE, OPENSLIDE)
PATCH_DECODERS = (DECODING, DECODING_ALONE)


@dataclass(frozen=True)
class Selection:
    """What is read: a kind of action, and of a region its rows and columns, 0 for all.

    Attributes
    ----------
    action
        See `benchmarks.peers.base.Task`.
    rows, columns
        Of a region in the middle of a slide, from an edge of tiles on.
    opens
        Whether the clock runs while the object is opened.
    scattered
        Whether the region lies elsewhere in every measurement, in an object that stays open
        unless it is `opens`; else it is the same one.
    """

    action: str
    rows: int = 0
    columns: int = 0
    opens: bool = False
    scattered: bool = False

    @property
    def words(self) -> str:
        """Description for people."""
        size = f"{self.rows} × {self.columns}" if self.rows else "all of it"
        if self.action == "open":
            return "open"
        return f"open and {size}" if self.opens else size

    def tasks(self, target: Object, rounds: int) -> list[Task]:
        """Return what is read of one object in each round of measurements."""
        task = self._task(target)
        return list(self._scattered(task, rounds)) if self.scattered else [task] * rounds

    def _scattered(self, task: Task, rounds: int) -> Iterator[Task]:
        random = np.random.default_rng(0)
        sizes = (self.rows, self.columns)
        for _ in range(rounds):
            rows, columns = (
                (start, start + size)
                for whole, size in zip(task.target.shape, sizes, strict=True)
                for start in (int(random.integers(whole - size + 1)),)
            )
            yield replace(task, rows=rows, columns=columns, stays_open=not self.opens)

    def _task(self, target: Object) -> Task:
        rows, columns = (
            _middle(size, wanted)
            for size, wanted in zip(target.shape, (self.rows, self.columns), strict=True)
        )
        segment = target.segments // 2 + 1
        return Task(self.action, target, rows, columns, segment, self.opens)


def _middle(size: int, wanted: int) -> tuple[int, int]:
    if not wanted or wanted >= size:
        return 0, size
    start = (size - wanted) // 2 // TILE * TILE
    return start, start + wanted


@dataclass(frozen=True)
class Case:
    """One row of what is measured.

    Attributes
    ----------
    group
        Section of the report, a key of `GROUPS`.
    target
        Name of an object, of `benchmarks.objects.recipes`.
    selection
        What is read of it.
    links
        Names, of `benchmarks.store.LINKS`.
    peers
        Names, of `benchmarks.peers.PEERS`; the first one's pixels are what others' are
        compared with.
    memory
        Whether peak memory is measured too, on the first link.
    timed
        Whether there is more to measure than memory.
    label
        End of the name, where the group has several cases for an object.
    rounds
        Measurements of each peer; None for the `Scale.repetitions` of the run.
    """

    group: str
    target: str
    selection: Selection
    links: tuple[str, ...]
    peers: tuple[str, ...]
    memory: bool = False
    timed: bool = True
    label: str = ""
    rounds: int | None = None

    @property
    def name(self) -> str:
        """Name on the command line."""
        return "/".join(filter(None, (self.group, self.target, self.label)))


#: Sections of the report: a heading, and what a reader needs to know.
GROUPS = {
    "open": (
        "Opening a slide",
        ("Headers and offset tables are read, never pixels. A slide without a table opens at "
        "once: its frames are found by the first read, which the next section has."),
    ),
    "first-region": (
        "Opening a slide and reading a first region",
        "The time from a URL to the pixels, finding frames included.",
    ),
    "region-small": ("A small region of an open slide", "512 × 512 pixels."),
    "region-large": ("A large region of an open slide", "4096 × 4096 pixels."),
    "patches": (
        "Patches of a local slide",
        ("Regions that lie elsewhere every time, in a slide that stays open, caches of pixels of "
        "all readers switched off; and beside them, in the same run, opening and the whole level."),
    ),
    "band": (
        "A band of an open slide",
        "All columns of 1024 rows: frames that lie one after another in the file.",
    ),
    "level": (
        "A whole level",
        "Decoding and fetching alone are the least that it can cost; they put nothing together.",
    ),
    "coding": ("Codings", "A region of half the rows and columns of an open slide."),
    "segment": ("One segment of many", "The segmentation is BINARY, and open."),
    "open-segmentation": ("Opening a segmentation", "Every frame has functional groups."),
    "series": ("A CT series", "From the URL of its folder to a volume in Hounsfield units."),
    "open-series": ("Opening a CT series", "All headers are read."),
    "growth": (
        "How opening grows with frames",
        "Slides of tiny tiles. Peers that take minutes for an object leave it out.",
    ),
    "growth-region": ("How a first region grows with frames", "Opening included."),
    "growth-segmentation": ("How opening a segmentation grows with frames", "16 × 16 pixels each."),
    "workers": (
        "How a whole level grows with workers",
        ("The largest value of a level, on a Dask cluster of processes with one thread each. CPU "
        "seconds are those of the client."),
    ),
    "memory": (
        "Copying a whole level to Zarr",
        "`open_dataset(..., chunks={})` and `to_zarr`; peak memory above that after imports.",
    ),
}  # fmt: skip


def cases(scale: Scale) -> list[Case]:
    """Every row of a run."""
    opening = Selection("open")
    small = Selection("region", scale.small, scale.small)
    large = Selection("region", scale.large, scale.large)
    first = Selection("region", scale.small, scale.small, opens=True)
    level = Selection("region")
    half = Selection("region", scale.coded // 2, scale.coded // 2)
    cluster_peers = tuple(cluster(workers) for workers in scale.workers)
    tables = objects.TABLES
    return [
        *(Case("open", f"slide-{key}", opening, EVERYWHERE, OPENERS) for key in tables),
        *(Case("open", f"many-{key}", opening, HERE_AND_FAR, OPENERS) for key in tables),
        *(Case("first-region", f"slide-{key}", first, HERE_AND_FAR, OPENERS) for key in tables),
        *(Case("first-region", f"many-{key}", first, HERE_AND_FAR, OPENERS) for key in tables),
        Case("region-small", "slide-eot", small, EVERYWHERE, (*READERS, BY_S3FS, *RAW)),
        Case(
            "region-large", "slide-eot", large, EVERYWHERE, (*READERS, BY_S3FS, *RAW), memory=True
        ),
        Case(
            "band",
            "slide-eot",
            Selection("region", scale.small * 2),
            (NEAR, FAR),
            (ENGINE, BY_S3FS, OBSTORE_RANGES, S3FS_RANGES),
        ),
        Case(
            "level", "slide-eot", level, (LOCAL, NARROW), (*READERS[::2], *RAW, KEPT), memory=True
        ),
        *_patches(scale),
        *(
            Case("coding", f"coded-{key}", half, HERE_AND_FAR, (*READERS, *RAW))
            for key in objects.CODINGS
        ),
        Case(
            "open-segmentation",
            "organs",
            opening,
            EVERYWHERE,
            (ENGINE, CACHED, BY_S3FS, HIGHDICOM),
            memory=True,
        ),
        Case(
            "segment",
            "organs",
            Selection("segment"),
            EVERYWHERE,
            (ENGINE, BY_S3FS, HIGHDICOM, OBSTORE_RANGES, S3FS_RANGES),
        ),
        Case("open-series", "ct", opening, EVERYWHERE, (ENGINE, CACHED, BY_S3FS, HIGHDICOM)),
        Case(
            "series",
            "ct",
            Selection("volume", opens=True),
            EVERYWHERE,
            (ENGINE, CACHED, BY_S3FS, HIGHDICOM),
            memory=True,
        ),
        *(
            Case("growth", f"slide-{count}-{key}", opening, HERE_AND_FAR, OPENERS)
            for count in scale.growth
            for key in ("eot", "native")
        ),
        *(
            Case("growth-region", f"slide-{count}-eot", first, HERE_AND_FAR, (ENGINE, CACHED))
            for count in scale.growth
        ),
        *(
            Case(
                "growth-segmentation",
                f"segmentation-{count}",
                opening,
                HERE_AND_FAR,
                (ENGINE, CACHED, HIGHDICOM),
                memory=True,
            )
            for count in scale.segmentation_growth
        ),
        Case("workers", "slide-eot", level, (LOCAL, NARROW), cluster_peers),
        *(
            Case("memory", f"repeated-{size}", Selection("copy"), (LOCAL,), (ENGINE,),
                 memory=True, timed=False)
            for size in scale.zarr
        ),
    ]  # fmt: skip


def _patches(scale: Scale) -> Iterator[Case]:
    """Yield the rows of a slide that is cut into patches, as for training."""
    patch = Selection("region", scale.patch, scale.patch, scattered=True)
    region = Selection("region", scale.small, scale.small, scattered=True)
    opened, level = Selection("open"), Selection("region")
    readers = (*PATCH_READERS, *PATCH_DECODERS)

    def case(
        slide: str, label: str, selection: Selection, peers: tuple[str, ...], rounds: int
    ) -> Case:
        return Case("patches", slide, selection, (LOCAL,), peers, label=label, rounds=rounds)

    for slide in ("slide-eot", "slide-dual"):
        yield case(slide, "open", opened, (ENGINE, WSIDICOM, OPENSLIDE), scale.openings)
        yield case(slide, "patch", patch, (*readers, HIGHDICOM), scale.patches)
    slide = "slide-eot"
    yield case(slide, "region", region, readers, scale.openings)
    yield case(slide, "open-region", replace(region, opens=True), readers, scale.openings)
    level_peers = (ENGINE, WSIDICOM, DECODING, KEPT)
    yield case(slide, "level", level, level_peers, scale.repetitions)
