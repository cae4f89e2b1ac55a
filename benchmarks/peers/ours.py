"""This package, by its public interface."""

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
from xarray_dicom.backend import DicomBackendEntrypoint

#: Set to ``off``, S3 is read by s3fs.
_CHOICE = "XARRAY_DICOM_OBSTORE"

_HAS_CACHE = "index_cache" in DicomBackendEntrypoint.open_dataset_parameters


class Engine(Peer):
    """``xr.open_dataset(..., engine="dicom")``.

    Parameters
    ----------
    cached
        Whether an earlier opening left its index in a folder; otherwise there is no cache.
    obstore
        Whether S3 may be read by obstore.
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
        # A local disk is read by neither.
        self.local = obstore
        self._folder: str | None = None

    def refuses(self, task: Task, place: Place) -> str | None:
        if self.cached and not _HAS_CACHE:
            return "this version keeps no index"
        return super().refuses(task, place)

    def ready(self, place: Place, task: Task) -> Any:
        if task.action != "copy":
            return super().ready(place, task)
        return self.open(place, task, chunks={})

    def act(self, place: Place, task: Task, subject: Any) -> Any:
        with self._choice():
            return super().act(place, task, subject)

    def open(self, place: Place, task: Task, **options: Any) -> xr.Dataset:
        options.setdefault("chunks", self.chunks)
        if place.remote:
            options["storage_options"] = dict(place.storage_options)
        if _HAS_CACHE:
            options["index_cache"] = self._cache() if self.cached else False
        with self._choice():
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
    def _choice(self) -> Iterator[None]:
        """Set what decides between obstore and s3fs."""
        before = os.environ.get(_CHOICE)
        if not self.obstore:
            os.environ[_CHOICE] = "off"
        try:
            yield
        finally:
            os.environ.pop(_CHOICE, None)
            if before is not None:
                os.environ[_CHOICE] = before
