"""What the engine reads of files that others wrote, and what other readers make of them."""

from __future__ import annotations

import sys
from pathlib import Path

# The writers of the tests write here as well.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
