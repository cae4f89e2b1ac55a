"""Transforms of pixel values, as a data set describes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.pixels.transform import (
    Fraction,
    LookupTable,
    RealWorldTable,
    RealWorldValue,
    Rescale,
    Stored,
    Transform,
    value_dtype,
)

RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")


def modality_transform(
    dataset: Dataset,
    stored: np.dtype[np.generic],
    *,
    slope: NDArray[np.floating] | None = None,
    intercept: NDArray[np.floating] | None = None,
) -> Transform:
    """Return the transform from stored values to modality values (PS3.3 C.11.1).

    The first of these is used, as by highdicom: Modality LUT Sequence, Rescale Slope and
    Intercept of the data set, of its shared functional groups, of the frames. Where one
    of slope and intercept is missing or empty it is taken as 1 or 0. RT Dose is scaled by
    Dose Grid Scaling (3004,000E).

    Parameters
    ----------
    dataset
        Root data set; its per-frame functional groups are not read.
    stored
        Type of the stored values.
    slope, intercept
        Rescale Slope and Intercept of each frame, shape ``(frames,)``, where the per-frame
        functional groups have them; NaN where a frame has none.

    Returns
    -------
    Transform
        `Stored` if there is nothing to transform.

    Raises
    ------
    CorruptDicomError
        If a table contradicts its descriptor.
    """
    if dataset.get("PhotometricInterpretation") not in _MONOCHROME:
        return Stored(stored)
    if dataset.get("ModalityLUTSequence"):
        return modality_table(dataset.ModalityLUTSequence[0], stored, dataset)
    scaling = dataset.get("DoseGridScaling")
    if scaling and dataset.get("SOPClassUID") == RT_DOSE:
        return Rescale.of(float(scaling), 0.0, stored)
    for shared in _root_and_shared(dataset, "PixelValueTransformationSequence"):
        shared_slope, shared_intercept = shared.get("RescaleSlope"), shared.get("RescaleIntercept")
        if shared_slope or shared_intercept:
            return Rescale.of(float(shared_slope or 1), float(shared_intercept or 0), stored)
    if slope is None and intercept is None:
        return Stored(stored)
    slopes = np.nan_to_num(slope, nan=1.0) if slope is not None else np.float64(1)
    slopes = np.where(slopes == 0, 1.0, slopes)
    intercepts = np.nan_to_num(intercept, nan=0.0) if intercept is not None else np.float64(0)
    return Rescale.of(slopes, intercepts, stored)


def modality_table(item: Dataset, stored: np.dtype[np.generic], dataset: Dataset) -> LookupTable:
    """Return the table in an item of the Modality LUT Sequence (0028,3000).

    Parameters
    ----------
    item
        The item.
    stored
        Type of the stored values.
    dataset
        Root data set, whose Pixel Representation gives the sign of the first mapped value.

    Returns
    -------
    LookupTable
        Table with entries of the type of modality values.

    Raises
    ------
    CorruptDicomError
        If LUT Data (0028,3006) has another length than LUT Descriptor (0028,3002) says.
    """
    descriptor = item.get("LUTDescriptor")
    if descriptor is None or len(descriptor) != 3 or item.get("LUTData") is None:
        raise CorruptDicomError(
            "its Modality LUT Sequence (0028,3000) lacks LUT Descriptor or LUT Data",
            tag="ModalityLUTSequence",
        )
    length, first_mapped, bits = (int(value) for value in descriptor)
    length = length or 2**16
    if dataset.get("PixelRepresentation") == 1 and first_mapped >= 2**15:
        first_mapped -= 2**16
    table = _lut_entries(item, length, bits)
    if table.size != length:
        raise CorruptDicomError(
            f"its LUT Data (0028,3006) has {table.size} entries, but LUT Descriptor "
            f"(0028,3002) says {length}",
            tag="LUTData",
        )
    return LookupTable(first_mapped, table.astype(value_dtype(stored)))


def _lut_entries(item: Dataset, length: int, bits: int) -> NDArray[np.generic]:
    """Return LUT Data, which is US or OW, and has 8-bit entries one or two to a word."""
    content = item.LUTData
    _, little_endian = item.original_encoding
    order = ">" if little_endian is False else "<"
    if not isinstance(content, bytes):
        words = np.atleast_1d(np.asarray(content, np.int64)).astype(f"{order}u2")
        if words.size == length:
            return words
        content = words.tobytes()
    if bits == 8 and len(content) < 2 * length:
        return np.frombuffer(content, np.uint8)[:length]
    return np.frombuffer(content[: len(content) // 2 * 2], f"{order}u2")


def real_world_mapping(item: Dataset, stored: np.dtype[np.generic]) -> Transform:
    """Return the transform of an item of the Real World Value Mapping Sequence (0040,9096).

    Parameters
    ----------
    item
        The item (PS3.3 C.7.6.16.2.11).
    stored
        Type of the stored values.

    Returns
    -------
    RealWorldTable or RealWorldValue
        By whether the item has a table.

    Raises
    ------
    CorruptDicomError
        If it has neither a table nor slope, intercept and range.
    """
    dtype = value_dtype(stored)
    table = item.get("RealWorldValueLUTData")
    try:
        if table is not None:
            entries = np.atleast_1d(np.asarray(table, np.float64)).astype(dtype)
            return RealWorldTable(int(item.RealWorldValueFirstValueMapped), entries)
        prefix = "DoubleFloat" if "DoubleFloatRealWorldValueFirstValueMapped" in item else ""
        return RealWorldValue(
            np.asarray(float(item.RealWorldValueSlope), dtype),
            np.asarray(float(item.RealWorldValueIntercept), dtype),
            np.asarray(float(item[f"{prefix}RealWorldValueFirstValueMapped"].value)),
            np.asarray(float(item[f"{prefix}RealWorldValueLastValueMapped"].value)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptDicomError(
            f"its Real World Value Mapping Sequence (0040,9096) is incomplete: {error}",
            tag="RealWorldValueMappingSequence",
        ) from error


def fraction_transform(dataset: Dataset) -> Fraction:
    """Return the transform of a FRACTIONAL segmentation.

    Raises
    ------
    CorruptDicomError
        If Maximum Fractional Value (0062,000E) is missing or zero.
    """
    maximum = dataset.get("MaximumFractionalValue")
    if not maximum:
        raise CorruptDicomError(
            "its segmentation is FRACTIONAL but has no Maximum Fractional Value (0062,000E)",
            tag="MaximumFractionalValue",
        )
    return Fraction(int(maximum))


def _root_and_shared(dataset: Dataset, macro: str) -> Iterator[Dataset]:
    """Yield the root, and the shared functional groups, inside `macro` where they have it."""
    yield dataset
    for groups in (dataset.get("SharedFunctionalGroupsSequence") or ())[:1]:
        inner = groups.get(macro)
        yield inner[0] if inner else groups
