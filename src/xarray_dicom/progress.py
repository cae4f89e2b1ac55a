"""Progress of long work: one hook for notebooks, terminals and programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

#: Seconds before a bar is shown, so that short work shows none.
DELAY = 1.0


class Progress(Protocol):
    """Progress bar with the interface of `tqdm`."""

    def update(self, n: int, /) -> object:
        """Advance by `n` units."""
        ...

    def close(self) -> object:
        """Close the bar."""
        ...


class Silent:
    """Progress bar that shows nothing."""

    def update(self, n: int, /) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


#: Called with `tqdm`'s keywords ``total``, ``desc``, ``unit``, ``unit_scale`` and ``delay``.
MakeProgress = Callable[..., Progress]

_make: MakeProgress | None = None


def set_progress(make: MakeProgress | None) -> None:
    """Set the progress bar of long work, such as finding the frames of a slide.

    Parameters
    ----------
    make
        Function that makes a bar from the keywords ``total``, ``desc``, ``unit``,
        ``unit_scale`` and ``delay`` of `tqdm`; `tqdm.tqdm` itself is one. The bar is made and
        updated in a thread of this package. None for the default: `tqdm.auto` in notebooks
        and on terminals, if it is installed.

    Examples
    --------
    >>> from functools import partial
    >>> from tqdm import tqdm
    >>> xarray_dicom.set_progress(partial(tqdm, ascii=True))
    >>> xarray_dicom.set_progress(None)
    """
    global _make
    _make = make


@contextmanager
def progress(total: int, title: str, unit: str) -> Iterator[Progress]:
    """Show the progress of one piece of work while the block runs.

    Parameters
    ----------
    total
        Number of units to do.
    title
        Name of the work, fit to be shown.
    unit
        Name of a unit; ``"B"`` for bytes.

    Yields
    ------
    Progress
        Bar to update with the units that are done.
    """
    make = _make or _default()
    bar = make(total=total, desc=title, unit=unit, unit_scale=unit == "B", delay=DELAY)
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
