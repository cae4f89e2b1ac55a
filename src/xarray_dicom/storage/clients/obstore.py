"""Objects in S3 and Google Cloud Storage through obstore: a quarter of s3fs' time per request.

It is chosen where the storage options, which are fsspec's, mean exactly the same to it:
anonymous access, or keys given or in the environment. All else is left to fsspec.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import math
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from xarray_dicom.runtime import in_thread, runtime
from xarray_dicom.storage.clients.base import ObjectClient, Reply, TruncatedBodyError
from xarray_dicom.storage.clients.obstore_config import Address, address_of
from xarray_dicom.storage.source import Fingerprint
from xarray_dicom.storage.url import URL

#: ``off`` leaves all objects to fsspec.
SWITCH = "XARRAY_DICOM_OBSTORE"

#: As many as s3fs makes, with less waiting.
_RETRIES = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}

#: A reply may take long over a thin line; one that stands still has broken off.
_TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "10m"}

#: Longest wait at the end of a process, and how long a thread takes to drop a request.
SECONDS_TO_LAND = 2.0
SECONDS_TO_FORGET = 0.1

_STATUS = re.compile(r"status code: (\d{3})")

_NO_DATE = datetime.fromtimestamp(0, UTC)


@dataclass(eq=False)
class Bucket:
    """The client of one bucket, and what is known of the server through it.

    Attributes
    ----------
    client
        obstore's.
    reached
        Whether the server has given us something.
    unsuited
        Whether it gives through fsspec what it refuses to this client.
    first
        Held by the first request, so that a server that is unsuited is asked once.
    """

    client: Any
    reached: bool = False
    unsuited: bool = False
    first: asyncio.Lock = field(default_factory=asyncio.Lock)


class ObstoreStore:
    """An object read with conditional GET; each reply tells size and version.

    Parameters
    ----------
    bucket
        The client to ask.
    address
        The object.
    otherwise
        Makes the store that fsspec has for it: some servers reply in ways that obstore
        refuses (no status 206), and a bucket may lie in another region than was told.
    """

    def __init__(
        self, bucket: Bucket, address: Address, otherwise: Callable[[], Awaitable[ObjectClient]]
    ) -> None:
        self.bucket = bucket
        self.address = address
        self.otherwise = otherwise

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """GET with Range, and If-Match or a generation once the version is known."""
        if self.bucket.reached:
            return await self._get(offset, length, pinned)
        if not self.bucket.unsuited:
            async with self.bucket.first:
                if not (self.bucket.reached or self.bucket.unsuited):
                    return await self._first(offset, length, pinned)
        if self.bucket.unsuited:
            return await (await self.otherwise()).get(offset, length, pinned)
        return await self._get(offset, length, pinned)

    async def stat(self) -> Fingerprint | None:
        """None: each reply tells."""
        return None

    async def _first(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Ask a server for the first time; what it refuses, ask again by fsspec."""
        try:
            reply = await self._get(offset, length, pinned)
        except Exception as refusal:
            try:
                reply = await (await self.otherwise()).get(offset, length, pinned)
            except ImportError:
                raise refusal from None
            self.bucket.unsuited = True
        else:
            self.bucket.reached = True
        return reply

    async def _get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        import obstore
        from obstore import exceptions

        options: dict[str, Any] = {"range": (offset, offset + length), **_condition(pinned)}
        try:
            with _flights.one():
                result = await obstore.get_async(
                    self.bucket.client,
                    self.address.key,
                    options=options,  # type: ignore[arg-type]
                )
        except FileNotFoundError:
            # A generation that is gone looks like an object that is gone.
            if "version" not in options:
                raise
            return await self._get(0, 1, None)
        except exceptions.PreconditionError:
            if pinned is None:
                raise
            return await self._get(0, 1, None)
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise PermissionError(_told(error)) from error
        except exceptions.BaseError as error:
            if _status(error) == 416:
                return Reply(b"", await self._head())
            raise OSError(_told(error)) from error
        found = _fingerprint(self.address.kind, result.meta)
        try:
            with _flights.one():
                content = bytes(await result.bytes_async())
        except Exception as error:
            raise TruncatedBodyError(_told(error)) from error
        return Reply(content, found)

    async def _head(self) -> Fingerprint:
        import obstore

        with _flights.one():
            meta = await obstore.head_async(self.bucket.client, self.address.key)
        return _fingerprint(self.address.kind, meta)


