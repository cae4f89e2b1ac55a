"""Header attributes that a dataset shows: an allow-list, so that no patient is ever named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from xarray_dicom.parsing.element_values import Conversions, as_tag
from xarray_dicom.parsing.functional_groups import tag
from xarray_dicom.parsing.value_errors import VALUE_ERRORS

#: Identifiers of class, study, series and instance; modality, maker and technique. Free text,
#: dates, accession and device numbers stay out: any of them may point to a person.
SHOWN = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PyramidUID",
    "SeriesNumber",
    "InstanceNumber",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "ImageType",
    "BodyPartExamined",
    "PatientPosition",
    "Laterality",
    "ImageLaterality",
    "KVP",
    "ConvolutionKernel",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ContrastBolusAgent",
    "ScanningSequence",
    "SequenceVariant",
    "MRAcquisitionType",
    "MagneticFieldStrength",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "FlipAngle",
    "EchoTrainLength",
    "Units",
    "DecayCorrection",
    "DoseUnits",
    "DoseType",
    "DoseSummationType",
    "SegmentationType",
    "SegmentationFractionalType",
    "MaximumFractionalValue",
    "SegmentsOverlap",
    "DimensionOrganizationType",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "ImagedVolumeWidth",
    "ImagedVolumeHeight",
    "ImagedVolumeDepth",
)

_TAGS = {keyword: as_tag(tag(keyword)) for keyword in SHOWN}


def dataset_attributes(
    datasets: Sequence[Dataset], conversions: Conversions | None = None
) -> dict[str, Any]:
    """Return the shown attributes that all `datasets` agree on, as str, int, float or flat lists.

    Parameters
    ----------
    datasets
        Headers of the instances of an image.
    conversions
        Values converted before.
    """
    first, *others = datasets
    cache = Conversions() if conversions is None else conversions
    attrs = {}
    present = first.keys()
    for keyword, number in _TAGS.items():
        if number not in present:
            continue
        value = _shown(first, number, cache)
        if value is not None and all(_shown(other, number, cache) == value for other in others):
            attrs[keyword] = list(value) if isinstance(value, list) else value
    return attrs


def _shown(dataset: Dataset, number: int, cache: Conversions) -> Any:
    try:
        return _plain(cache.value(dataset, number))
    except VALUE_ERRORS:
        # A value that pydicom can't convert is not worth losing the image for.
        return None


def _plain(value: Any) -> Any:
    """Return a value as a netCDF attribute can hold it; None if it can't, or is empty."""
    if isinstance(value, str):
        return str(value) or None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (list, tuple, MultiValue)):
        plain = [_plain(v) for v in value]
        kinds = {type(v) for v in plain}
        return plain if plain and len(kinds) == 1 and kinds <= {str, int, float} else None
    if isinstance(value, float) or hasattr(value, "__float__"):
        return float(value)
    return None
