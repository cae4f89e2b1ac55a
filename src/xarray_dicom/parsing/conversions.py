"""Values that many data sets share, converted once for all that have the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

T = TypeVar("T")

#: VRs whose value depends on nothing but its bytes and their order.
_BY_BYTES = frozenset(
    {
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL"),
        *("IS", "SL", "SS", "SV", "TM", "UI", "UL", "US", "UV"),
    }
)

#: VRs of text: in ASCII it reads the same in every character set.
_TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})

_ESCAPE = b"\x1b"

#: Values of more bytes are no attributes that instances share.
_LONGEST = 1024

#: Decimal and integer strings as the standard has them (PS3.5 6.2).
_NUMBERS = re.compile(rb" *[-+]?\d[\d.eE+-]{0,14} *(?:\\ *[-+]?\d[\d.eE+-]{0,14} *)*\0?")

#: Bytes of a value, and what they stand for.
Spelling = tuple[int, str | None, bytes, bool]


class Conversions:
    """What elements were converted to, by their bytes.

    pydicom takes some 20 µs to convert a value, and the instances of a series have mostly the
    same ones. Lives as long as one opening.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Spelling, Hashable], Any] = {}

    def value(self, dataset: Dataset, element: int) -> Any:
        """The value of an element; None where it is absent."""
        return self.once(dataset, element, None, lambda: dataset[element].value)

    def once(
        self, dataset: Dataset, element: int, purpose: Hashable, convert: Callable[[], T]
    ) -> T | None:
        """What `convert` returned for the first data set with the same bytes in `element`.

        None where the element is absent.

        Parameters
        ----------
        dataset, element
            Where the bytes are.
        purpose
            Tells conversions of one element apart.
        convert
            Depends on the element's value alone; what it returns must not be changed.
        """
        raw = dataset.get_item(as_tag(element))
        if raw is None:
            return None
        spelling = _spelled(raw, element)
        if spelling is None:
            return convert()
        key = spelling, purpose
        if key not in self._known:
            self._known[key] = convert()
        found: T = self._known[key]
        return found


def spelling_of(dataset: Dataset, element: int) -> Spelling | None:
    """The bytes of an element; None where they don't tell its value, or are long gone."""
    return _spelled(dataset.get_item(as_tag(element)), element)


def _spelled(raw: DataElement | RawDataElement | None, element: int) -> Spelling | None:
    if not isinstance(raw, RawDataElement):
        return None
    content = raw.value
    if content is None or len(content) > _LONGEST:
        return None
    vr = raw.VR or _dictionary_vr(element)
    plain = vr in _BY_BYTES or (vr in _TEXTS and content.isascii() and _ESCAPE not in content)
    return (element, raw.VR, content, raw.is_little_endian) if plain else None


def plain_numbers(dataset: Dataset, element: int) -> NDArray[np.float64] | None:
    """The numbers of a decimal string, straight from its bytes; None if it isn't quite plain.

    pydicom takes as long for three numbers as for the rest of a small header.
    """
    raw = dataset.get_item(as_tag(element))
    if not isinstance(raw, RawDataElement) or (raw.VR or _dictionary_vr(element)) != "DS":
        return None
    if not raw.value or not _NUMBERS.fullmatch(raw.value):
        return None
    try:
        return np.array([float(number) for number in raw.value.rstrip(b"\0").split(b"\\")])
    except ValueError:
        return None


@cache
def as_tag(element: int) -> BaseTag:
    """A tag as pydicom looks it up, which it would make anew each time."""
    return Tag(element)


@cache
def _dictionary_vr(element: int) -> str:
    try:
        return dictionary_VR(element)
    except KeyError:
        return "UN"
