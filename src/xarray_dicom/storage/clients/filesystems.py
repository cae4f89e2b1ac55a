"""fsspec filesystems that the objects of this process share.

A filesystem with coroutines of its own runs on the private event loop. Where one is
reached through synchronous calls instead (the inner link of a chain), it gets a second
private loop, so that no read waits for fsspec's global one, which may be the caller's.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import fsspec

from xarray_dicom.runtime import in_thread, runtime
from xarray_dicom.storage.clients import s3
from xarray_dicom.storage.clients.object_store import OPTION
from xarray_dicom.storage.url import URL

#: Archives whose index and handle stay in memory.
OPEN_ARCHIVES = 32

#: Changes to the storage options of a protocol.
_TUNING: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"s3": s3.tune, "s3a": s3.tune}


async def filesystem_of(
    url: URL, options: Mapping[str, Any], version: Hashable = None
) -> tuple[Any, str]:
    """Return the shared filesystem that serves a URL, and the path in it.

    Parameters
    ----------
    url
        URL of an object or folder.
    options
        Its storage options.
    version
        Version of the archive that the filesystem reads, if it reads one.

    Returns
    -------
    tuple
        The filesystem, and the path as it takes it.
    """
    if OPTION in options:
        return options[OPTION], str(url)
    current = runtime()
    target = url.target
    key: Hashable
    if not url.is_chain:
        text = str(url)
        kind = filesystem_class(url.protocol)
        combined = {**kind._get_kwargs_from_urls(text), **options}
        key = ("filesystem", url.protocol, frozen(combined))
        # To wake a thread takes longer than all else in this function.
        filesystem = current.peek(key) or await in_thread(
            current.shared, key, lambda: _make(url.protocol, kind, combined)
        )
        return filesystem, kind._strip_protocol(text)
    if url.is_cache:
        key = ("filesystem", url.protocols, frozen(options))
        filesystem = await in_thread(current.shared, key, lambda: _make_chain(url, options))
    else:
        archives = current.shared("archives", _OpenArchives)
        key = (url.protocol, url.rest, frozen(options), version)
        filesystem = await in_thread(archives.get, key, lambda: _make_chain(url, options))
    return filesystem, filesystem_class(target.protocol)._strip_protocol(target.text)


def filesystem_class(protocol: str) -> Any:
    """Return the fsspec class for `protocol`.

    Raises
    ------
    ValueError, ImportError
        If fsspec doesn't know it, or the package that it needs is not installed.
    """
    get_class: Any = fsspec.get_filesystem_class
    return get_class(protocol)


def frozen(value: Any) -> Hashable:
    """Return a key for `value` in dictionaries: equal for equal storage options."""
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), frozen(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    return (type(value).__qualname__, _ByRepr(value))


class _ByRepr:
    """Key that compares by `repr`; holds the object, as the `repr` may contain its address."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.text = repr(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByRepr) and self.text == other.text

    def __lt__(self, other: _ByRepr) -> bool:
        return self.text < other.text

    def __hash__(self) -> int:
        return hash(self.text)


class _OpenArchives:
    """Archives used last, with their open handles."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._archives: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._archives:
                self._archives.move_to_end(key)
                return self._archives[key]
        made = make()
        with self._lock:
            archive = self._archives.setdefault(key, made)
            while len(self._archives) > OPEN_ARCHIVES:
                self._archives.popitem(last=False)
        return archive


def _tuned(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    tune = _TUNING.get(protocol, dict)
    # A listing that stays for the life of the process would hide what is added to a folder.
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


def _make_chain(url: URL, options: Mapping[str, Any]) -> Any:
    """Make a filesystem that is called synchronously, whatever lies behind it."""
    combined: dict[str, Any] = {
        key: dict(item) if isinstance(item, Mapping) else item for key, item in options.items()
    }
    first, *behind = url.protocols
    asynchronous = [name for name in behind if filesystem_class(name).async_impl]
    for protocol in asynchronous:
        combined[protocol] = {**_tuned(protocol, combined.get(protocol, {})), **_on_second_loop()}
    if filesystem_class(first).async_impl:
        combined.update(_on_second_loop())
    make: Any = fsspec.core.url_to_fs
    filesystem, _ = make(str(url), **combined)
    return filesystem


def _on_second_loop() -> dict[str, Any]:
    loop = runtime().shared("second loop", _second_loop)
    return {"loop": loop, "skip_instance_cache": True}


def _second_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="xarray-dicom-chain", daemon=True).start()
    return loop
