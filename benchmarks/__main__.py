"""Run all benchmarks: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import many_files, many_frames, remote_slide


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=8192, help="rows and columns of the slide")
    parser.add_argument("--side", type=int, default=4096, help="rows and columns of the region")
    parser.add_argument("--latency", type=float, default=0.03, help="round trip in seconds")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        remote_slide.compare(
            Path(temporary),
            size=options.size,
            side=options.side,
            latency=options.latency,
            repetitions=options.repetitions,
        )
    with tempfile.TemporaryDirectory() as temporary:
        many_files.compare(Path(temporary), planes=300, repetitions=options.repetitions)
    with tempfile.TemporaryDirectory() as temporary:
        many_frames.compare(Path(temporary))


if __name__ == "__main__":
    main()
