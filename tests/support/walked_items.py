"""Count of the items of a sequence that are walked one by one, not in lockstep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from xarray_dicom.parsing import items


@contextmanager
def walked_items() -> Iterator[list[int]]:
    """List the positions of items that are walked one by one in the block."""
    walked: list[int] = []
    walk_item = items.walk_item

    def listed(buffer: bytes, position: int, *args: Any) -> Any:
        found = walk_item(buffer, position, *args)
        walked.append(position)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "walk_item", listed)
        yield walked
