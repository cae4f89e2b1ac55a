"""Sizes of a run: the one that is published, and a tiny one that tests the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.store import FAR, LINKS, LOCAL


@dataclass(frozen=True)
class Scale:
    """Sizes of objects and selections, and numbers of measurements.

    Attributes
    ----------
    name
        ``"full"`` or ``"quick"``.
    slide
        Rows and columns of the slide that is read, in pixels; its tiles have 256.
    coded
        Rows and columns of the slides that compare codings.
    many
        Frames of the slides named ``many``.
    growth, segmentation_growth
        Frames of the slides and of the segmentations of the ``growth`` groups.
    small, large
        Rows and columns of the small and of the large region.
    files, plane
        Images of the CT series, and rows and columns of each.
    segments, planes
        Segments and planes of the segmentation; every segment has a frame on every plane.
    zarr
        Rows and columns of the slides that are copied to Zarr.
    workers
        Numbers of processes of a Dask cluster.
    patch, patches
        Rows and columns of a patch of a slide, and number of patches that are read.
    openings
        Measurements of openings and small regions in the group ``patches``.
    repetitions
        Measurements of everything else.
    patience
        Seconds after which a peer that was measured twice is measured no further.
    links
        Names of the links that are measured, of `benchmarks.store.LINKS`.
    memory
        True if the peak memory of peers is measured, in a process for each.
    """

    name: str
    slide: int
    coded: int
    many: int
    growth: tuple[int, ...]
    segmentation_growth: tuple[int, ...]
    small: int
    large: int
    files: int
    plane: int
    segments: int
    planes: int
    zarr: tuple[int, ...]
    workers: tuple[int, ...]
    patch: int
    patches: int
    openings: int
    repetitions: int
    patience: float
    links: tuple[str, ...]
    memory: bool


FULL = Scale(
    name="full",
    slide=10_240,
    coded=4096,
    many=100_000,
    growth=(1_000, 10_000, 100_000, 1_000_000),
    segmentation_growth=(1_000, 10_000, 100_000),
    small=512,
    large=4096,
    files=300,
    plane=256,
    segments=100,
    planes=50,
    zarr=(8192, 16_384, 32_768),
    workers=(1, 2, 4),
    patch=256,
    patches=300,
    openings=50,
    repetitions=5,
    patience=45,
    links=tuple(LINKS),
    memory=True,
)

QUICK = Scale(
    name="quick",
    slide=1024,
    coded=512,
    many=200,
    growth=(100, 1_000),
    segmentation_growth=(100, 1_000),
    small=256,
    large=512,
    files=4,
    plane=32,
    segments=5,
    planes=4,
    zarr=(1024,),
    workers=(1,),
    patch=128,
    patches=2,
    openings=1,
    repetitions=1,
    patience=0,
    links=(LOCAL, FAR),
    memory=False,
)

SCALES = {scale.name: scale for scale in (FULL, QUICK)}
