"""Decode the values of one element of many items at once (PS3.5 section 6.2)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.elements import Column, Leaves

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

#: Texts that are looked at to see whether texts repeat.
_SAMPLE = 4096
_STRIDE = 2654435761
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Rows = NDArray[np.int64]
Octets = NDArray[np.uint8]


class UnevenValuesError(ValueError):
    """A few very long values among many short ones make too large a table."""


def decode(
    octets: Octets,
    found: Leaves,
    declared: str,
    n_frames: int,
    little_endian: bool,
    available: int,
) -> Column:
    """Decode the values of one element into a `Column`.

    Parameters
    ----------
    octets
        The buffer that offsets count in.
    found
        Where the values lie; `item` is the frame.
    declared
        VR where the bytes state none, or UN. It also decides the type of the column if there is
        no value at all.
    n_frames
        Number of frames.
    little_endian
        Byte order of binary numbers.
    available
        Bytes that all values come from: a table out of proportion to them is refused.

    Raises
    ------
    ValueError
        If a value is none of its VR.
    """
    if not found.item.size:
        return _absent(np.dtype(KIND.get(declared, "S1")), n_frames)
    kinds = set()
    parts = []
    for vr, width, chosen in _alike(found):
        name = declared if vr in ("", "UN") else vr
        kind = KIND.get(name, "S")
        kinds.add(kind)
        offset = found.offset[chosen]
        if name in BINARY:
            values, count = _binary(_gather(octets, offset, width), name, little_endian)
        else:
            values, count = _text(octets, offset, width, name, kind)
        parts.append((found.item[chosen], values, count))
    return _assemble(parts, np.result_type(*kinds), n_frames, available)


def _alike(found: Leaves) -> Iterator[tuple[str, int, slice | NDArray[np.intp]]]:
    """Values that share VR and length, as the VR, the length, and which they are."""
    key = found.vr.astype(np.int64) << 32 | found.length
    if (key == key[0]).all():
        groups: list[slice | NDArray[np.intp]] = [slice(None)]
        keys = key[:1]
    else:
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        edges = np.flatnonzero(np.diff(ordered)) + 1
        groups = list(np.split(order, edges))
        keys = ordered[np.append(0, edges)]
    for one, chosen in zip(keys.tolist(), groups, strict=True):
        vr = (one >> 32).to_bytes(2, "little").rstrip(b"\0").decode("latin-1")
        yield vr, one & 0xFFFFFFFF, chosen


def _absent(kind: np.dtype[np.generic], n_frames: int) -> Column:
    """A column without values; it takes no memory, whatever the number of frames."""
    nothing = np.full(1, np.nan if kind.kind == "f" else 0).astype(kind)
    if kind.kind == "S":
        nothing = np.zeros(1, kind)
    return Column(
        np.broadcast_to(nothing, (n_frames, 1)), np.broadcast_to(np.int32(0), (n_frames,))
    )


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


def _text(
    octets: Octets, offset: Rows, width: int, vr: str, kind: str
) -> tuple[NDArray[np.generic], NDArray[np.int32]]:
    """Split text at backslashes, strip the padding, and read numbers."""
    different, again = _distinct(octets, offset, width)
    rows = _gather(octets, offset[different], width)
    n = len(rows)
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


def _distinct(
    octets: Octets, offset: Rows, width: int
) -> tuple[slice | NDArray[np.intp], slice | NDArray[np.intp]]:
    """One of each of the different texts, and which of them stands for each.

    Only if a sample has repetitions; else all are taken for different.
    """
    n = offset.size
    everyone = slice(None), slice(None)
    if width < 8 or n < 2 * _SAMPLE:
        return everyone
    word = np.ndarray((octets.size - 7,), "<u8", octets, strides=(1,))
    places = [*range(0, width - 7, 8), *([width - 8] if width % 8 else [])]
    # Steps of a large prime fall on frames of every kind, in whatever order these are.
    sample = offset[np.arange(_SAMPLE) * _STRIDE % n]
    if len(np.unique(_mixed(word, sample, places))) > _SAMPLE * 3 // 4:
        return everyone
    _, first, again = np.unique(
        _mixed(word, offset, places), return_index=True, return_inverse=True
    )
    same = offset[first][again]
    if all((word[same + at] == word[offset + at]).all() for at in places):
        return first, again
    return everyone


def _mixed(word: NDArray[np.uint64], offset: Rows, places: list[int]) -> NDArray[np.uint64]:
    """One number for the words at some `places` behind each offset; equal ones for equal texts."""
    mixed = np.zeros(offset.size, np.uint64)
    for at in places:
        mixed = (mixed ^ word[offset + at]) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _strip(rows: Octets, raw: bool = False) -> NDArray[np.bytes_]:
    text = np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").reshape(-1)
    return text if raw else np.strings.strip(np.strings.rstrip(text, b"\0 "))


def _parse(token: NDArray[np.bytes_], kind: str) -> NDArray[np.generic]:
    if kind == "S":
        return token
    empty = np.strings.str_len(token) == 0
    filled = np.where(empty, b"0", token)
    # Filters of warnings are those of all threads; this is not.
    with np.errstate(all="raise"):
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
