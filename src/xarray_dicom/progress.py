"""How far long work has come: one hook, for notebooks, terminals and programs alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

#: Seconds before a bar is shown: what is done sooner needs none.
DELAY = 1.0


class Progress(Protocol):
    """A bar, as `tqdm` has it."""

    def update(self, n: int, /) -> object:
        """Note that `n` more units are done."""
        ...

    def close(self) -> object:
        """End it."""
        ...


class Silent:
    """A bar that nobody sees."""

    def update(self, n: int, /) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


#: Called with `tqdm`'s keywords ``total``, ``desc``, ``unit``, ``unit_scale`` and ``delay``.
MakeProgress = Callable[..., Progress]

_make: MakeProgress | None = None


def set_progress(make: MakeProgress | None) -> None:
    """Choose what shows the progress of long work, such as finding the frames of a slide.

    Parameters
    ----------
    make
        Makes a bar from `tqdm`'s keywords; `tqdm.tqdm` itself is one. It is called, and its
        bar updated, in a thread of this package. None goes back to the default: `tqdm.auto` if
        it is installed and somebody watches, which is in notebooks and on terminals.
    """
    global _make
    _make = make


@contextmanager
def progress(total: int, what: str, unit: str) -> Iterator[Progress]:
    """Show the progress of one piece of work while the block runs.

    Parameters
    ----------
    total
        Units that there are to do.
    what
        What is done to what; fit to be shown.
    unit
        ``"B"`` for bytes, else what is counted.
    """
    make = _make or _default()
    bar = make(total=total, desc=what, unit=unit, unit_scale=unit == "B", delay=DELAY)
    try:
        yield bar
    finally:
        bar.close()


def _default() -> MakeProgress:
    if not (sys.stderr and sys.stderr.isatty()) and "ipykernel" not in sys.modules:
        return lambda **_: Silent()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return lambda **_: Silent()
    return tqdm
