"""Readers that are measured: a table of peers behind one small interface."""

from __future__ import annotations

from benchmarks.peers.base import Peer, Task
from benchmarks.peers.cluster import Cluster
from benchmarks.peers.decoding import ArrayDecoding, RawDecoding
from benchmarks.peers.highdicom import Highdicom
from benchmarks.peers.openslide import OpenSlide
from benchmarks.peers.ours import Engine
from benchmarks.peers.ranges import ObstoreRanges, S3fsRanges
from benchmarks.peers.wsidicom import Wsidicom
from benchmarks.scale import FULL

__all__ = ["PEERS", "Peer", "Task"]

ENGINE = "xarray-dicom"
CACHED = "xarray-dicom, cached index"
BY_S3FS = "xarray-dicom over s3fs"
CHUNKED = "xarray-dicom, chunks={}"
HIGHDICOM = "highdicom + s3fs"
WSIDICOM = "wsidicom"
WSIDICOM_ONE_THREAD = "wsidicom, one thread"
OPENSLIDE = "openslide"
DECODING = "imagecodecs, thread pool"
DECODING_ONE_THREAD = "imagecodecs, one thread"
DECODING_ARRAY = "imagecodecs, thread pool, one array"
OBSTORE_RANGES = "obstore ranges"
S3FS_RANGES = "s3fs ranges"


def cluster(workers: int) -> str:
    """Return the name of the engine on a Dask cluster of so many processes."""
    return f"Dask, {workers} process" + "es" * (workers > 1)


PEERS: dict[str, Peer] = {
    ENGINE: Engine(),
    CACHED: Engine(cached=True),
    BY_S3FS: Engine(obstore=False),
    CHUNKED: Engine(chunks={}),
    HIGHDICOM: Highdicom(),
    WSIDICOM: Wsidicom(),
    WSIDICOM_ONE_THREAD: Wsidicom(threads=1),
    OPENSLIDE: OpenSlide(),
    DECODING: RawDecoding(),
    DECODING_ONE_THREAD: RawDecoding(threads=1),
    DECODING_ARRAY: ArrayDecoding(),
    OBSTORE_RANGES: ObstoreRanges(),
    S3FS_RANGES: S3fsRanges(),
    **{cluster(workers): Cluster(workers) for workers in FULL.workers},
}
