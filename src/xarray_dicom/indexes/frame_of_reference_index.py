"""Index that lets arrays align in one frame of reference alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr

from xarray_dicom.errors import DicomError
from xarray_dicom.indexes.coordinates import Variables, as_text, describe_variables
from xarray_dicom.layout.frame_of_reference import (
    frame_of_reference,
    parse_frame_of_reference,
    same_orientation,
)


class FrameOfReferenceIndex(xr.Index):
    """Index of the scalar coordinate ``frame_of_reference``, which aligns with its equals alone.

    Labels of arrays in different frames of reference, or of different orientation in one,
    mean different places. Aligning them raises `DicomError`, whatever the ``join``, except
    with ``join="override"``, for which xarray compares no indexes. Dropping the coordinate
    (`drop_vars`) allows it.

    Parameters
    ----------
    uid
        Frame of Reference UID (PS3.3 C.7.4.1), or the SOP Instance UID in its place.
    orientation
        Six direction cosines, those of the rows first; equal if they differ by at most 1e-4.
    name
        Name of the coordinate.
    """

    def __init__(
        self, uid: str, orientation: Sequence[float], name: Hashable = "frame_of_reference"
    ) -> None:
        self.uid = uid
        self.orientation = tuple(float(cosine) for cosine in orientation)
        self.name = name

    @classmethod
    def from_variables(cls, variables: Variables, *, options: Mapping[str, Any]) -> Self:
        """Build from a scalar string coordinate ``"<uid> [<six cosines>]"``.

        Parameters
        ----------
        variables
            The coordinate, by name.
        options
            None: there are no options.

        Raises
        ------
        DicomError
            If there are options, or the coordinate is none of that form.
        """
        if options or len(variables) != 1:
            raise DicomError("FrameOfReferenceIndex takes one coordinate and no options")
        ((name, variable),) = variables.items()
        if variable.ndim:
            raise DicomError(
                f"FrameOfReferenceIndex needs a scalar, not {describe_variables(variables)}"
            )
        return cls(*parse_frame_of_reference(as_text(variable.values.item())), name)

    def create_variables(self, variables: Variables | None = None) -> dict[Any, xr.Variable]:
        """Return the coordinate; if it is among `variables`, that one."""
        if variables is not None and self.name in variables:
            return {self.name: variables[self.name]}
        # With fastpath xarray does not search the text for a date, 0.05 ms.
        text = np.asarray(str(self), object)
        return {self.name: xr.Variable((), text, fastpath=True)}

    @classmethod
    def concat(
        cls,
        indexes: Sequence[Self],
        dim: Hashable,
        positions: Iterable[Iterable[int]] | None = None,
    ) -> Self:
        """Return the index that all share, whose coordinate stays a scalar.

        Parameters
        ----------
        indexes
            Indexes of the arrays.
        dim, positions
            As for `xarray.Index.concat`; without effect.

        Raises
        ------
        DicomError
            If they differ.
        """
        for index in indexes[1:]:
            indexes[0]._require_equal(index)
        return indexes[0]

    def join(self, other: Self, how: str = "inner") -> Self:
        """Return this index; raise `DicomError` if the other differs."""
        self._require_equal(other)
        return self

    def reindex_like(self, other: Self, **_: Any) -> dict[Hashable, Any]:
        """Return nothing to reindex; raise `DicomError` if the other differs."""
        self._require_equal(other)
        return {}

    def equals(self, other: xr.Index | None, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Return True if UIDs are the same and orientations agree to within 1e-4.

        Parameters
        ----------
        other
            Index of another array.
        exclude
            Dimensions that are not aligned, when xarray aligns; else None.

        Raises
        ------
        DicomError
            If xarray aligns, and they differ.
        """
        if not isinstance(other, FrameOfReferenceIndex):
            return False
        if exclude is not None:
            self._require_equal(other)
        return self.uid == other.uid and same_orientation(self.orientation, other.orientation)

    def rename(self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]) -> Self:
        """Return the index of the renamed coordinate; parameters as for `xarray.Index.rename`."""
        return type(self)(self.uid, self.orientation, name_dict.get(self.name, self.name))

    def to_pandas_index(self) -> pd.Index[Any]:
        """Return an index of the one label, which `xarray.map_blocks` asks every index for."""
        return pd.Index([str(self)], dtype=object, name=self.name)

    def __getitem__(self, positions: Any) -> Self:
        return self

    def __str__(self) -> str:
        return frame_of_reference(self.uid, self.orientation)

    def __repr__(self) -> str:
        return f"FrameOfReferenceIndex({str(self)!r})"

    def _repr_inline_(self, max_width: int) -> str:
        return f"FrameOfReferenceIndex ({self})"[:max_width]

    def _require_equal(self, other: Self) -> None:
        if not self.equals(other):
            raise DicomError(
                f"frames of reference differ: {str(self)!r} and {str(other)!r}. Equal labels mean "
                f"different places in them; to combine anyway, drop_vars({str(self.name)!r}) first"
            )


def frame_of_reference_coordinates(uid: str, orientation: Sequence[float]) -> xr.Coordinates:
    """Make the scalar coordinate ``frame_of_reference`` with its index.

    Parameters
    ----------
    uid
        Frame of Reference UID (0020,0052), or the SOP Instance UID in its place.
    orientation
        Six direction cosines, those of the rows first.
    """
    index = FrameOfReferenceIndex(uid, orientation)
    return xr.Coordinates(index.create_variables(), indexes={index.name: index})
