"""The engine against its peers, in one run; `make bench` writes ``docs/benchmarks.md``."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Writers, servers and the proxy are those of the tests.
sys.path.insert(0, str(ROOT / "tests"))
