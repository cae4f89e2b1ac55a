"""The hook that shows how far long work has come."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tqdm import tqdm

import xarray_dicom
from xarray_dicom.progress import DELAY, Silent, progress


@pytest.fixture(autouse=True)
def default_again() -> Iterator[None]:
    yield
    xarray_dicom.set_progress(None)


class Recorded:
    def __init__(self, **keywords: Any) -> None:
        self.keywords = keywords
        self.done = 0
        self.closed = False

    def update(self, n: int, /) -> None:
        self.done += n

    def close(self) -> None:
        self.closed = True


def test_a_hook_is_called_as_tqdm_is() -> None:
    xarray_dicom.set_progress(Recorded)
    with progress(100, "finding frames", "B") as bar:
        bar.update(40)
        bar.update(60)
    assert isinstance(bar, Recorded)
    assert bar.keywords == {
        "total": 100,
        "desc": "finding frames",
        "unit": "B",
        "unit_scale": True,
        "delay": DELAY,
    }
    assert (bar.done, bar.closed) == (100, True)


def test_a_bar_is_closed_when_the_work_fails() -> None:
    xarray_dicom.set_progress(Recorded)
    with pytest.raises(OSError, match="line"), progress(1, "reading", "object") as bar:
        raise OSError("the line is cut")
    assert isinstance(bar, Recorded)
    assert bar.closed


def test_tqdm_itself_is_a_hook() -> None:
    screen = io.StringIO()
    xarray_dicom.set_progress(partial(tqdm, file=screen))
    with progress(3, "indexing", "object") as bar:
        assert isinstance(bar, tqdm)
        bar.delay = 0.0
        bar.update(3)
    assert "indexing" in screen.getvalue()
    assert "3/3" in screen.getvalue()


def test_nobody_is_shown_a_bar_who_does_not_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    with progress(1, "reading", "object") as bar:
        assert isinstance(bar, Silent)
        bar.update(1)
    assert not screen.getvalue()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(1, "reading", "object") as bar:
        assert isinstance(bar, tqdm)
