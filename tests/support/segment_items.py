"""Segment Sequences made of plain data sets, written and read again."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence


def read_again(dataset: Dataset, *, implicit: bool = False, little: bool = True) -> Dataset:
    """Return `dataset` written and read, its sequences not yet parsed."""
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, dataset)
    return read_dataset(BytesIO(file.getvalue()), implicit, little)


def code(meaning: str) -> Sequence:
    """Return a code sequence of one item."""
    item = Dataset()
    item.CodeValue = "1"
    item.CodingSchemeDesignator = "99AB"
    item.CodeMeaning = meaning
    return Sequence([item])


def segment(number: int, **texts: Any) -> Dataset:
    """Return an item of the Segment Sequence; `meaning` is that of its type."""
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentedPropertyTypeCodeSequence = code(texts.pop("meaning", "Liver"))
    for keyword, text in texts.items():
        setattr(item, keyword, text)
    return item


def segmentation(*items: Dataset, **attributes: Any) -> Dataset:
    """Return a data set with these segments."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.SegmentSequence = Sequence(items)
    return dataset
