"""Conformance of the engine: files that others wrote, compared with other readers."""

from __future__ import annotations

import sys
from pathlib import Path

# Writers are shared with the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
