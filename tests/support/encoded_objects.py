"""Small objects as bytes, written by pydicom."""

from __future__ import annotations

import io
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_sequence_item
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from xarray_dicom.runtime import enter_loop, run
from xarray_dicom.storage import BytesSource

T = TypeVar("T")

SEQUENCE_DELIMITER = bytes.fromhex("feffdde000000000")


def opened(content: bytes) -> BytesSource:
    """A source in memory; its `fingerprint` is known from the start."""
    return BytesSource(content)


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on the package's own loop."""

    async def main() -> T:
        await enter_loop()
        return await coroutine

    return run(main())


def part10(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A whole file in the transfer syntax `syntax`."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def image(rows: int = 4, columns: int = 5, frames: int = 3) -> Dataset:
    """A multi-frame image of 16-bit pixels that count up."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.PatientName = "Nobody"
    dataset.NumberOfFrames = frames
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    count = rows * columns * frames
    dataset.PixelData = b"".join((n % 65521).to_bytes(2, "little") for n in range(count))
    dataset["PixelData"].VR = "OW"
    return dataset


def leave_lengths_undefined(dataset: Dataset) -> None:
    """Write this item, and all sequences and items in it, with undefined lengths."""
    dataset.is_undefined_length_sequence_item = True
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                leave_lengths_undefined(item)


def item_bytes(items: list[Dataset], implicit: bool, little: bool) -> bytes:
    """The items of a sequence, without a delimiter at the end."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    for item in items:
        write_sequence_item(buffer, item, ["iso8859"])
    return buffer.getvalue()


def dataset_bytes(dataset: Dataset, implicit: bool = False, little: bool = True) -> bytes:
    """A data set without file meta information."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def nested(levels: int) -> Dataset:
    """Content Sequences in one another."""
    dataset = Dataset()
    dataset.CodeMeaning = "innermost"
    for _ in range(levels):
        outer = Dataset()
        outer.ContentSequence = Sequence([dataset])
        dataset = outer
    return dataset
