"""Index of segments by number and by label."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from xarray.core.indexing import IndexSelResult

from xarray_dicom.errors import DicomError
from xarray_dicom.indexes.coordinates import Variables, as_text, describe_variables
from xarray_dicom.indexes.segment_selection import (
    labels_by_number,
    positions_by_label,
    positions_by_number,
)


class SegmentIndex(xr.Index):
    """Index of Segment Numbers and Segment Labels together (PS3.3 C.8.20.4).

    Arrays align by number and are selected by either. A label of several segments selects all
    of them. Arrays in which one number has two labels do not align: that raises `DicomError`.
    Datasets that the engine opened have it; others get it by `xarray.Dataset.set_xindex`.

    Parameters
    ----------
    numbers
        Segment Numbers, integers, shape ``(segments,)``.
    labels
        Segment Labels, strings, shape ``(segments,)``.
    dim
        Dimension of both.
    names
        Names of the two coordinates.

    Examples
    --------
    >>> coords = {"segment": ("n", [1, 2]), "segment_label": ("n", ["Liver", "Spleen"])}
    >>> volumes = xr.Dataset({"volume": ("n", [1520.0, 210.0])}, coords)
    >>> volumes = volumes.set_xindex(["segment", "segment_label"], SegmentIndex)
    >>> volumes.volume.sel(segment_label="Spleen").item(), volumes.volume.sel(segment=1).item()
    (210.0, 1520.0)
    """

    def __init__(
        self,
        numbers: NDArray[np.integer] | pd.Index[Any],
        labels: ArrayLike,
        dim: Hashable = "segment",
        names: tuple[Hashable, Hashable] = ("segment", "segment_label"),
    ) -> None:
        self.numbers: pd.Index[Any] = pd.Index(numbers, name=names[0])
        self.labels: NDArray[np.object_] = np.asarray(labels, object)
        self.dim = dim
        self.names = names

    @classmethod
    def from_variables(cls, variables: Variables, *, options: Mapping[str, Any]) -> Self:
        """Build from an integer and a string coordinate on one dimension, in any order.

        Parameters
        ----------
        variables
            The two coordinates, by name.
        options
            None: there are no options.

        Raises
        ------
        DicomError
            If there are options or other coordinates, or if a number has two labels.

        Examples
        --------
        >>> numbers, labels = xr.Variable("n", [1, 2]), xr.Variable("n", ["Liver", "Spleen"])
        >>> SegmentIndex.from_variables({"organ": labels, "number": numbers}, options={})
        SegmentIndex({1: 'Liver', 2: 'Spleen'}, dim='n')
        """
        if options:
            raise DicomError(f"SegmentIndex takes no options, not {sorted(options)}")
        numbers = [k for k, v in variables.items() if v.dtype.kind in "iu" and v.ndim == 1]
        labels = [k for k, v in variables.items() if v.dtype.kind in "OTUS"]
        dims = {v.dims for v in variables.values()}
        if len(variables) != 2 or len(numbers) != 1 or len(labels) != 1 or len(dims) != 1:
            raise DicomError(
                "SegmentIndex needs two coordinates on one dimension, Segment Numbers (integers) "
                f"and Segment Labels (strings), not {describe_variables(variables)}"
            )
        names = (numbers[0], labels[0])
        texts = [as_text(value) for value in variables[names[1]].values]
        index = cls(variables[names[0]].values, texts, variables[names[0]].dims[0], names)
        labels_by_number([index])
        return index

    def create_variables(self, variables: Variables | None = None) -> dict[Any, xr.Variable]:
        """Return both coordinates by name.

        Parameters
        ----------
        variables
            Coordinates whose attrs and encoding they get, by name.

        Examples
        --------
        >>> list(SegmentIndex([1], ["Liver"]).create_variables())
        ['segment', 'segment_label']
        """
        created = {}
        for name, array in zip(self.names, (self.numbers, self.labels), strict=True):
            template = None if variables is None else variables.get(name)
            kind = xr.IndexVariable if name == self.dim else xr.Variable
            metadata = () if template is None else (template.attrs, template.encoding)
            created[name] = kind(self.dim, array, *metadata)
        return created

    @classmethod
    def concat(
        cls,
        indexes: Sequence[Self],
        dim: Hashable,
        positions: Iterable[Iterable[int]] | None = None,
    ) -> Self:
        """Append indexes, as `xarray.concat` along the segments does.

        Parameters
        ----------
        indexes
            Indexes to append.
        dim
            Dimension of them all.
        positions
            Positions of the segments of each index in the result; one after another if None.

        Raises
        ------
        DicomError
            If a number has two labels.

        Examples
        --------
        >>> liver, spleen = SegmentIndex([1], ["Liver"]), SegmentIndex([2], ["Spleen"])
        >>> SegmentIndex.concat([liver, spleen], "segment")
        SegmentIndex({1: 'Liver', 2: 'Spleen'}, dim='segment')
        """
        labels_by_number(indexes)
        first = indexes[0]
        numbers = first.numbers.append([index.numbers for index in indexes[1:]])
        joined = first._replace(numbers, np.concatenate([index.labels for index in indexes]))
        if positions is None:
            return joined
        return joined[np.argsort(np.concatenate([np.asarray(p) for p in positions]))]

    def isel(self, indexers: Mapping[Any, Any]) -> Self | None:
        """Return the index of the segments at some positions.

        Parameters
        ----------
        indexers
            Positions along the dimension, by its name.

        Returns
        -------
        SegmentIndex or None
            None where the result has no dimension of segments: of one position, or pointwise.

        Examples
        --------
        >>> SegmentIndex([1, 2], ["Liver", "Spleen"]).isel({"segment": slice(1, None)})
        SegmentIndex({2: 'Spleen'}, dim='segment')
        """
        positions = indexers[self.dim]
        if isinstance(positions, xr.Variable):
            if positions.dims != (self.dim,):
                return None
            positions = positions.values
        if not isinstance(positions, slice) and np.ndim(positions) == 0:
            return None
        return self[positions]

    def sel(self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None) -> Any:
        """Return the positions of segments, by number or by label.

        Parameters
        ----------
        labels
            Numbers or labels to select, by the name of one of the coordinates.
        method, tolerance
            None: segments are selected exactly.

        Returns
        -------
        IndexSelResult
            Positions along the dimension.

        Raises
        ------
        DicomError
            If both coordinates are given, a method or a tolerance.
        KeyError
            If there is no such segment.

        Examples
        --------
        >>> index = SegmentIndex([1, 2, 3], ["Kidney", "Liver", "Kidney"])
        >>> index.sel({"segment_label": "Kidney"}).dim_indexers
        {'segment': array([0, 2])}
        """
        if method is not None or tolerance is not None:
            raise DicomError(
                "segments are selected exactly: method= and tolerance= mean nothing for them"
            )
        if len(labels) != 1:
            raise DicomError(
                f"select segments by {self.names[0]!r} or by {self.names[1]!r}, not by both"
            )
        ((name, selected),) = labels.items()
        find = positions_by_number if name == self.names[0] else positions_by_label
        return IndexSelResult({self.dim: find(self, selected)})

    def join(self, other: Self, how: str = "inner") -> Self:
        """Return the index of the numbers that both have, or that either has.

        Parameters
        ----------
        other
            Index of another array.
        how
            ``"inner"`` or ``"outer"``.

        Raises
        ------
        DicomError
            If a number has two labels.

        Examples
        --------
        >>> liver, spleen = SegmentIndex([1], ["Liver"]), SegmentIndex([2], ["Spleen"])
        >>> liver.join(spleen, how="outer")
        SegmentIndex({1: 'Liver', 2: 'Spleen'}, dim='segment')
        """
        by_number = labels_by_number([self, other])
        if how == "outer":
            numbers = self.numbers.union(other.numbers)
        else:
            numbers = self.numbers.intersection(other.numbers)
        return self._replace(numbers, [by_number[number] for number in numbers.tolist()])

    def reindex_like(self, other: Self) -> dict[Hashable, Any]:
        """Return the positions in this index of the numbers of another.

        Parameters
        ----------
        other
            Index of another array.

        Returns
        -------
        dict of Hashable to ndarray
            By dimension; -1 for numbers that this index does not have.

        Raises
        ------
        DicomError
            If a number has two labels, or this index has one twice.

        Examples
        --------
        >>> both = SegmentIndex([1, 2], ["Liver", "Spleen"])
        >>> SegmentIndex([2], ["Spleen"]).reindex_like(both)
        {'segment': array([-1,  0])}
        """
        labels_by_number([self, other])
        if not self.numbers.is_unique:
            raise DicomError(f"segments cannot be aligned: {self!r} has a number twice")
        return {self.dim: self.numbers.get_indexer(other.numbers)}

    def equals(self, other: xr.Index | None, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Return True if numbers, labels and dimension are the same.

        Parameters
        ----------
        other
            Index of another array.
        exclude
            Dimensions that are not aligned, when xarray aligns; else None.

        Raises
        ------
        DicomError
            If xarray aligns, and a number has two labels.

        Examples
        --------
        >>> SegmentIndex([1], ["Liver"]).equals(SegmentIndex([1], ["Spleen"]))
        False
        """
        if not isinstance(other, SegmentIndex):
            return False
        if exclude is not None:
            labels_by_number([self, other])
        return (
            self.dim == other.dim
            and self.numbers.equals(other.numbers)
            and bool(np.array_equal(self.labels, other.labels))
        )

    def roll(self, shifts: Mapping[Any, int]) -> Self:
        """Return the index of segments that are rolled along their dimension.

        Parameters
        ----------
        shifts
            Number of positions, by dimension.

        Examples
        --------
        >>> SegmentIndex([1, 2], ["Liver", "Spleen"]).roll({"segment": 1})
        SegmentIndex({2: 'Spleen', 1: 'Liver'}, dim='segment')
        """
        return self[np.roll(np.arange(len(self.numbers)), shifts[self.dim])]

    def rename(self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]) -> Self:
        """Return the index of renamed coordinates.

        Parameters
        ----------
        name_dict, dims_dict
            New names of coordinates and dimensions, by the old ones.

        Examples
        --------
        >>> SegmentIndex([1], ["Liver"]).rename({"segment": "organ"}, {}).names
        ('organ', 'segment_label')
        """
        number, label = (name_dict.get(name, name) for name in self.names)
        dim = dims_dict.get(self.dim, self.dim)
        return type(self)(self.numbers, self.labels, dim, (number, label))

    def to_pandas_index(self) -> pd.Index[Any]:
        """Return the Segment Numbers.

        Examples
        --------
        >>> SegmentIndex([1, 2], ["Liver", "Spleen"]).to_pandas_index().tolist()
        [1, 2]
        """
        return self.numbers

    def __getitem__(self, positions: Any) -> Self:
        return self._replace(self.numbers[positions], self.labels[positions])

    def __repr__(self) -> str:
        pairs = [f"{n}: {t!r}" for n, t in zip(self.numbers, self.labels, strict=True)]
        shown = pairs if len(pairs) <= 12 else [*pairs[:8], "…", *pairs[-3:]]
        return f"SegmentIndex({{{', '.join(shown)}}}, dim={self.dim!r})"

    def _repr_inline_(self, max_width: int) -> str:
        return f"SegmentIndex ({len(self.numbers)} segments)"

    def _replace(self, numbers: pd.Index[Any], labels: ArrayLike) -> Self:
        return type(self)(numbers, labels, self.dim, self.names)
