"""The choice between obstore and fsspec where nobody has made it.

obstore is taken where the storage options, which are fsspec's, mean exactly the same to it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Awaitable, Callable, Hashable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from xarray_dicom.runtime import enter_loop, in_thread, runtime
from xarray_dicom.storage.clients.base import ObjectClient, Reply
from xarray_dicom.storage.clients.obstore import ObstoreClient
from xarray_dicom.storage.clients.obstore_config import Address, address_of
from xarray_dicom.storage.clients.obstore_threads import threads
from xarray_dicom.storage.source import Fingerprint
from xarray_dicom.storage.url import URL

#: Environment variable: ``off`` leaves all objects to fsspec.
SWITCH = "XARRAY_DICOM_OBSTORE"

#: As many attempts as s3fs makes. A reply may take long over a thin line; one that stands
#: still has broken off.
_RETRIES = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
_TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "10m"}

_find = cache(importlib.util.find_spec)


class Bucket:
    """An obstore store, and whether it suits its server.

    Attributes
    ----------
    suited
        False where fsspec reads what the server refuses to obstore; None before either has
        read anything.
    first_request
        Held by the first request, so that a server that is unsuited is asked once.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        self.suited: bool | None = None
        self.first_request = asyncio.Lock()


class AutomaticClient:
    """An object read by obstore, or by the client that `otherwise` makes.

    Some servers reply in ways that obstore refuses (no status 206), and a bucket may lie in
    another region than its options say.
    """

    def __init__(
        self, bucket: Bucket, path: str, otherwise: Callable[[], Awaitable[ObjectClient]]
    ) -> None:
        self.bucket = bucket
        self.client = ObstoreClient(bucket.store, path)
        self.otherwise = otherwise

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Fetch by the client that suits the server."""
        await enter_loop()
        if self.bucket.suited is None:
            async with self.bucket.first_request:
                if self.bucket.suited is None:
                    return await self._first(offset, length, pinned)
        client = self.client if self.bucket.suited else await self.otherwise()
        return await client.get(offset, length, pinned)

    async def stat(self) -> Fingerprint | None:
        """None: each reply has the version."""
        return None

    async def _first(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        try:
            reply = await self.client.get(offset, length, pinned)
            self.bucket.suited = True
        except Exception as refusal:
            try:
                reply = await (await self.otherwise()).get(offset, length, pinned)
            except ImportError:
                raise refusal from None
            self.bucket.suited = False
        return reply


async def automatic_client(
    url: URL, options: Mapping[str, Any], otherwise: Callable[[], Awaitable[ObjectClient]]
) -> AutomaticClient | None:
    """Return obstore's client of the object at `url`; None where fsspec's is the right one."""
    switched_off = os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no")
    if switched_off or threads.lost or _find("obstore") is None:
        return None
    address = address_of(url, options, os.environ)
    if address is None:
        return None
    key: Hashable = ("obstore", address.kind, address.bucket, tuple(sorted(address.config.items())))
    try:
        bucket = runtime().peek(key) or await in_thread(
            runtime().shared, key, lambda: Bucket(_store(address))
        )
    except Exception:
        # fsspec may have no trouble with such a configuration, or explain it better.
        return None
    return None if bucket.suited is False else AutomaticClient(bucket, address.key, otherwise)


def _store(address: Address) -> Any:
    from obstore.store import from_url

    endpoint = str(address.config.get("endpoint") or address.config.get("base_url"))
    make: Any = from_url
    return make(
        f"{address.kind}://{address.bucket}",
        config=address.config,
        client_options={**_TIMEOUTS, "allow_http": endpoint.startswith("http://")},
        retry_config=_RETRIES,
    )
