"""Merged byte ranges that are fetched and not decoded: the least cost of fetching."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import obstore
from obstore.store import S3Store
from s3fs.core import S3FileSystem

from benchmarks.peers.base import Peer, Task
from benchmarks.plan import ideal_plan
from benchmarks.store import Place


class _Ranges(Peer):
    reads = {  # noqa: RUF012
        "slide": frozenset({"region"}),
        "segmentation": frozenset({"segment"}),
    }
    local = False

    def ready(self, place: Place, task: Task) -> tuple[Any, list[int], list[int]]:
        plan = ideal_plan(task, place)
        return self.open(place, task), plan.offsets.tolist(), plan.lengths.tolist()

    def pixels(self, result: Any, task: Task) -> None:
        return None


class S3fsRanges(_Ranges):
    """``S3FileSystem.cat_ranges``."""

    def open(self, place: Place, task: Task) -> S3FileSystem:
        return S3FileSystem(**place.storage_options)

    def act(self, place: Place, task: Task, subject: Any) -> int:
        filesystem, offsets, lengths = subject
        ends = np.add(offsets, lengths).tolist()
        path = place.url.removeprefix("s3://")
        parts = filesystem.cat_ranges([path] * len(offsets), offsets, ends, on_error="raise")
        return sum(map(len, parts))


class ObstoreRanges(_Ranges):
    """``obstore.get_range_async``, all at once, over connections that stay open."""

    def __init__(self) -> None:
        super().__init__()
        self._stores: dict[str, S3Store] = {}

    def open(self, place: Place, task: Task) -> S3Store:
        endpoint = place.storage_options["endpoint_url"]
        if endpoint not in self._stores:
            self._stores[endpoint] = self._store(place)
        return self._stores[endpoint]

    def close(self) -> None:
        self._stores.clear()
        super().close()

    def _store(self, place: Place) -> S3Store:
        bucket = place.url.removeprefix("s3://").partition("/")[0]
        return S3Store(
            bucket,
            endpoint=place.storage_options["endpoint_url"],
            access_key_id=place.storage_options["key"],
            secret_access_key=place.storage_options["secret"],
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def act(self, place: Place, task: Task, subject: Any) -> int:
        store, offsets, lengths = subject
        key = place.url.removeprefix("s3://").partition("/")[2]

        async def fetch() -> int:
            parts = await asyncio.gather(
                *(
                    obstore.get_range_async(store, key, start=start, length=length)
                    for start, length in zip(offsets, lengths, strict=True)
                ),
            )
            return sum(map(len, parts))

        return asyncio.run(fetch())
