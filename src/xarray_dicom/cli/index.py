"""``xarray-dicom index``: open objects once, so that every later open is quick."""

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

#: Objects that are opened at a time, unless told otherwise.
JOBS = 32


@dataclass(frozen=True, slots=True)
class Job:
    """An object to index.

    Attributes
    ----------
    source, cache
        The object, and where to keep what is found of it.
    alone
        Whether it was named by itself, so that it may be a prefix.
    """

    source: ByteSource
    cache: BlobCache
    alone: bool


@dataclass(slots=True)
class Tally:
    """What became of objects.

    Attributes
    ----------
    indexed, known
        How many were opened and kept, and how many had been before.
    failed
        What went wrong, one line for each object.
    prefixes
        What turned out to be no object.
    """

    indexed: int = 0
    known: int = 0
    failed: list[str] = field(default_factory=list)
    prefixes: list[Job] = field(default_factory=list)


def add_to(commands: Commands) -> None:
    """Add the command to those of the program."""
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
        type=_jobs,
        default=JOBS,
        metavar="N",
        help=f"objects opened at a time (default {JOBS})",
    )
    parser.set_defaults(command=index)


def index(arguments: argparse.Namespace) -> int:
    """Fill the cache; 1 if something could not be opened or kept."""
    with warnings.catch_warnings():
        # What is noticed of an object is kept with it, and told to whoever opens it.
        warnings.simplefilter("ignore")
        tally = run(_index_all(arguments))
    for line in dict.fromkeys(tally.failed):
        print(f"error: {line}", file=sys.stderr)
    told = f"{tally.indexed:,} indexed, {tally.known:,} known already, {len(tally.failed):,} failed"
    print(told)
    return int(bool(tally.failed))


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of objects")
    return int(text)


async def _index_all(arguments: argparse.Namespace) -> Tally:
    tally = Tally()
    jobs = []
    for url in arguments.urls:
        try:
            jobs += await _jobs_of(url, arguments)
        except Exception as error:
            tally.failed.append(one_line(error))
    await _index(jobs, arguments, tally)
    below = []
    for prefix in tally.prefixes:
        try:
            found = await list_folder(prefix.source, skip=(SUFFIX,))
            below += [Job(source, prefix.cache, alone=False) for source in found]
        except Exception as error:
            tally.failed.append(one_line(error))
    await _index(below, arguments, tally)
    return tally


async def _jobs_of(url: str, arguments: argparse.Namespace) -> list[Job]:
    sources = await expand(url, storage_options(url, arguments), skip=(SUFFIX,))
    cache = cache_to_fill(sources[0], SIDECAR if arguments.sidecar else arguments.cache)
    return [Job(source, cache, alone=len(sources) == 1) for source in sources]


async def _index(jobs: Sequence[Job], arguments: argparse.Namespace, tally: Tally) -> None:
    """Do `jobs`, so many at a time."""
    if not jobs:
        return
    queue = iter(jobs)
    with progress(len(jobs), "indexing", "object") as bar:
        workers = min(arguments.jobs, len(jobs))
        await enter_loop()
        await asyncio.gather(*(_work(queue, arguments.scan, tally, bar) for _ in range(workers)))


async def _work(queue: Iterator[Job], scan: bool, tally: Tally, bar: Progress) -> None:
    for job in queue:
        try:
            if await _index_one(job.source, job.cache, scan):
                tally.indexed += 1
            else:
                tally.known += 1
        except Exception as error:
            # What is no object may be a prefix, as for the engine.
            if job.alone and isinstance(error, FileNotFoundError | IsADirectoryError):
                tally.prefixes.append(job)
            else:
                tally.failed.append(one_line(error))
        bar.update(1)


async def _index_one(source: ByteSource, cache: BlobCache, scan: bool) -> bool:
    """Keep what opening `source` finds; False if that was known.

    Raises
    ------
    DicomError, OSError
        If it can't be opened, or nothing can be kept of it.
    """
    opened = await recall(source, cache)
    if opened is not None and (_is_located(opened) or not scan):
        return False
    if opened is None:
        opened, kept = await learn(source, cache, first=FIRST_OF_MANY)
        if not kept:
            raise DicomError(
                f"{source.location}: nothing is kept of it: its store tells no version of "
                "objects, or its frames are arranged by something that is not to be kept"
            )
    if scan and isinstance(opened.frames, ScannedFrames):
        await opened.frames.frame_offsets()
    return True


def _is_located(opened: Instance) -> bool:
    """Return True if the offsets of all frames are known without a scan."""
    frames = opened.frame_source
    return not isinstance(frames, ScannedFrames) or frames.has_offsets
