"""Things that a forked child inherits and must not touch."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import pytest

from xarray_dicom.runtime import run, runtime
from xarray_dicom.storage import open_source


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_child_never_closes_the_connections_of_its_parent(tmp_path: Path) -> None:
    """Closing one takes it out of the selector, which parent and child share."""
    (tmp_path / "a.dcm").write_bytes(b"content")
    source = open_source(tmp_path / "a.dcm")
    run(source.open(3))
    inherited = weakref.ref(runtime())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            fresh = runtime() is not inherited()
            run(source.read(0, 3))
            os.write(writing, b"kept" if fresh and inherited() is not None else b"lost")
        finally:
            os._exit(0)
    os.close(writing)
    try:
        assert os.read(reading, 10) == b"kept"
    finally:
        os.close(reading)
        os.waitpid(child, 0)
    assert run(source.read(3, 4)) == b"tent"
