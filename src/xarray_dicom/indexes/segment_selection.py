"""Selection of segments by number and by label."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from xarray.indexes import PandasIndex

from xarray_dicom.errors import DicomError


class Segments(Protocol):
    """Numbers and labels of segments, under the names of two coordinates."""

    numbers: pd.Index[Any]
    labels: NDArray[np.object_]
    dim: Hashable
    names: tuple[Hashable, Hashable]


def positions_by_number(segments: Segments, selected: Any) -> Any:
    """Return the positions of segments by number, as `xarray.indexes.PandasIndex` does.

    Raises
    ------
    KeyError
        If there is no such number; lists those there are.
    """
    numbers, name = segments.numbers, segments.names[0]
    try:
        result = PandasIndex(numbers, segments.dim).sel({name: selected})
    except KeyError as error:
        missing = selected.values if hasattr(selected, "values") else selected
        raise KeyError(f"no segment {missing!r}; segment numbers are {numbers.tolist()}") from error
    return result.dim_indexers[segments.dim]


def positions_by_label(segments: Segments, selected: Any) -> Any:
    """Return the positions of segments by label.

    Parameters
    ----------
    segments
        The segments to select from.
    selected
        A label, a list of labels, an array of them for pointwise selection, or booleans.

    Returns
    -------
    int, ndarray, Variable or DataArray
        All positions of each label; shaped as `selected` for pointwise selection.

    Raises
    ------
    DicomError
        For a slice, and for pointwise selection of a label that several segments have.
    KeyError
        If there is no such label; lists those there are.
    """
    number_name, label_name = segments.names
    if isinstance(selected, slice):
        raise DicomError(
            f"{label_name!r} has no order to slice by; "
            f"give a list of labels, or a slice of {number_name!r}"
        )
    labels = np.asarray(getattr(selected, "values", selected))
    if labels.dtype.kind == "b":
        return selected
    texts = labels.ravel().tolist()
    by_text = [_positions_of(segments, text) for text in texts]
    if labels.ndim == 0:
        return int(by_text[0][0]) if len(by_text[0]) == 1 else by_text[0]
    if not isinstance(selected, (xr.Variable, xr.DataArray)) and labels.ndim == 1:
        return np.concatenate([np.empty(0, np.intp), *by_text])
    for label, positions in zip(texts, by_text, strict=True):
        if len(positions) > 1:
            raise DicomError(
                f"pointwise selection needs one segment per label, but {label!r} is that of "
                f"segments {segments.numbers[positions].tolist()}; select by {number_name!r}"
            )
    pointwise = np.array([positions[0] for positions in by_text], np.intp).reshape(labels.shape)
    if isinstance(selected, xr.DataArray):
        return xr.DataArray(pointwise, coords=selected.coords, dims=selected.dims)
    return xr.Variable(selected.dims, pointwise) if isinstance(selected, xr.Variable) else pointwise


def _positions_of(segments: Segments, label: Any) -> NDArray[np.intp]:
    positions = np.flatnonzero(segments.labels == label)
    if positions.size == 0:
        raise KeyError(
            f"no segment is labelled {label!r}; labels are {list(dict.fromkeys(segments.labels))}"
        )
    return positions


def labels_by_number(indexes: Iterable[Segments]) -> dict[int, str]:
    """Return the label of every number.

    Raises
    ------
    DicomError
        If a number has two labels.
    """
    labels: dict[int, str] = {}
    for index in indexes:
        for number, label in zip(index.numbers.tolist(), index.labels, strict=True):
            first = labels.setdefault(number, label)
            if first != label:
                raise DicomError(
                    f"segment {number} is {first!r} and {label!r}: one number must have one label. "
                    f"Renumber, or drop_indexes({list(index.names)}) to combine by position"
                )
    return labels
