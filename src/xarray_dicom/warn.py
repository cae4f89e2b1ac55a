"""Warnings about objects: one way to warn, at the line of the user's code.

Coroutines run in threads that the user's code is not on the stack of, so their warnings are
held back, and shown by whoever waits for them. An index cache records the warnings of an open,
since a later open by that record draws them again.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType

from xarray_dicom.errors import DicomWarning, current_place

#: Top-level packages whose lines are nobody's own: the first one up the stack that is none of
#: these is the user's.
_LIBRARIES = frozenset(
    {"xarray_dicom", "xarray", "dask", "distributed", "numpy", "pandas", "asyncio", "concurrent"}
    | {"contextlib", "contextvars", "functools", "importlib", "_frozen_importlib"}
    | {"multiprocessing", "queue", "runpy", "threading"}
)

#: Packages that work in threads of their own, while the thread of the user's code waits in them.
_SCHEDULERS = frozenset({"dask", "distributed"})

_held: ContextVar[list[DicomWarning] | None] = ContextVar("xarray_dicom_held", default=None)
_recorded: ContextVar[list[DicomWarning] | None] = ContextVar("xarray_dicom_record", default=None)
_silent: ContextVar[bool] = ContextVar("xarray_dicom_silent", default=False)


def warn(
    message: str,
    *,
    location: str | None = None,
    frame: int | None = None,
    tag: str | int | None = None,
) -> None:
    """Warn of something in an object, at the line of the user's code.

    Parameters
    ----------
    message, location, frame, tag
        As for `xarray_dicom.DicomError`; location and frame are those of the innermost
        `xarray_dicom.errors.located` block where they are not given.

    Warns
    -----
    DicomWarning
        Unless `silenced`.
    """
    if _silent.get():
        return
    warning = DicomWarning(message, location=location, frame=frame, tag=tag)
    warning.complete(*current_place())
    recorded = _recorded.get()
    if recorded is not None:
        recorded.append(warning)
    held = _held.get()
    if held is not None:
        held.append(warning)
    else:
        _show(warning)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold warnings of the block back, also those of tasks and threads, and show them after it.

    After an error they are shown too, but don't replace it where warnings are errors.
    """
    held: list[DicomWarning] = []
    token = _held.set(held)
    try:
        yield
    except BaseException:
        _held.reset(token)
        for warning in held:
            with suppress(DicomWarning):
                _pass_on(warning)
        raise
    _held.reset(token)
    for warning in held:
        _pass_on(warning)


def _pass_on(warning: DicomWarning) -> None:
    """Show a warning that was held back, or hand it to an outer block that holds them back."""
    held = _held.get()
    if held is not None:
        held.append(warning)
    else:
        _show(warning)


@contextmanager
def recording() -> Iterator[list[DicomWarning]]:
    """List the warnings of the block, also those of tasks and threads that it awaits."""
    record: list[DicomWarning] = []
    token = _recorded.set(record)
    try:
        yield record
    finally:
        _recorded.reset(token)


def recorded() -> tuple[DicomWarning, ...]:
    """Return the warnings so far in the innermost `recording` block."""
    return tuple(_recorded.get() or ())


@contextmanager
def silenced() -> Iterator[None]:
    """Draw no warning in the block, which reads what was read, and warned of, before."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def _show(warning: DicomWarning) -> None:
    frame = _users_frame()
    warnings.warn_explicit(
        warning,
        type(warning),
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__", "<unknown>"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _users_frame() -> FrameType:
    """Return the innermost frame of the user's code; the outermost one where there is none.

    The stack of a thread of dask has none: then it is that of a thread that waits for dask.
    """
    stack = tuple(_frames(sys._getframe(1)))
    for frame in stack:
        if _package(frame) not in _LIBRARIES:
            return frame
    threads = sys._current_frames()
    main = threading.main_thread().ident
    for thread in sorted(threads, key=lambda thread: thread != main):
        frames = _frames(threads[thread])
        if any(_package(frame) in _SCHEDULERS for frame in frames):
            # What is left of the stack are the callers of the scheduler.
            for frame in frames:
                if _package(frame) not in _LIBRARIES:
                    return frame
    return stack[-1]


def _frames(innermost: FrameType) -> Iterator[FrameType]:
    """Walk up a stack."""
    frame: FrameType | None = innermost
    while frame is not None:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    """Return the top-level package of the code of a frame."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
