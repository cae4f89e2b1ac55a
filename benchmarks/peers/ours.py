"""The engine, by its public interface."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from benchmarks.peers.base import Peer, Task
from benchmarks.store import Place

#: Variable of the environment; if it is ``off``, S3 is read by s3fs.
_OBSTORE = "XARRAY_DICOM_OBSTORE"


class Engine(Peer):
    """``xr.open_dataset(..., engine="dicom")``.

    Parameters
    ----------
    cached
        True if an earlier opening left its index in a folder; otherwise there is no cache.
    obstore
        True if S3 may be read by obstore, False for s3fs.
    chunks
        Keyword of ``open_dataset``: ``{}`` for Dask arrays.
    """

    reads = {  # noqa: RUF012
        "slide": frozenset({"open", "region", "copy"}),
        "segmentation": frozenset({"open", "segment"}),
        "series": frozenset({"open", "volume"}),
    }

    def __init__(
        self,
        *,
        cached: bool = False,
        obstore: bool = True,
        chunks: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.cached = cached
        self.obstore = obstore
        self.chunks = chunks
        # Neither obstore nor s3fs reads local files, so one of the two peers does.
        self.local = obstore
        self._folder: str | None = None

    def ready(self, place: Place, task: Task) -> Any:
        if task.action != "copy":
            return super().ready(place, task)
        return self.open(place, task, chunks={})

    def act(self, place: Place, task: Task, subject: Any) -> Any:
        with self._environment():
            return super().act(place, task, subject)

    def open(self, place: Place, task: Task, **options: Any) -> xr.Dataset:
        options.setdefault("chunks", self.chunks)
        if place.remote:
            options["storage_options"] = dict(place.storage_options)
        options["index_cache"] = self._cache() if self.cached else False
        with self._environment():
            return xr.open_dataset(place.url, engine="dicom", **options)

    def region(self, opened: xr.Dataset, task: Task) -> NDArray[np.generic]:
        pixels: NDArray[np.generic] = opened.image.isel(
            y=slice(*task.rows), x=slice(*task.columns)
        ).values
        return pixels

    def segment(self, opened: xr.Dataset, task: Task) -> NDArray[np.generic]:
        pixels: NDArray[np.generic] = opened.segmentation.sel(segment=task.segment).values
        return pixels

    def volume(self, opened: xr.Dataset, task: Task) -> NDArray[np.generic]:
        pixels: NDArray[np.generic] = opened.image.values
        return pixels

    def copy(self, opened: xr.Dataset, task: Task) -> None:
        """Write a slide to Zarr, block by block."""
        with tempfile.TemporaryDirectory() as folder:
            opened[["image"]].to_zarr(f"{folder}/copy.zarr", zarr_format=3, consolidated=False)

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        super().close()

    def _cache(self) -> str:
        if self._folder is None:
            self._folder = tempfile.mkdtemp()
        return self._folder

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """Set the variable that decides between obstore and s3fs."""
        if self.obstore:
            yield
            return
        before = os.environ.get(_OBSTORE)
        os.environ[_OBSTORE] = "off"
        try:
            yield
        finally:
            os.environ.pop(_OBSTORE, None)
            if before is not None:
                os.environ[_OBSTORE] = before
