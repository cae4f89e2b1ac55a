"""Attributes that may be dimensions, and the names of those."""

from __future__ import annotations

import re

#: Attributes for the position of a frame, or its segment: never extra dimensions.
SPATIAL = frozenset(
    {
        "ColumnPositionInTotalImagePixelMatrix",
        "ImageOrientationPatient",
        "ImageOrientationSlide",
        "ImageOrientationVolume",
        "ImagePositionPatient",
        "ImagePositionVolume",
        "InStackPositionNumber",
        "PlaneOrientationSequence",
        "PlanePositionSequence",
        "PlanePositionSlideSequence",
        "PlanePositionVolumeSequence",
        "ReferencedSegmentNumber",
        "RowPositionInTotalImagePixelMatrix",
        "SliceLocation",
        "SliceVector",
        "StackID",
        "XOffsetInSlideCoordinateSystem",
        "YOffsetInSlideCoordinateSystem",
        "ZOffsetInSlideCoordinateSystem",
    }
)

#: Names of dimensions that are not the keyword in snake case.
NAMES = {
    "EchoNumbers": "echo_number",
    "EffectiveEchoTime": "echo_time",
    "FrameAcquisitionDateTime": "acquisition_date_time",
    "FrameAcquisitionNumber": "acquisition_number",
    "FrameReferenceDateTime": "reference_date_time",
    "FrameReferenceTime": "reference_time",
    "FrameType": "image_type",
    "InversionTimes": "inversion_time",
    "NominalCardiacTriggerDelayTime": "trigger_time",
    "NominalRespiratoryTriggerDelayTime": "respiratory_trigger_time",
    "TemporalPositionIdentifier": "temporal_position",
    "TemporalPositionIndex": "temporal_position",
}

#: Attributes of classic instances that may distinguish frames at one position, the most
#: specific first.
CLASSIC_KEYWORDS = (
    "TemporalPositionIdentifier",
    "TriggerTime",
    "EchoTime",
    "EchoNumbers",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "InversionTime",
    "FlipAngle",
    "RepetitionTime",
    "ComplexImageComponent",
    "ImageType",
    "KVP",
    "ConvolutionKernel",
    "NominalPercentageOfCardiacPhase",
    "FrameReferenceTime",
    "AcquisitionNumber",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "InstanceNumber",
)

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def dimension_name(attribute: str | int) -> str:
    """Return the name of the dimension that an attribute makes.

    Parameters
    ----------
    attribute
        Keyword, or the tag of an attribute without one (private ones).

    Examples
    --------
    >>> dimension_name("EffectiveEchoTime"), dimension_name("DiffusionBValue")
    ('echo_time', 'diffusion_b_value')
    >>> dimension_name(0x2001100A)
    'private_2001_100a'
    """
    if isinstance(attribute, int):
        kind = "private" if attribute >> 16 & 1 else "tag"
        return f"{kind}_{attribute >> 16:04x}_{attribute & 0xFFFF:04x}"
    return NAMES.get(attribute) or _WORDS.sub("_", attribute).lower()
