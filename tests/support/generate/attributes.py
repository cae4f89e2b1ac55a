"""Attributes that every generated object bears, and how a data set becomes bytes."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

Target = str | Path | BinaryIO

MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def uid(*names: object) -> UID:
    """The UID that always belongs to `names`."""
    return generate_uid(entropy_srcs=["xarray-dicom", *map(str, names)])


def instance(sop_class: str, modality: str, study: str, series: str, number: int = 1) -> Dataset:
    """Patient, study, series, equipment and SOP common modules of one instance."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid(study, series, "instance", number)
    dataset.StudyInstanceUID = uid(study)
    dataset.SeriesInstanceUID = uid(study, series)
    dataset.FrameOfReferenceUID = uid(study, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.Modality = modality
    dataset.InstanceNumber = number
    dataset.SeriesNumber = 1
    dataset.StudyID = "1"
    dataset.PatientName = "Phantom^Generated"
    dataset.PatientID = "generated-1"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.ReferringPhysicianName = ""
    dataset.AccessionNumber = "1"
    dataset.Manufacturer = "xarray-dicom"
    dataset.ManufacturerModelName = "generator"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    dataset.SeriesDescription = series
    for kind in ("Study", "Series", "Content"):
        setattr(dataset, f"{kind}Date", MOMENT.strftime("%Y%m%d"))
        setattr(dataset, f"{kind}Time", MOMENT.strftime("%H%M%S"))
    dataset.AcquisitionDateTime = MOMENT.strftime("%Y%m%d%H%M%S")
    return dataset


def code(concept: Code) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue = concept.value
    item.CodingSchemeDesignator = concept.scheme_designator
    item.CodeMeaning = concept.meaning
    return item


def write(dataset: Dataset, target: Target, transfer_syntax: str) -> Dataset:
    """Write `dataset` as a DICOM file (PS3.10) and hand it back."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    dcmwrite(target, dataset, enforce_file_format=True)
    return dataset


def header_bytes(dataset: Dataset, transfer_syntax: str) -> bytes:
    """The file that `dataset` makes, to be continued by elements with greater tags."""
    buffer = io.BytesIO()
    write(dataset, buffer, transfer_syntax)
    return buffer.getvalue()
