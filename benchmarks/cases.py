"""Cases of the measurements: an object, a selection of it, links and readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks import objects
from benchmarks.peers import (
    BY_S3FS,
    CACHED,
    CHUNKED,
    DECODING,
    DECODING_ARRAY,
    DECODING_ONE_THREAD,
    ENGINE,
    HIGHDICOM,
    OBSTORE_RANGES,
    OPENSLIDE,
    S3FS_RANGES,
    WSIDICOM,
    WSIDICOM_ONE_THREAD,
    cluster,
)
from benchmarks.scale import Scale
from benchmarks.selection import Selection
from benchmarks.store import FAR, FARTHER, LOCAL, NARROW, NEAR

ALL_LATENCIES = (LOCAL, NEAR, FAR, FARTHER)
LOCAL_AND_FAR = (LOCAL, FAR)

READERS = (ENGINE, HIGHDICOM, WSIDICOM, OPENSLIDE)
SLIDE_OPENERS = (ENGINE, CACHED, BY_S3FS, HIGHDICOM, WSIDICOM, OPENSLIDE)
OPENERS = (ENGINE, CACHED, BY_S3FS, HIGHDICOM)
RAW_RANGES = (OBSTORE_RANGES, S3FS_RANGES)
RAW = (DECODING, *RAW_RANGES)
PATCH_READERS = (
    ENGINE,
    CHUNKED,
    WSIDICOM,
    WSIDICOM_ONE_THREAD,
    OPENSLIDE,
    DECODING,
    DECODING_ONE_THREAD,
)

OPEN = Selection("open")
LEVEL = Selection("region")


@dataclass(frozen=True)
class Case:
    """One row of the measurements.

    Attributes
    ----------
    group
        Section of the report, a key of `GROUPS`.
    target
        Name of an object in `benchmarks.objects.recipes`.
    selection
        What is read of it.
    links
        Names in `benchmarks.store.LINKS`.
    peers
        Names in `benchmarks.peers.PEERS`; the pixels of the others are compared with those
        of the first.
    memory
        True if peak memory is measured too, on the first link.
    timed
        True if time is measured, not memory alone.
    label
        End of the name, where the group has several cases for an object.
    rounds
        Measurements of each peer; None for the `Scale.repetitions` of the run.
    turn
        Measurements of a peer before it is another one's turn.
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
    turn: int = 1

    @property
    def name(self) -> str:
        """Name on the command line."""
        return "/".join(filter(None, (self.group, self.target, self.label)))


