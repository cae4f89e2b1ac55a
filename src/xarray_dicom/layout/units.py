"""Units of DICOM attributes, as UCUM codes."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

CT = "1.2.840.10008.5.1.4.1.1.2"

#: Rescale Type (PS3.3 C.11.1.1.2), Units of PET (C.8.9.1.1.3), Dose Units (C.8.8.3).
UCUM = {
    "HU": "[hnsf'U]",
    "HU_MOD": "[hnsf'U]",
    "OD": "1e-3",
    "MGML": "mg/ml",
    "Z_EFF": "1",
    "ED": "1e23/ml",
    "EDW": "1",
    "PCT": "%",
    "BQML": "Bq/ml",
    "CNTS": "{counts}",
    "CM2": "cm2",
    "CM2ML": "cm2/ml",
    "PROPCNTS": "{propcounts}",
    "PROPCPS": "{propcounts}/s",
    "CPS": "{counts}/s",
    "NONE": "1",
    "GML": "g/ml",
    "MLG": "ml/g",
    "MLMLG": "ml/ml/g",
    "UMOLML": "umol/ml",
    "STDDEV": "{stddev}",
    "1CM": "/cm",
    "GY": "Gy",
}


def unit_of(dataset: Dataset, rescale_type: Any) -> str | None:
    """Return the UCUM unit of the modality values; None where the file has none (or ``US``).

    Parameters
    ----------
    dataset
        Header of an image.
    rescale_type
        Rescale Type of all frames, if they have one.
    """
    for code in (dataset.get("DoseUnits"), dataset.get("Units"), rescale_type):
        if code:
            return UCUM.get(str(code))
    values = dataset.get("ImageType") or [""]
    image_type = [values] if isinstance(values, str) else list(values)
    # CT images are in Hounsfield units unless they say otherwise (PS3.3 C.8.2.1.1.7).
    original = image_type[:1] == ["ORIGINAL"] and "LOCALIZER" not in image_type
    if dataset.get("SOPClassUID") == CT and original and dataset.get("RescaleSlope") is not None:
        return UCUM["HU"]
    return None
