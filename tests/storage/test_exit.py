"""A script that has read must end at once and in silence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from servers import Server

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
