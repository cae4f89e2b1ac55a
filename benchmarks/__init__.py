"""Figures through a proxy of 30 ms latency, against highdicom's own recipe; `make bench`."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# Writers and servers are those of the tests, the store is that of the demo.
sys.path[:0] = [str(_ROOT / "tests"), str(_ROOT / "examples")]