async def obstore_store(
    url: URL, options: Mapping[str, Any], otherwise: Callable[[], Awaitable[ObjectClient]]
) -> ObstoreStore | None:
    """The store of the object at `url`, or None where it is fsspec's."""
    if not _available():
        return None
    address = address_of(url, options, os.environ)
    if address is None:
        return None
    key: Hashable = ("obstore", address.kind, address.bucket, tuple(sorted(address.config.items())))
    try:
        bucket = await in_thread(runtime().shared, key, lambda: Bucket(_client(address)))
    except Exception:
        # What obstore can't be configured with may be no trouble to fsspec, or be told better.
        return None
    return None if bucket.unsuited else ObstoreStore(bucket, address, otherwise)


def _client(address: Address) -> Any:
    from obstore.store import GCSStore, S3Store

    endpoint = str(address.config.get("endpoint") or address.config.get("base_url") or "")
    make: Any = S3Store if address.kind == "s3" else GCSStore
    return make(
        address.bucket,
        config=dict(address.config),
        client_options={**_TIMEOUTS, "allow_http": endpoint.startswith("http://")},
        retry_config=_RETRIES,
    )


def _condition(pinned: Fingerprint | None) -> dict[str, str]:
    kind, _, value = (pinned.version if pinned else "").partition(":")
    names = {"etag": "if_match", "generation": "version"}
    return {names[kind]: value} if kind in names and value else {}


def _fingerprint(kind: str, meta: Mapping[str, Any]) -> Fingerprint:
    """The same words for a version as the stores of fsspec have."""
    size, modified = meta["size"], meta["last_modified"]
    if kind == "gs":
        return Fingerprint(size, f"generation:{meta['version']}" if meta["version"] else "")
    if meta["e_tag"]:
        return Fingerprint(size, f"etag:{meta['e_tag']}")
    return Fingerprint(size, f"mtime:{modified.isoformat()}" if modified > _NO_DATE else "")


def _status(error: BaseException) -> int:
    """HTTP status in what obstore says, 0 if there is none."""
    match = _STATUS.search(str(error))
    return int(match[1]) if match else 0


def _told(error: BaseException) -> str:
    """What obstore says, without its account of its own structures."""
    return str(error).partition("\n\nDebug source")[0].strip()


class Flights:
    """Requests that obstore's threads are busy with.

    Such a thread that wants the interpreter back while it ends takes the process down, so
    none may be left by then.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._given_up = -math.inf
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """While the block runs, the task at hand waits for obstore."""
        task = asyncio.current_task()
        if self._closed or task is None:
            raise RuntimeError("the interpreter is about to end")
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            self._given_up = time.monotonic()
            raise
        finally:
            self._tasks.discard(task)

    def close(self) -> None:
        """Give up what is under way, and wait until obstore's threads know."""
        self._closed = True
        if self._tasks:
            runtime().loop.call_soon_threadsafe(self._cancel)
        deadline = time.monotonic() + SECONDS_TO_LAND
        while self._tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(max(0.0, self._given_up + SECONDS_TO_FORGET - time.monotonic()))

    def _cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()


_flights = Flights()


def _land() -> None:
    if "obstore" in sys.modules and not _orphaned:
        _flights.close()


atexit.register(_land)


#: Whether this process is the child of one that had loaded obstore: its threads are gone,
#: and whatever is asked of it would wait for them.
_orphaned = False


def _available() -> bool:
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        return False
    return not _orphaned and _installed()


@cache
def _installed() -> bool:
    return importlib.util.find_spec("obstore") is not None


def _note_loss_of_threads() -> None:
    global _orphaned
    _orphaned = _orphaned or "obstore" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_loss_of_threads)
