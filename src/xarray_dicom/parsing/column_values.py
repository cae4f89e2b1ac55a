"""Values of one element in many items, decoded at once (PS3.5 section 6.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.parsing.traced_items import ValueRanges

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

#: NumPy type of the column of each VR; columns of all other VRs hold bytes.
KIND = {
    **dict.fromkeys(("DS", "FD", "FL", "OD", "OF"), "f8"),
    **dict.fromkeys(("AT", "IS", "SL", "SS", "SV", "UL", "US", "UV"), "i8"),
}

#: VRs of a single value, in which a backslash does not separate values (PS3.5 6.4).
SINGLE = frozenset({"LT", "OB", "OL", "OV", "OW", "ST", "UN", "UR", "UT"})

_BACKSLASH = ord("\\")

#: A table of values may take `_SPREAD` times the bytes that it was read from, plus 64 MB.
_SPREAD = 8
_SPREAD_FLOOR = 64 * 2**20

#: Texts in the sample that decides whether equal texts are parsed once.
_SAMPLE = 4096
_STRIDE = 2654435761
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Rows = NDArray[np.int64]
Octets = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Column:
    """The values that one element has in every frame.

    Attributes
    ----------
    values
        Shape ``(frames, multiplicity)``: float64 for DS, FD, FL, OF and OD; int64 for IS, US,
        SS, UL, SL, UV, SV and AT; fixed-width bytes (``S…``, padding stripped) for all else.
        Where a frame has fewer values the rest is NaN, 0 or empty.
    count
        Number of values of each frame, shape ``(frames,)``; 0 where the element is absent.
    """

    values: NDArray[np.generic]
    count: NDArray[np.int32]


class UnevenValuesError(ValueError):
    """A few very long values among many short ones, which make too large a table."""


def decode_column(
    octets: Octets,
    ranges: ValueRanges,
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
    ranges
        Byte ranges of the values; `item` is the frame.
    declared
        VR where the bytes state none, or UN. It also decides the type of the column if there is
        no value at all.
    n_frames
        Number of frames.
    little_endian
        Byte order of binary numbers.
    available
        Bytes that all values come from: a table out of proportion to them is refused.

    Returns
    -------
    Column
        With `n_frames` rows.

    Raises
    ------
    ValueError
        If a value contradicts its VR.
    UnevenValuesError
        If the table would be out of proportion.
    """
    if not ranges.item.size:
        return _absent(np.dtype(KIND.get(declared, "S1")), n_frames)
    kinds = set()
    parts = []
    for vr, width, chosen in _group_alike(ranges):
        name = declared if vr in ("", "UN") else vr
        kind = KIND.get(name, "S")
        kinds.add(kind)
        offset = ranges.offset[chosen]
        if name in BINARY:
            values, count = _binary(_gather(octets, offset, width), name, little_endian)
        else:
            values, count = _text(octets, offset, width, name, kind)
        parts.append((ranges.item[chosen], values, count))
    return _assemble(parts, np.result_type(*kinds), n_frames, available)


def _group_alike(ranges: ValueRanges) -> Iterator[tuple[str, int, slice | NDArray[np.intp]]]:
    """Yield VR, length and indices of each group of values that share both."""
    key = ranges.vr.astype(np.int64) << 32 | ranges.length
    if (key == key[0]).all():
        groups: list[slice | NDArray[np.intp]] = [slice(None)]
        keys = key[:1]
    else:
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        edges = np.flatnonzero(np.diff(ordered)) + 1
        groups = list(np.split(order, edges))
        keys = ordered[np.append(0, edges)]
    for number, chosen in zip(keys.tolist(), groups, strict=True):
        vr = (number >> 32).to_bytes(2, "little").rstrip(b"\0").decode("latin-1")
        yield vr, number & 0xFFFFFFFF, chosen


