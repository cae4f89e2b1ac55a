"""Count what passes between a client and a server on this machine: requests and bytes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass
class Traffic:
    """Requests sent and bytes received, since the start or during one step."""

    requests: int = 0
    received: int = 0

    def __str__(self) -> str:
        return f"{self.requests} requests, {self.received / 1e6:,.2f} MB"


class CountingProxy:
    """Forward TCP connections to `target_port` on loopback, counting HTTP/1.1 requests.

    Use as a context manager; clients connect to `port`.
    """

    def __init__(self, target_port: int) -> None:
        self.total = Traffic()
        self.port = 0
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def step(self) -> Iterator[Traffic]:
        """What passes while the block runs; filled in at its end."""
        before = Traffic(self.total.requests, self.total.received)
        during = Traffic()
        yield during
        during.requests = self.total.requests - before.requests
        during.received = self.total.received - before.received

    async def _stop(self) -> None:
        self._server.close()
        mine = asyncio.current_task()
        connections = [task for task in asyncio.all_tasks() if task is not mine]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        # A cancelled task would be reported as an error by the stream protocol.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._forward(reader, far_writer, sent=True),
                self._forward(far_reader, writer, sent=False),
                return_exceptions=True,
            )

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, sent: bool
    ) -> None:
        try:
            while content := await reader.read(2**18):
                if sent:
                    self.total.requests += content.count(b" HTTP/1.1\r\n")
                else:
                    self.total.received += len(content)
                writer.write(content)
                await writer.drain()
        finally:
            writer.close()
