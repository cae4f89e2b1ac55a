"""A TCP proxy that makes a local server far away, slow, or unreliable.

It runs in a process of its own, so that it takes no time from the code under test.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections import deque
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

#: Bytes on their way in one direction before the sender has to wait.
WINDOW = 32 * 2**20

#: Timers of the event loop are no finer.
_TICK = 0.0005

_SECONDS_TO_START = 20

_OK, _PARTIAL = b"HTTP/1.1 200 OK", b"HTTP/1.1 206 Partial Content"


class LatencyProxy:
    """Forwards to a port of 127.0.0.1; a context manager.

    Bytes are delayed, not slowed down: any number of them may be on their way. Each
    request costs `latency`, and so does setting up a connection.

    Parameters
    ----------
    target_port
        Where the server listens.
    latency
        Round-trip time in seconds.
    bandwidth
        Bytes per second from the server, all connections together.
    partial_status
        Whether replies with a Content-Range get the status 206 that is due (RFC 9110, 15.3.7):
        rclone sends 200, which obstore refuses.

    Attributes
    ----------
    port
        Where the proxy listens.
    """

    def __init__(
        self,
        target_port: int,
        latency: float = 0.0,
        bandwidth: float | None = None,
        *,
        partial_status: bool = False,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections = context.Value("q", 0)
        self._requests = context.Value("q", 0)
        self._bytes_sent = context.Value("q", 0)
        self._cut_after = context.Value("q", 0)
        self._cuts = context.Value("q", 0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        ready = context.Event()
        counters = (
            self._connections,
            self._requests,
            self._bytes_sent,
            self._cut_after,
            self._cuts,
        )
        self._process: BaseProcess = context.Process(
            target=_serve,
            args=(
                self._listener,
                target_port,
                latency,
                bandwidth,
                partial_status,
                counters,
                ready,
            ),
            daemon=True,
        )
        self._process.start()
        if not ready.wait(_SECONDS_TO_START):
            self.close()
            raise RuntimeError("the proxy did not start")

    def __enter__(self) -> LatencyProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def endpoint_url(self) -> str:
        """Base URL of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Connections accepted so far."""
        return int(self._connections.value)

    @property
    def requests(self) -> int:
        """Requests forwarded so far (of clients that don't pipeline)."""
        return int(self._requests.value)

    @property
    def bytes_sent(self) -> int:
        """Bytes sent to clients so far."""
        return int(self._bytes_sent.value)

    def cut_bodies(self, after: int, times: int) -> None:
        """Drop the connection after `after` bytes of a longer body, for the next `times` bodies."""
        self._cut_after.value = after
        self._cuts.value = times

    @property
    def cuts_left(self) -> int:
        """Bodies that are still to be cut."""
        return int(self._cuts.value)

    def close(self) -> None:
        """Stop the proxy's process."""
        self._listener.close()
        self._process.terminate()
        self._process.join(5)


class _Direction:
    """Bytes on their way to `sink`, each chunk due at a time of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: asyncio.Transport) -> None:
        self.loop = loop
        self.sink = sink
        self.source: asyncio.Transport | None = None
        self.queue: deque[tuple[float, bytes | None]] = deque()
        self.waiting = 0
        self.timer: asyncio.TimerHandle | None = None

    def send(self, chunk: bytes | None, due: float) -> None:
        """Deliver `chunk` at `due`; None closes the connection."""
        self.queue.append((due, chunk))
        self.waiting += len(chunk or b"")
        if self.waiting > WINDOW and self.source is not None:
            self.source.pause_reading()
        if self.timer is None:
            self.timer = self.loop.call_at(due, self._deliver)

    def _deliver(self) -> None:
        self.timer = None
        now = self.loop.time() + _TICK
        was_full = self.waiting > WINDOW
        while self.queue and self.queue[0][0] <= now:
            _, chunk = self.queue.popleft()
            if chunk is None:
                self.sink.close()
                return
            self.waiting -= len(chunk)
            if not self.sink.is_closing():
                self.sink.write(chunk)
        if was_full and self.waiting <= WINDOW and self.source is not None:
            self.source.resume_reading()
        if self.queue:
            self.timer = self.loop.call_at(self.queue[0][0], self._deliver)


class _Server(asyncio.Protocol):
    """The connection to the real server; what it says goes to the client."""

    def __init__(self, link: _Link) -> None:
        self.link = link

    def data_received(self, data: bytes) -> None:
        self.link.from_server(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.close_client()


class _Link(asyncio.Protocol):
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(
        self,
        target_port: int,
        latency: float,
        line: _Line,
        partial_status: bool,
        counters: tuple[Any, ...],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.target_port = target_port
        self.latency = latency
        self.line = line
        self.partial_status = partial_status
        self.connections, self.requests, self.bytes_sent, self.cut_after, self.cuts = counters
        self.early: list[bytes] = []
        self.upstream: _Direction | None = None
        self.in_request = False
        self.body: int | None = None
        self.cut = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.client = transport
        self.downstream = _Direction(self.loop, transport)
        self.established = self.loop.time() + self.latency
        self.connections.value += 1
        self.task = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            server, _ = await self.loop.create_connection(
                lambda: _Server(self), "127.0.0.1", self.target_port
            )
        except OSError:
            self.client.abort()
            return
        self.upstream = _Direction(self.loop, server)
        self.upstream.source = self.client
        self.downstream.source = server
        for chunk in self.early:
            self._forward(chunk)

    def data_received(self, data: bytes) -> None:
        if not self.in_request:
            self.requests.value += 1
        self.in_request, self.body = True, None
        if self.upstream is None:
            self.early.append(data)
        else:
            self._forward(data)

    def _forward(self, data: bytes) -> None:
        assert self.upstream is not None
        due = max(self.established, self.loop.time()) + self.latency / 2
        self.upstream.send(data, due)

    def from_server(self, data: bytes) -> None:
        if self.cut:
            return
        if self.partial_status and self.in_request:
            data = _with_partial_status(data)
        self.in_request = False
        kept = self._kept(data)
        if kept:
            due = max(self.line.passed(len(kept)), self.loop.time() + self.latency / 2)
            self.bytes_sent.value += len(kept)
            self.downstream.send(kept, due)
        if len(kept) < len(data):
            self.cut = True
            self.close_client()

    def _kept(self, data: bytes) -> bytes:
        """What the client gets of `data`: all, unless the body is to be cut."""
        if self.cuts.value <= 0:
            return data
        header = 0
        if self.body is None:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return data
            header, self.body = end + 4, 0
        allowed = int(self.cut_after.value) - self.body
        self.body += len(data) - header
        if len(data) - header <= allowed:
            return data
        self.cuts.value -= 1
        return data[: header + max(0, allowed)]

    def close_client(self) -> None:
        self.downstream.send(None, self.loop.time() + self.latency / 2)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.upstream is not None:
            self.upstream.sink.close()


def _with_partial_status(reply: bytes) -> bytes:
    """The start of a reply, of status 206 if it says that it is a part of something."""
    header = reply.partition(b"\r\n\r\n")[0]
    if header.startswith(_OK) and b"\r\ncontent-range:" in header.lower():
        return _PARTIAL + reply[len(_OK) :]
    return reply


class _Line:
    """The bandwidth that all connections share."""

    def __init__(self, bandwidth: float | None) -> None:
        self.bandwidth = bandwidth
        self.free_at = 0.0

    def passed(self, size: int) -> float:
        """When the last of `size` more bytes has passed."""
        if self.bandwidth is None:
            return 0.0
        self.free_at = max(self.free_at, asyncio.get_running_loop().time())
        self.free_at += size / self.bandwidth
        return self.free_at


def _serve(
    listener: socket.socket,
    target_port: int,
    latency: float,
    bandwidth: float | None,
    partial_status: bool,
    counters: tuple[Any, ...],
    ready: Any,
) -> None:
    async def serve() -> None:
        line = _Line(bandwidth)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Link(target_port, latency, line, partial_status, counters),
            sock=listener,
            backlog=256,
        )
        ready.set()
        await server.serve_forever()

    asyncio.run(serve())