def _absent(kind: np.dtype[np.generic], n_frames: int) -> Column:
    """Return a column without values; its arrays are broadcast, so they take no memory."""
    blank = np.full(1, np.nan if kind.kind == "f" else 0).astype(kind)
    if kind.kind == "S":
        blank = np.zeros(1, kind)
    return Column(np.broadcast_to(blank, (n_frames, 1)), np.broadcast_to(np.int32(0), (n_frames,)))


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
    distinct, inverse = _distinct(octets, offset, width)
    rows = _gather(octets, offset[distinct], width)
    n = len(rows)
    blank = ((rows == 0) | (rows == 32)).all(axis=1)
    if width == 0 or blank.all():
        values = np.full((n, 0), b"") if kind == "S" else np.zeros((n, 0), kind)
        return values[inverse], np.zeros(n, np.int32)[inverse]
    if vr in SINGLE:
        values = _strip(rows, raw=vr.startswith("O") or vr == "UN")[:, None]
        count = np.where(blank, 0, 1).astype(np.int32)
        return values[inverse], count[inverse]
    terminated = np.empty((n, width + 1), np.uint8)
    terminated[:, :-1] = rows
    terminated[:, -1] = _BACKSLASH
    separator = np.flatnonzero(terminated.reshape(-1) == _BACKSLASH)
    start = np.concatenate([[0], separator[:-1] + 1])
    row = separator // (width + 1)
    first = np.searchsorted(row, np.arange(n))
    column = np.arange(separator.size) - first[row]
    count = np.bincount(row, minlength=n).astype(np.int32)
    widest = max(1, int((separator - start).max()))
    if n * int(count.max()) * widest > _SPREAD * rows.size + _SPREAD_FLOOR:
        raise UnevenValuesError("the values differ too much in number and width")
    flat = np.concatenate([terminated.reshape(-1), np.zeros(widest, np.uint8)])
    token = np.lib.stride_tricks.sliding_window_view(flat, widest)[start]
    token[np.arange(widest) >= (separator - start)[:, None]] = 0
    parsed = _parse(_strip(token), kind)
    shape = (n, int(count.max()))
    values = np.full(shape, np.nan) if kind == "f8" else np.zeros(shape, parsed.dtype)
    values[row, column] = parsed
    count[blank] = 0
    return values[inverse], count[inverse]


def _distinct(
    octets: Octets, offset: Rows, width: int
) -> tuple[slice | NDArray[np.intp], slice | NDArray[np.intp]]:
    """Find equal texts, if a sample repeats enough to make that worth the time.

    Returns
    -------
    distinct, inverse
        Indices of the first of each text, and of its text for each offset, as of `np.unique`;
        slices of everything where texts are not compared.
    """
    n = offset.size
    everything = slice(None), slice(None)
    if width < 8 or n < 2 * _SAMPLE:
        return everything
    word = np.ndarray((octets.size - 7,), "<u8", octets, strides=(1,))
    places = [*range(0, width - 7, 8), *([width - 8] if width % 8 else [])]
    # Steps of a large prime sample frames of every kind, in whatever order these are.
    sample = offset[np.arange(_SAMPLE) * _STRIDE % n]
    if len(np.unique(_hash(word, sample, places))) > _SAMPLE * 3 // 4:
        return everything
    _, first, inverse = np.unique(
        _hash(word, offset, places), return_index=True, return_inverse=True
    )
    same = offset[first][inverse]
    if all((word[same + at] == word[offset + at]).all() for at in places):
        return first, inverse
    return everything


def _hash(word: NDArray[np.uint64], offset: Rows, places: list[int]) -> NDArray[np.uint64]:
    """Hash the 64-bit words at `places` behind each offset."""
    hashed = np.zeros(offset.size, np.uint64)
    for at in places:
        hashed = (hashed ^ word[offset + at]) * _MULTIPLIER
        hashed ^= hashed >> np.uint64(29)
    return hashed


def _strip(rows: Octets, raw: bool = False) -> NDArray[np.bytes_]:
    text = np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").reshape(-1)
    return text if raw else np.strings.strip(np.strings.rstrip(text, b"\0 "))


def _parse(token: NDArray[np.bytes_], kind: str) -> NDArray[np.generic]:
    if kind == "S":
        return token
    empty = np.strings.str_len(token) == 0
    filled = np.where(empty, b"0", token)
    # NumPy error states are per thread, unlike the filters of warnings.
    with np.errstate(all="raise"):
        try:
            number: NDArray[np.generic] = filled.astype(kind)
        except ValueError:
            # Some writers put "1.0" into integer strings.
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
