"""Subcommand ``xarray-dicom index``: fill the index cache, so that every later open is quick."""

from __future__ import annotations

import argparse
import asyncio
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xarray_dicom.cli.arguments import Commands, add_objects, storage_options
from xarray_dicom.cli.text import one_line
from xarray_dicom.errors import DicomError
from xarray_dicom.frames.scanned import ScannedFrames
from xarray_dicom.index_cache import learn, recall
from xarray_dicom.index_cache.cache import SIDECAR, BlobCache, cache_to_fill
from xarray_dicom.index_cache.checksummed import SUFFIX
from xarray_dicom.instance import Instance
from xarray_dicom.opening import FIRST_OF_MANY
from xarray_dicom.progress import Progress, progress
from xarray_dicom.runtime import enter_loop, run
from xarray_dicom.storage import ByteSource, expand, list_folder

#: Objects that are opened at a time by default.
JOBS = 32


@dataclass(frozen=True, slots=True)
class Job:
    """Object to index.

    Attributes
    ----------
    source
        The object.
    cache
        Cache that its record goes to.
    may_be_prefix
        True for an object that a URL names alone: it may be a prefix after all.
    """

    source: ByteSource
    cache: BlobCache
    may_be_prefix: bool


@dataclass(slots=True)
class Tally:
    """Results of all jobs.

    Attributes
    ----------
    indexed
        Number of objects that were opened and recorded.
    recorded_before
        Number of objects that had a record.
    failed
        One line for each object that failed.
    prefixes
        Jobs that turned out to be prefixes.
    """

    indexed: int = 0
    recorded_before: int = 0
    failed: list[str] = field(default_factory=list)
    prefixes: list[Job] = field(default_factory=list)


def add_parser(commands: Commands) -> None:
    """Add the subcommand to the program."""
    parser = commands.add_parser(
        "index",
        help="keep what opening finds, for whole cohorts",
        description="Open objects once and keep what that takes to find out, so that every later "
        "open makes one request. Nothing that names a patient is kept.",
    )
    add_objects(parser)
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--cache",
        metavar="DIR_OR_URL",
        help="where to keep it: a folder, or a URL that several machines share; by default the "
        "folder of this user that opening looks in",
    )
    place.add_argument(
        "--sidecar",
        action="store_true",
        help="keep it beside each object, as OBJECT.xdi",
    )
    parser.add_argument(
        "--scan",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read objects without an offset table through, to find their frames (default)",
    )
    parser.add_argument(
        "--jobs",
        type=_positive_integer,
        default=JOBS,
        metavar="N",
        help=f"objects opened at a time (default {JOBS})",
    )
    parser.set_defaults(command=index_objects)


def index_objects(arguments: argparse.Namespace) -> int:
    """Fill the index cache; return 1 if an object could not be opened or recorded."""
    with warnings.catch_warnings():
        # Warnings are recorded with the object, and drawn by whoever opens it.
        warnings.simplefilter("ignore")
        tally = run(_index_all(arguments))
    for line in dict.fromkeys(tally.failed):
        print(f"error: {line}", file=sys.stderr)
    print(
        f"{tally.indexed:,} indexed, {tally.recorded_before:,} known already, "
        f"{len(tally.failed):,} failed"
    )
    return int(bool(tally.failed))


def _positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of objects")
    return int(text)


async def _index_all(arguments: argparse.Namespace) -> Tally:
    # Many objects are opened at a time, which the calling thread can't.
    await enter_loop()
    tally = Tally()
    jobs = []
    for url in arguments.urls:
        try:
            jobs += await _jobs_of(url, arguments)
        except Exception as error:
            tally.failed.append(one_line(error))
    await _index(jobs, arguments, tally)
    jobs = []
    for prefix in tally.prefixes:
        try:
            sources = await list_folder(prefix.source, skip=(SUFFIX,))
            jobs += [Job(source, prefix.cache, may_be_prefix=False) for source in sources]
        except Exception as error:
            tally.failed.append(one_line(error))
    await _index(jobs, arguments, tally)
    return tally


async def _jobs_of(url: str, arguments: argparse.Namespace) -> list[Job]:
    sources = await expand(url, storage_options(url, arguments), skip=(SUFFIX,))
    cache = cache_to_fill(sources[0], SIDECAR if arguments.sidecar else arguments.cache)
    return [Job(source, cache, may_be_prefix=len(sources) == 1) for source in sources]


async def _index(jobs: Sequence[Job], arguments: argparse.Namespace, tally: Tally) -> None:
    """Run jobs, ``arguments.jobs`` of them at a time."""
    if not jobs:
        return
    queue = iter(jobs)
    with progress(len(jobs), "indexing", "object") as bar:
        workers = min(arguments.jobs, len(jobs))
        await enter_loop()
        await asyncio.gather(*(_work(queue, arguments.scan, tally, bar) for _ in range(workers)))


async def _work(queue: Iterator[Job], scan: bool, tally: Tally, bar: Progress) -> None:
    """Run jobs of a queue that several workers share.

    Parameters
    ----------
    queue
        Jobs that nobody has begun.
    scan
        True to find the frames of objects without an offset table.
    tally
        Where results are counted.
    bar
        Advanced by one with each job.
    """
    for job in queue:
        try:
            if await _index_one(job.source, job.cache, scan):
                tally.indexed += 1
            else:
                tally.recorded_before += 1
        except Exception as error:
            # As for the engine, a URL that is no object may be a prefix.
            if job.may_be_prefix and isinstance(error, FileNotFoundError | IsADirectoryError):
                tally.prefixes.append(job)
            else:
                tally.failed.append(one_line(error))
        bar.update(1)


async def _index_one(source: ByteSource, cache: BlobCache, scan: bool) -> bool:
    """Open and record one object.

    Parameters
    ----------
    source
        The object.
    cache
        Cache that its record goes to.
    scan
        True to find its frames if it has no offset table.

    Returns
    -------
    bool
        False if it had a record.

    Raises
    ------
    DicomError, OSError
        If it can't be opened or recorded.
    """
    opened = await recall(source, cache)
    if opened is not None and (_is_located(opened) or not scan):
        return False
    if opened is None:
        opened, recorded = await learn(source, cache, first=FIRST_OF_MANY)
        if not recorded:
            raise DicomError(
                "nothing is kept of it: its store tells no version of objects, or its frames are "
                "arranged by something that is not to be kept",
                location=source.location,
            )
    if scan and isinstance(opened.frames, ScannedFrames):
        await opened.frames.frame_offsets()
    return True


def _is_located(opened: Instance) -> bool:
    """Return True if the offsets of all frames are known without a scan."""
    frames = opened.frame_source
    return not isinstance(frames, ScannedFrames) or frames.has_offsets
