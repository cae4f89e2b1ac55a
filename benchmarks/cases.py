"""What is measured: a row for each object, action, links and readers."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import objects
from benchmarks.objects import TILE, Object
from benchmarks.peers import (
    BY_S3FS,
    CACHED,
    DECODING,
    ENGINE,
    HIGHDICOM,
    KEPT,
    OBSTORE_RANGES,
    OPENSLIDE,
    S3FS_RANGES,
    WSIDICOM,
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
    """

    action: str
    rows: int = 0
    columns: int = 0
    opens: bool = False

    def task(self, target: Object) -> Task:
        """The same of one object."""
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
    """

    group: str
    target: str
    selection: Selection
    links: tuple[str, ...]
    peers: tuple[str, ...]
    memory: bool = False
    timed: bool = True

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return f"{self.group}/{self.target}"


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
