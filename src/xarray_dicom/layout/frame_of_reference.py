"""Frames of reference as text, and orientations that are one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from xarray_dicom.errors import DicomError

#: Two orientations are one when no direction cosine differs by more.
COSINE_TOLERANCE = 1e-4

_FRAME_OF_REFERENCE = re.compile(r"(?P<uid>\S+) \[(?P<cosines>[^\]]*)\]")


def frame_of_reference(uid: str, orientation: Sequence[float]) -> str:
    """Return a frame of reference as text: its UID and the direction cosines to 1e-4.

    Parameters
    ----------
    uid
        Frame of Reference UID.
    orientation
        Six direction cosines, those of the rows first.

    Examples
    --------
    >>> frame_of_reference("1.2.3", (1, 0, 0, 0, 1, -1e-9))
    '1.2.3 [1,0,0,0,1,0]'
    """
    # Adding 0.0 turns -0.0 into 0.0
    cosines = (f"{round(float(value), 4) + 0.0:.4f}" for value in orientation)
    return f"{uid} [{','.join(text.rstrip('0').rstrip('.') for text in cosines)}]"


def parse_frame_of_reference(text: str) -> tuple[str, tuple[float, ...]]:
    """Return the UID and the six direction cosines in a text of `frame_of_reference`.

    Raises
    ------
    DicomError
        If `text` is not of that form.
    """
    match = _FRAME_OF_REFERENCE.fullmatch(text)
    if match:
        try:
            cosines = tuple(float(value) for value in match["cosines"].split(","))
        except ValueError:
            cosines = ()
        if len(cosines) == 6 and np.isfinite(cosines).all():
            return match["uid"], cosines
    raise DicomError(
        f"{text!r} is not a frame of reference; "
        "it must be a UID and six direction cosines, like '1.2.3 [1,0,0,0,1,0]'"
    )


def same_orientation(a: ArrayLike, b: ArrayLike) -> bool:
    """Return True if no direction cosine differs by more than `COSINE_TOLERANCE`."""
    apart = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
    # The last digits of a decimal such as 0.9999 must not decide
    return bool(apart.max() <= COSINE_TOLERANCE * (1 + 1e-6))
