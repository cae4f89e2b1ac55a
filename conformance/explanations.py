"""Explanations of differences between readers, each examined by hand once."""

from __future__ import annotations

from dataclasses import dataclass

_UNUSED_BITS = (
    "highdicom doesn't mask the bits above Bits Stored, nor extend the sign from there "
    "(PS3.5 8.1.1); the engine equals pydicom"
)
_DOSE = "highdicom doesn't apply Dose Grid Scaling (3004,000E)"
_JFIF = (
    "tagged RGB, but the JPEG has a JFIF marker and holds YCbCr; openslide and wsidicom show a "
    "green slide on a red ground; the engine equals pydicom and highdicom"
)


@dataclass(frozen=True)
class Explanation:
    """The reason why a reader differs on files whose path contains `part`."""

    part: str
    reader: str
    reason: str


EXPLANATIONS = (
    Explanation("5_Product_EPI_Sag_Ascending/0063.dcm", "highdicom", _UNUSED_BITS),
    Explanation("2_gre_field_mapping/1.dcm", "highdicom", _UNUSED_BITS),
    Explanation("dcm4che3/img/overlay.dcm", "highdicom", _UNUSED_BITS),
    Explanation("enhanced MR, ", "highdicom", _UNUSED_BITS),
    Explanation("/rtdose", "highdicom", _DOSE),
    Explanation(
        "/mlut_18.dcm",
        "highdicom",
        "highdicom takes negative stored values for the last entry of the Modality LUT; the "
        "engine equals pydicom's `apply_modality_lut`",
    ),
    Explanation("cmu-1-small-region/", "openslide", _JFIF),
    Explanation("cmu-1-small-region/", "wsidicom", _JFIF),
)


def reason(name: str, reader: str) -> str | None:
    """Return the reason why `reader` differs on the file `name`; None if it is unexplained."""
    for explanation in EXPLANATIONS:
        if explanation.reader == reader and explanation.part in name:
            return explanation.reason
    return None
