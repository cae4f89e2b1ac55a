"""fsspec filesystems as this process shares them, and the store that each object gets.

A filesystem with coroutines of its own runs on the private event loop. Where one is
reached through synchronous calls instead (the inner link of a chain), it gets a second
private loop, so that no read waits for fsspec's global one, which may be the caller's.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import fsspec

from xarray_dicom.runtime import in_thread, runtime
from xarray_dicom.storage.clients.base import Store
from xarray_dicom.storage.clients.chained import ChainStore, version_of
from xarray_dicom.storage.clients.generic import GenericStore
from xarray_dicom.storage.clients.obstore import obstore_store
from xarray_dicom.storage.url import is_cache, options_of_rest, protocol_of, split_link

#: Stores that have more to offer than `GenericStore`: protocol, module of this room, class.
_SPECIAL = {
    "file": ("local", "LocalStore"),
    "local": ("local", "LocalStore"),
    "s3": ("s3", "S3Store"),
    "s3a": ("s3", "S3Store"),
    "gs": ("gcs", "GCSStore"),
    "gcs": ("gcs", "GCSStore"),
    "http": ("http", "HTTPStore"),
    "https": ("http", "HTTPStore"),
}

#: Archives whose index and handle are kept.
OPEN_ARCHIVES = 32


async def store_of(url: str, options: Mapping[str, Any]) -> Store:
    """The store of the object at `url`; costs no request unless the URL is a chain."""
    _, rest = split_link(url)
    if not rest:
        found = await obstore_store(url, options, lambda: _fsspec_store(url, options))
        return found or await _fsspec_store(url, options)
    behind = await store_of(rest, options_of_rest(url, options))
    if is_cache(url):
        filesystem, path = await filesystem_of(url, options)
        fetching = runtime().shared(("fetching", url, frozen(options)), asyncio.Lock)
        return ChainStore(filesystem, path, behind, fetching)
    filesystem, path = await filesystem_of(url, options, await version_of(behind))
    return ChainStore(filesystem, path, behind, None)


async def _fsspec_store(url: str, options: Mapping[str, Any]) -> Store:
    filesystem, path = await filesystem_of(url, options)
    make_store: Callable[[Any, str], Store] = _store_class(protocol_of(url))
    return make_store(filesystem, path)


async def filesystem_of(
    url: str, options: Mapping[str, Any], version: Hashable = None
) -> tuple[Any, str]:
    """The shared filesystem that serves `url`, and the path of `url` in it.

    Parameters
    ----------
    version
        Version of the archive that the filesystem reads, if it reads one.
    """
    first, rest = split_link(url)
    current = runtime()
    if not rest:
        protocol = protocol_of(url)
        kind = filesystem_class(protocol)
        combined = {**kind._get_kwargs_from_urls(url), **options}
        key = ("filesystem", protocol, frozen(combined))
        # To wake a thread takes longer than all else here.
        filesystem = current.peek(key) or await in_thread(
            current.shared, key, lambda: _make(protocol, kind, combined)
        )
        return filesystem, kind._strip_protocol(url)
    if is_cache(url):
        key = ("filesystem", _protocols(url), frozen(options))
        filesystem = await in_thread(current.shared, key, lambda: _make_chain(url, options))
        while rest:
            first, rest = split_link(rest)
            if "://" in first or not rest:
                break
        return filesystem, filesystem_class(protocol_of(first))._strip_protocol(first)
    archives = current.shared("archives", _Archives)
    archive = (protocol_of(url), rest, frozen(options), version)
    filesystem = await in_thread(archives.get, archive, lambda: _make_chain(url, options))
    return filesystem, filesystem_class(protocol_of(url))._strip_protocol(first)


def filesystem_class(protocol: str) -> Any:
    """The fsspec class for `protocol`.

    Raises
    ------
    ValueError, ImportError
        If fsspec doesn't know it, or the package that it needs is not installed.
    """
    known: Any = fsspec.get_filesystem_class
    return known(protocol)


def frozen(value: Any) -> Hashable:
    """`value` as something to look up by: equal for equal storage options."""
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), frozen(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    return (type(value).__qualname__, _ByRepr(value))


class _ByRepr:
    """Compares by `repr`, and keeps the object alive as the `repr` may hold its address."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.text = repr(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByRepr) and self.text == other.text

    def __lt__(self, other: _ByRepr) -> bool:
        return self.text < other.text

    def __hash__(self) -> int:
        return hash(self.text)


class _Archives:
    """The archives used last, with their open handles."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            kept = self._kept.setdefault(key, made)
            while len(self._kept) > OPEN_ARCHIVES:
                self._kept.popitem(last=False)
        return kept


def _store_class(protocol: str) -> Any:
    if protocol not in _SPECIAL:
        return GenericStore
    module, name = _SPECIAL[protocol]
    return getattr(importlib.import_module(f"xarray_dicom.storage.clients.{module}"), name)


def _protocols(url: str) -> str:
    first, rest = split_link(url)
    return f"{protocol_of(first)}::{_protocols(rest)}" if rest else protocol_of(url)


def _tuned(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    tune = getattr(_store_class(protocol), "tune", dict)
    # A listing kept for the life of the process would hide what is added to a folder.
    return {"use_listings_cache": False, **tune(options)}


def _make(protocol: str, kind: Any, options: Mapping[str, Any]) -> Any:
    if not kind.async_impl:
        return kind(**options)
    return kind(
        asynchronous=True,
        loop=runtime().loop,
        skip_instance_cache=True,
        **_tuned(protocol, options),
    )


def _make_chain(url: str, options: Mapping[str, Any]) -> Any:
    """A filesystem that is called synchronously, whatever lies behind it."""
    private = {"loop": runtime().shared("second loop", _second_loop), "skip_instance_cache": True}
    combined: dict[str, Any] = {
        key: dict(item) if isinstance(item, Mapping) else item for key, item in options.items()
    }
    _, rest = split_link(url)
    while rest:
        protocol = protocol_of(rest)
        if filesystem_class(protocol).async_impl:
            combined[protocol] = {**_tuned(protocol, combined.get(protocol, {})), **private}
        rest = split_link(rest)[1]
    if filesystem_class(protocol_of(url)).async_impl:
        combined.update(private)
    make: Any = fsspec.core.url_to_fs
    filesystem, _ = make(url, **combined)
    return filesystem


def _second_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="xarray-dicom-chain", daemon=True).start()
    return loop
