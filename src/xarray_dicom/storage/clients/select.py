"""Table of clients: which one reads which protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from xarray_dicom.runtime import runtime
from xarray_dicom.storage.clients.base import ObjectClient
from xarray_dicom.storage.clients.chained import ChainedClient, Turns, version_of
from xarray_dicom.storage.clients.filesystems import filesystem_of, frozen
from xarray_dicom.storage.clients.gcs import GCSClient
from xarray_dicom.storage.clients.generic import GenericClient
from xarray_dicom.storage.clients.http import HTTPClient
from xarray_dicom.storage.clients.local import LocalClient
from xarray_dicom.storage.clients.object_store import OPTION
from xarray_dicom.storage.clients.obstore_choice import automatic_client
from xarray_dicom.storage.clients.s3 import S3Client
from xarray_dicom.storage.url import LOCAL_PROTOCOLS, URL, local_path

#: Client by protocol, made with a filesystem and the path in it; local files need no
#: filesystem, other protocols get `GenericClient`.
CLIENTS: Mapping[str, Callable[[Any, str], ObjectClient]] = {
    "s3": S3Client,
    "s3a": S3Client,
    "gs": GCSClient,
    "gcs": GCSClient,
    "http": HTTPClient,
    "https": HTTPClient,
}

#: Protocols that answer without a network, if what lies behind them does.
_IMMEDIATE = LOCAL_PROTOCOLS | {
    "blockcache",
    "cached",
    "filecache",
    "libarchive",
    "memory",
    "simplecache",
    "tar",
    "zip",
}

#: Archives whose members share the position of one open file.
_ONE_READER = {"libarchive", "tar"}


def is_immediate(url: URL, options: Mapping[str, Any]) -> bool:
    """Return True if no object at `url` is waited for: it lies in memory or on this machine.

    Stores of obstore are always waited for: its threads do the work.
    """
    return OPTION not in options and _without_network(url)


def _without_network(url: URL) -> bool:
    links = url.links
    if len(links) == 1:
        return links[0].protocol in LOCAL_PROTOCOLS or links[0].protocol == "memory"
    return _IMMEDIATE.issuperset(url.protocols) and _without_network(URL(links[-1:]))


async def client_of(url: URL, options: Mapping[str, Any]) -> ObjectClient:
    """Return the client of the object at `url`; costs no request unless the URL is a chain."""
    if OPTION in options:
        client: ObjectClient = options[OPTION].client(url)
        return client
    rest = url.rest
    if rest is None:
        if url.links[0].is_local:
            return LocalClient(local_path(url))
        chosen = await automatic_client(url, options, lambda: _fsspec_client(url, options))
        return chosen or await _fsspec_client(url, options)
    behind = await client_of(rest, url.options_of_rest(options))
    if url.is_cache:
        filesystem, path = await filesystem_of(url, options)
        first_download = runtime().shared(("first download", url, frozen(options)), Turns)
        return ChainedClient(GenericClient(filesystem, path), behind, first_download)
    filesystem, path = await filesystem_of(url, options, await version_of(behind))
    lock = None
    if url.protocol in _ONE_READER:
        lock = runtime().shared(("archive lock", rest, frozen(options)), threading.Lock)
    return ChainedClient(GenericClient(filesystem, path, lock), behind, None)


async def _fsspec_client(url: URL, options: Mapping[str, Any]) -> ObjectClient:
    filesystem, path = await filesystem_of(url, options)
    return CLIENTS.get(url.protocol, GenericClient)(filesystem, path)
