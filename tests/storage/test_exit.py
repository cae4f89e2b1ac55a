"""A script that has read must end at once and in silence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.proxy import LatencyProxy
from support.servers import Server

SCRIPT = """
import sys
import fsspec.asyn
from xarray_dicom.runtime import run
from xarray_dicom.storage import open_source
source = open_source(sys.argv[1], eval(sys.argv[2]))
run(source.open(10))
print(run(source.read(2, 3)))
fsspec.asyn.get_loop()
"""


@pytest.mark.parametrize("kind", ["s3", "gcs", "http"])
def test_nothing_is_left_open(request: pytest.FixtureRequest, kind: str) -> None:
    server: Server = request.getfixturevalue(f"{kind}_server")
    url = server.put("exit/a.dcm", b"0123456789")
    ended = subprocess.run(
        [sys.executable, "-W", "default", "-c", SCRIPT, url, repr(server.storage_options)],
        capture_output=True,
        timeout=30,
        check=True,
        text=True,
    )
    assert ended.stdout == "b'234'\n"
    assert "nclosed" not in ended.stderr
    assert "Traceback" not in ended.stderr


BUSY = """
import asyncio
import sys
import time
from xarray_dicom.runtime import run, runtime
from xarray_dicom.storage import open_source
source = open_source(sys.argv[1], eval(sys.argv[2]))
run(source.open(10))
for start in range(30):
    asyncio.run_coroutine_threadsafe(source.read(start, 1_000_000), runtime().loop)
time.sleep(float(sys.argv[3]))
"""


def test_a_process_may_end_while_it_reads(moto_server: Server) -> None:
    """Threads of a client that wake up in an interpreter that is gone would crash it."""
    url = moto_server.put("exit/busy.dcm", bytes(2_000_000))
    with LatencyProxy(moto_server.port, latency=0.05, bandwidth=30e6) as proxy:
        options = {**moto_server.storage_options, "endpoint_url": proxy.endpoint_url}
        for seconds in ("0.0", "0.1", "0.2"):
            ended = subprocess.run(
                [sys.executable, "-c", BUSY, url, repr(options), seconds],
                capture_output=True,
                timeout=30,
                text=True,
            )
            assert ended.returncode == 0
            assert "atal" not in ended.stderr
