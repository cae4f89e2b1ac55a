"""How a store is best asked: what a request costs against what a byte costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How to divide a read into requests.

    Attributes
    ----------
    gap
        Unwanted bytes between two ranges that cost less than another request.
    largest
        Bytes of one merged request: enough to outweigh what a request costs by itself, few
        enough to overlap with decoding.
    window
        Requests of one read in flight at a time.
    """

    gap: int = 8 * 2**10
    largest: int = 2 * 2**20
    window: int = 16
