"""Values of elements, converted once for all data sets that have the same bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Hashable
from functools import cache, lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

T = TypeVar("T")

#: Longer values are not shared: they are no attributes that instances have in common.
_LONGEST = 1024

#: VRs whose value depends on nothing but its bytes and their order.
_BY_BYTES = frozenset(
    {
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL"),
        *("IS", "SL", "SS", "SV", "TM", "UI", "UL", "US", "UV"),
    }
)

#: VRs of text: in ASCII it reads the same in every character set.
_TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})

#: VRs of binary numbers, with their codes in `struct` and their bytes (PS3.5 6.2).
_BINARY = {
    "FD": ("d", 8),
    "FL": ("f", 4),
    "SL": ("i", 4),
    "SS": ("h", 2),
    "UL": ("I", 4),
    "US": ("H", 2),
}

#: VRs of short text, with the most characters of a value (PS3.5 6.2); pydicom warns of more
#: than that in LO and SH only.
_SHORT_TEXTS = {"CS": _LONGEST, "LO": 64, "SH": 16}

#: Starts a change of the character set (PS3.5 6.1.2.5).
_ESCAPE = b"\x1b"

#: Decimal strings and integer strings as the standard has them (PS3.5 6.2).
_DECIMALS = re.compile(rb" *[-+]?\d[\d.eE+-]{0,14} *(?:\\ *[-+]?\d[\d.eE+-]{0,14} *)*\0?")
_INTEGERS = re.compile(rb" *[-+]?\d{1,9} *(?:\\ *[-+]?\d{1,9} *)*\0?")

#: A unique identifier (PS3.5 9.1), padded to an even length.
_UID = re.compile(rb"((?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*)[\0 ]?")

#: Tag, VR as stated, bytes and byte order (True for little endian) of a value.
RawValue = tuple[int, str | None, bytes, bool]

#: A value in Python's own types.
PlainValue = str | int | float | list[str] | list[int] | list[float]


class Conversions:
    """Values that elements were converted to, by their bytes.

    pydicom takes some 20 µs to convert a value, and the instances of a series have mostly the
    same ones. Lives as long as one opening.
    """

    def __init__(self) -> None:
        self._converted: dict[tuple[RawValue, Hashable], Any] = {}
        self._by_key: dict[Hashable, Any] = {}

    def value(self, dataset: Dataset, element: int) -> Any:
        """Return the value of an element; None where it is absent.

        Numbers and texts as the standard has them are Python's own `str`, `int` and `float`,
        UIDs pydicom's `UID`, several of them a list, which must not be changed. All else is as
        pydicom converts it.

        Parameters
        ----------
        dataset
            Data set that may have the element.
        element
            Its tag.
        """
        raw = dataset.get_item(as_tag(element))
        if raw is None:
            return None
        stored = _raw_value(raw, element)
        if stored is None:
            return dataset[as_tag(element)].value
        key = stored, None
        if key not in self._converted:
            value = plain_value(stored)
            self._converted[key] = dataset[as_tag(element)].value if value is None else value
        return self._converted[key]

    def by_key(self, key: Hashable, convert: Callable[[], T]) -> T:
        """Return what `convert` returned for the first key of the same value.

        Parameters
        ----------
        key
            Everything that the conversion depends on.
        convert
            Called for the first such key; what it returns must not be changed.
        """
        if key not in self._by_key:
            self._by_key[key] = convert()
        converted: T = self._by_key[key]
        return converted

    def once(
        self, dataset: Dataset, element: int, purpose: Hashable, convert: Callable[[], T]
    ) -> T | None:
        """Return what `convert` returned for the first data set with the same bytes.

        Parameters
        ----------
        dataset, element
            Data set that may have the element, and its tag.
        purpose
            Tells conversions of one element apart; not None.
        convert
            Depends on the value of the element alone; what it returns must not be changed.

        Returns
        -------
        object
            None where the element is absent.
        """
        raw = dataset.get_item(as_tag(element))
        if raw is None:
            return None
        stored = _raw_value(raw, element)
        if stored is None:
            return convert()
        key = stored, purpose
        if key not in self._converted:
            self._converted[key] = convert()
        converted: T = self._converted[key]
        return converted


def raw_value(dataset: Dataset, element: int) -> RawValue | None:
    """Return the bytes of an element; None where they don't determine its value, or are gone.

    Parameters
    ----------
    dataset, element
        Data set that may have the element, and its tag.
    """
    return _raw_value(dataset.get_item(as_tag(element)), element)


def _raw_value(raw: DataElement | RawDataElement | None, element: int) -> RawValue | None:
    if not isinstance(raw, RawDataElement):
        return None
    content = raw.value
    if content is None or len(content) > _LONGEST:
        return None
    vr = raw.VR or _dictionary_vr(element)
    if vr in _BY_BYTES or (vr in _TEXTS and content.isascii() and _ESCAPE not in content):
        return element, raw.VR, content, raw.is_little_endian
    return None


def plain_value(raw: RawValue) -> PlainValue | None:
    """Return a value in Python's own types, straight from its bytes.

    Returns
    -------
    str, UID, int, float, list or None
        Equal to the value that pydicom would convert it to; None where the bytes are not
        quite as the standard has them, or of another VR.
    """
    element, stated, content, little_endian = raw
    vr = stated or _dictionary_vr(element)
    if vr in _SHORT_TEXTS:
        return _plain_text(content, _SHORT_TEXTS[vr])
    if vr in _BINARY:
        return _plain_binary(content, vr, little_endian)
    if vr == "UI":
        uid = _UID.fullmatch(content)
        if uid is None or len(uid[1]) > 64:
            return None
        # It is valid; pydicom would take another 5 µs to see that.
        return UID(uid[1].decode("ascii"), validation_mode=IGNORE)
    if vr == "DS" and _DECIMALS.fullmatch(content):
        try:
            decimals = [float(text) for text in content.rstrip(b"\0").split(b"\\")]
        except ValueError:
            return None
        return decimals[0] if len(decimals) == 1 else decimals
    if vr == "IS" and _INTEGERS.fullmatch(content):
        integers = [int(text) for text in content.rstrip(b"\0").split(b"\\")]
        return integers[0] if len(integers) == 1 else integers
    return None


def _plain_text(content: bytes, longest: int) -> str | list[str] | None:
    if not content.isascii() or _ESCAPE in content:
        return None
    text = content.decode("ascii").rstrip("\0 ")
    if "\\" not in text:
        return text if 0 < len(text) <= longest else None
    texts = text.split("\\")
    # Whether inner padding belongs to a value differs between CS and LO.
    padded = any(part.endswith((" ", "\0")) for part in texts)
    return None if padded or max(map(len, texts)) > longest else texts


def _plain_binary(
    content: bytes, vr: str, little_endian: bool
) -> int | float | list[int] | list[float] | None:
    code, size = _BINARY[vr]
    count, rest = divmod(len(content), size)
    # pydicom corrects the first of three SS that describe a lookup table.
    if rest or not count or (count > 1 and vr == "SS"):
        return None
    numbers = struct.unpack(f"{'<' if little_endian else '>'}{count}{code}", content)
    return numbers[0] if count == 1 else list(numbers)


def plain_numbers(dataset: Dataset, element: int) -> NDArray[np.float64] | None:
    """Return the numbers of a decimal string, straight from its bytes.

    Parameters
    ----------
    dataset, element
        Data set that may have the element, and its tag.

    Returns
    -------
    numpy.ndarray or None
        float64; None where pydicom must convert the value, or the element is absent.
    """
    raw = raw_value(dataset, element)
    if raw is None or (raw[1] or _dictionary_vr(element)) != "DS":
        return None
    numbers = plain_value(raw)
    return None if numbers is None else np.atleast_1d(np.asarray(numbers, np.float64))


@lru_cache(maxsize=4096)
def as_tag(element: int) -> BaseTag:
    """Return a tag as pydicom looks it up, the same object each time.

    pydicom would make a new one, and a data set whose keys are other objects compares them in
    Python, some 300 times an open.
    """
    return BaseTag(element)


@cache
def _dictionary_vr(element: int) -> str:
    try:
        return dictionary_VR(element)
    except KeyError:
        return "UN"
