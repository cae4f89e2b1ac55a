"""The engine on a Dask cluster of processes."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

import xarray as xr

from benchmarks.peers.base import Task
from benchmarks.peers.ours import Engine
from benchmarks.store import Place


class Cluster(Engine):
    """The engine taking the largest value of a level, so that pixels stay on their worker.

    Parameters
    ----------
    workers
        Processes of one thread each.
    """

    def __init__(self, workers: int) -> None:
        super().__init__()
        self.workers = workers
        self._client: Any = None
        self._stack = ExitStack()

    def ready(self, place: Place, task: Task) -> xr.Dataset:
        if self._client is None:
            self._start()
        return self.open(place, task, chunks={})

    def region(self, opened: xr.Dataset, task: Task) -> Any:
        return self._client.compute(opened.image.max()).result()

    def pixels(self, result: Any, task: Task) -> None:
        return None

    def close(self) -> None:
        self._stack.close()
        self._client = None
        super().close()

    def _start(self) -> None:
        from distributed import Client, LocalCluster

        logging.getLogger("distributed").setLevel(logging.ERROR)
        cluster = self._stack.enter_context(
            LocalCluster(
                n_workers=self.workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
            )
        )
        self._client = self._stack.enter_context(Client(cluster))