#: Sections of the report: a heading, and what a reader needs to know.
GROUPS = {
    "open": (
        "Opening a slide",
        ("Headers and offset tables are read, never pixels. A slide without a table opens at "
        "once: the first read, measured in the next section, locates its frames."),
    ),
    "first-region": (
        "Opening a slide and reading a first region",
        "The time from a URL to the pixels, locating frames included.",
    ),
    "region-small": ("A small region of an open slide", "512 × 512 pixels."),
    "region-large": ("A large region of an open slide", "4096 × 4096 pixels."),
    "patches": (
        "Patches of a local slide",
        ("Regions at random places, different in every round and the same for all readers, of a "
        "slide that stays open, with the caches of all readers switched off. Opening and the whole "
        "level are measured in the same run; imagecodecs decodes the tiles that a region meets."),
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
        "Slides of tiny tiles. Readers that take minutes for an object leave it out.",
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
    """Return every case of a run."""
    return [
        *_slide_openings(scale),
        *_regions(scale),
        *_patches(scale),
        *_segmentations(),
        *_series(),
        *_growth(scale),
        *_copies(scale),
    ]


def _slide_openings(scale: Scale) -> Iterator[Case]:
    """Yield the cases that open a slide, with and without reading a first region."""
    first = Selection("region", scale.small, scale.small, opens=True)
    for target, links in (("slide", ALL_LATENCIES), ("many", LOCAL_AND_FAR)):
        for key in objects.TABLES:
            yield Case("open", f"{target}-{key}", OPEN, links, SLIDE_OPENERS)
    for target in ("slide", "many"):
        for key in objects.TABLES:
            yield Case("first-region", f"{target}-{key}", first, LOCAL_AND_FAR, SLIDE_OPENERS)


def _regions(scale: Scale) -> Iterator[Case]:
    """Yield the cases that read of an open slide."""
    slide, readers = "slide-eot", (*READERS, BY_S3FS, *RAW)
    small = Selection("region", scale.small, scale.small)
    large = Selection("region", scale.large, scale.large)
    band = Selection("region", scale.small * 2)
    half = Selection("region", scale.coded // 2, scale.coded // 2)
    yield Case("region-small", slide, small, ALL_LATENCIES, readers)
    yield Case("region-large", slide, large, ALL_LATENCIES, readers, memory=True)
    yield Case("band", slide, band, (NEAR, FAR), (ENGINE, BY_S3FS, *RAW_RANGES))
    level_readers = (ENGINE, WSIDICOM, *RAW, DECODING_ARRAY)
    yield Case("level", slide, LEVEL, (LOCAL, NARROW), level_readers, memory=True)
    for key in objects.CODINGS:
        yield Case("coding", f"coded-{key}", half, LOCAL_AND_FAR, (*READERS, *RAW))


def _patches(scale: Scale) -> Iterator[Case]:
    """Yield the cases that cut patches from a local slide, as for training."""
    patch = Selection("region", scale.patch, scale.patch, scattered=True)
    region = Selection("region", scale.small, scale.small, scattered=True)

    def case(
        slide: str, label: str, selection: Selection, peers: tuple[str, ...], rounds: int
    ) -> Case:
        # A data loader cuts one patch after another: ten make a turn.
        turn = 10 if selection.scattered else 1
        return Case(
            "patches", slide, selection, (LOCAL,), peers, label=label, rounds=rounds, turn=turn
        )

    for slide in ("slide-eot", "slide-dual"):
        yield case(slide, "open", OPEN, (ENGINE, WSIDICOM, OPENSLIDE), scale.openings)
        yield case(slide, "patch", patch, (*PATCH_READERS, HIGHDICOM), scale.patches)
    slide = "slide-eot"
    yield case(slide, "region", region, PATCH_READERS, scale.openings)
    yield case(slide, "open-region", replace(region, opens=True), PATCH_READERS, scale.openings)
    level_readers = (ENGINE, WSIDICOM, DECODING, DECODING_ARRAY)
    yield case(slide, "level", LEVEL, level_readers, scale.repetitions)


def _segmentations() -> Iterator[Case]:
    readers = (ENGINE, BY_S3FS, HIGHDICOM, *RAW_RANGES)
    yield Case("open-segmentation", "organs", OPEN, ALL_LATENCIES, OPENERS, memory=True)
    yield Case("segment", "organs", Selection("segment"), ALL_LATENCIES, readers)


def _series() -> Iterator[Case]:
    volume = Selection("volume", opens=True)
    yield Case("open-series", "ct", OPEN, ALL_LATENCIES, OPENERS)
    yield Case("series", "ct", volume, ALL_LATENCIES, OPENERS, memory=True)


def _growth(scale: Scale) -> Iterator[Case]:
    """Yield the cases whose cost may grow with frames or workers."""
    first = Selection("region", scale.small, scale.small, opens=True)
    for count in scale.growth:
        for key in ("eot", "native"):
            yield Case("growth", f"slide-{count}-{key}", OPEN, LOCAL_AND_FAR, SLIDE_OPENERS)
    for count in scale.growth:
        yield Case("growth-region", f"slide-{count}-eot", first, LOCAL_AND_FAR, (ENGINE, CACHED))
    openers = (ENGINE, CACHED, HIGHDICOM)
    for count in scale.segmentation_growth:
        target = f"segmentation-{count}"
        yield Case("growth-segmentation", target, OPEN, LOCAL_AND_FAR, openers, memory=True)
    clusters = tuple(cluster(workers) for workers in scale.workers)
    yield Case("workers", "slide-eot", LEVEL, (LOCAL, NARROW), clusters)


def _copies(scale: Scale) -> Iterator[Case]:
    """Yield the cases that copy a slide to Zarr, for the memory that this takes."""
    copy = Selection("copy")
    for size in scale.zarr:
        target = f"repeated-{size}"
        yield Case("memory", target, copy, (LOCAL,), (ENGINE,), memory=True, timed=False)
