"""Benchmarks of the engine and its peers in one run: `make bench`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Writers, servers and the proxy are shared with the tests.
sys.path.insert(0, str(ROOT / "tests"))
