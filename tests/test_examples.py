"""The demo and the examples that need no public network run as users run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *arguments: object, folder: Path) -> str:
    """Run an example in `folder`; return its output, free of warnings of this package."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DicomWarning" not in done.stderr
    return done.stdout


def test_demo_draws_a_picture_and_counts(tmp_path: Path) -> None:
    printed = run("demo.py", "--size", 2048, "--planes", 20, folder=tmp_path)
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    requests = [
        int(count) for count in re.findall(r"^--- .* (\d+) requests, ", printed, re.MULTILINE)
    ]
    assert len(requests) >= 6
    assert min(requests) > 0


def test_cluster_finds_the_tissue(tmp_path: Path) -> None:
    printed = run("cluster.py", "--size", 2048, "--workers", 2, folder=tmp_path)
    assert "tissue:" in printed


@pytest.mark.parametrize("name", ["public_slide.py", "public_segmentation.py"])
def test_public_examples_explain_themselves(name: str, tmp_path: Path) -> None:
    assert "--store {s3,gcs}" in run(name, "--help", folder=tmp_path)
