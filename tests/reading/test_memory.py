"""Reading a slide of 10 GB takes memory for a few frames, besides what it hands out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.generate.slide import big_slide_repeating

MEASURE = Path(__file__).parents[2] / "benchmarks" / "reading_memory.py"
LIMIT = 64 * 2**20


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "slide.dcm"
    big_slide_repeating(path)
    return path


def measured(slide: Path, rows: int, step: int) -> Any:
    """What reading the first `rows` takes in a process of its own."""
    finished = subprocess.run(
        [sys.executable, MEASURE, slide, str(rows), str(step)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)


def test_memory_of_whole_chunks(slide: Path) -> None:
    found = measured(slide, 10240, 1)
    assert found["decoded"] > 1.8e9
    assert found["outputs"] > 4 * 12e6
    assert found["overhead"] < LIMIT


def test_memory_of_frames_that_are_read_but_hardly_kept(slide: Path) -> None:
    found = measured(slide, 10240, 64)
    assert found["decoded"] > 1.8e9
    assert found["outputs"] < 2**20
    assert found["overhead"] < LIMIT
