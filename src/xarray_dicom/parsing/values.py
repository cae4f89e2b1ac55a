"""Decode the values of one element of many items at once (PS3.5 section 6.2)."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.elements import Column

#: Binary numbers: VR to NumPy type.
BINARY = {
    "FD": "f8",
    "FL": "f4",
    "OD": "f8",
    "OF": "f4",
    "SL": "i4",
    "SS": "i2",
    "SV": "i8",
    "UL": "u4",
    "US": "u2",
    "UV": "u8",
    "AT": "u2",
}

#: What a column of each VR holds; every VR that is not here is text or bytes.
KIND = {
    **dict.fromkeys(("DS", "FD", "FL", "OD", "OF"), "f8"),
    **dict.fromkeys(("AT", "IS", "SL", "SS", "SV", "UL", "US", "UV"), "i8"),
}

#: VRs whose value is one, whatever backslashes it has.
SINGLE = frozenset({"LT", "OB", "OL", "OV", "OW", "ST", "UN", "UR", "UT"})

_BACKSLASH = ord("\\")
#: A table of values may take this many times the bytes that it was read from, plus some.
_SPREAD = 8
_SPREAD_FLOOR = 64 * 2**20

Rows = NDArray[np.int64]
Octets = NDArray[np.uint8]


class UnevenValuesError(ValueError):
    """A few very long values among many short ones make too large a table."""


def decode(
    octets: Octets,
    frame: Rows,
    offset: Rows,
    length: Rows,
    vr: NDArray[np.str_],
    declared: str,
    n_frames: int,
    little_endian: bool,
) -> Column:
    """Decode the values at `offset`, of `length` bytes, into a `Column`.

    Parameters
    ----------
    octets
        The buffer that offsets count in.
    frame
        Frame number of each value.
    vr
        VR of each value.
    declared
        VR that decides the type of the column if there is no value at all.
    """
    kinds = {str(name): KIND.get(str(name), "S") for name in np.unique(vr)}
    kind = np.result_type(*(kinds.values() or [KIND.get(declared, "S")]))
    parts = []
    for name in kinds:
        for width in np.unique(length[vr == name]):
            chosen = (vr == name) & (length == width)
            rows = _gather(octets, offset[chosen], int(width))
            if name in BINARY:
                values, count = _binary(rows, name, little_endian)
            else:
                values, count = _text(rows, name, kinds[name])
            parts.append((frame[chosen], values, count))
    return _assemble(parts, kind, n_frames, octets.size)


def _gather(octets: Octets, offset: Rows, width: int) -> Octets:
    if width == 0:
        return np.zeros((offset.size, 0), np.uint8)
    gathered: Octets = np.lib.stride_tricks.sliding_window_view(octets, width)[offset]
    return gathered


def _binary(
    rows: Octets, vr: str, little_endian: bool
) -> tuple[NDArray[np.generic], NDArray[np.int32]]:
    dtype = np.dtype(BINARY[vr]).newbyteorder("<" if little_endian else ">")
    each = dtype.itemsize * (2 if vr == "AT" else 1)
    multiplicity = rows.shape[1] // each
    whole = np.ascontiguousarray(rows[:, : multiplicity * each])
    values = whole.reshape(-1).view(dtype).reshape(rows.shape[0], -1)
    if multiplicity == 0:
        values = np.zeros((rows.shape[0], 0), dtype)
    if vr == "AT":
        values = values.astype(np.int64)
        values = values[:, 0::2] << 16 | values[:, 1::2]
    elif vr == "UV" and (values > np.iinfo(np.int64).max).any():
        raise ValueError("a 64-bit number exceeds 2**63 - 1")
    return values.astype(KIND[vr]), np.full(rows.shape[0], multiplicity, np.int32)


def _text(rows: Octets, vr: str, kind: str) -> tuple[NDArray[np.generic], NDArray[np.int32]]:
    """Split text at backslashes, strip the padding, and read numbers."""
    rows, again = _distinct(rows)
    n, width = rows.shape
    blank = ((rows == 0) | (rows == 32)).all(axis=1)
    if width == 0 or blank.all():
        values = np.full((n, 0), b"") if kind == "S" else np.zeros((n, 0), kind)
        return values[again], np.zeros(n, np.int32)[again]
    if vr in SINGLE:
        values = _strip(rows, raw=vr.startswith("O") or vr == "UN")[:, None]
        count = np.where(blank, 0, 1).astype(np.int32)
        return values[again], count[again]
    closed = np.empty((n, width + 1), np.uint8)
    closed[:, :-1] = rows
    closed[:, -1] = _BACKSLASH
    cut = np.flatnonzero(closed.reshape(-1) == _BACKSLASH)
    start = np.concatenate([[0], cut[:-1] + 1])
    row = cut // (width + 1)
    first = np.searchsorted(row, np.arange(n))
    column = np.arange(cut.size) - first[row]
    count = np.bincount(row, minlength=n).astype(np.int32)
    widest = max(1, int((cut - start).max()))
    if n * int(count.max()) * widest > _SPREAD * rows.size + _SPREAD_FLOOR:
        raise UnevenValuesError("the values differ too much in number and width")
    flat = np.concatenate([closed.reshape(-1), np.zeros(widest, np.uint8)])
    token = np.lib.stride_tricks.sliding_window_view(flat, widest)[start]
    token[np.arange(widest) >= (cut - start)[:, None]] = 0
    parsed = _parse(_strip(token), kind)
    shape = (n, int(count.max()))
    values = np.full(shape, np.nan) if kind == "f8" else np.zeros(shape, parsed.dtype)
    values[row, column] = parsed
    count[blank] = 0
    return values[again], count[again]


def _distinct(rows: Octets) -> tuple[Octets, Rows]:
    """The different rows, and which of them stands for each; only if a sample repeats."""
    n, width = rows.shape
    everyone = np.arange(n)
    sample = rows[:: max(1, n // 128)]
    if width == 0 or n < 1024 or len({row.tobytes() for row in sample}) > len(sample) // 2:
        return rows, everyone
    whole = np.ascontiguousarray(rows).view(f"V{width}").reshape(-1)
    _, first, again = np.unique(whole, return_index=True, return_inverse=True)
    return rows[first], again


def _strip(rows: Octets, raw: bool = False) -> NDArray[np.bytes_]:
    text = np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").reshape(-1)
    return text if raw else np.strings.strip(np.strings.rstrip(text, b"\0 "))


def _parse(token: NDArray[np.bytes_], kind: str) -> NDArray[np.generic]:
    if kind == "S":
        return token
    empty = np.strings.str_len(token) == 0
    filled = np.where(empty, b"0", token)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            number: NDArray[np.generic] = filled.astype(kind)
        except ValueError:
            # Integer strings like "1.0" occur.
            real = filled.astype("f8")
            number = real.astype(kind)
            if (number != real).any():
                raise
    if kind == "f8":
        number[empty] = np.nan
    return number


def _assemble(
    parts: list[tuple[Rows, NDArray[np.generic], NDArray[np.int32]]],
    kind: np.dtype[np.generic],
    n_frames: int,
    available: int,
) -> Column:
    multiplicity = max([1, *(values.shape[1] for _, values, _ in parts)])
    if kind.kind == "S":
        width = max([1, *(values.dtype.itemsize for _, values, _ in parts)])
        kind = np.dtype(f"S{width}")
    if n_frames * multiplicity * kind.itemsize > _SPREAD * available + _SPREAD_FLOOR:
        raise UnevenValuesError("the values differ too much in number and width")
    table = np.zeros((n_frames, multiplicity), kind)
    if kind.kind == "f":
        table[:] = np.nan
    count = np.zeros(n_frames, np.int32)
    for frame, values, number in parts:
        if values.shape[1]:
            table[frame, : values.shape[1]] = values
        count[frame] = number
    return Column(table, count)
