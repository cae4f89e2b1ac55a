"""xarray indexes: segments by number or label, and frames of reference that must not mix."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from xarray.core.indexing import IndexSelResult
from xarray.indexes import PandasIndex

from xarray_dicom.errors import DicomError
from xarray_dicom.layout.geometry import (
    frame_of_reference,
    parse_frame_of_reference,
    same_orientation,
)

Variables = Mapping[Any, xr.Variable]


class SegmentIndex(xr.Index):
    """One index over Segment Numbers and Segment Labels (PS3.3 C.8.20.4).

    It aligns by number and selects by either. A label that several segments bear selects all
    of them. Arrays in which one number has two labels do not align: that raises `DicomError`.

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
    >>> ds = ds.set_xindex(["segment", "segment_label"], SegmentIndex)  # doctest: +SKIP
    >>> ds.sel(segment_label="Liver")  # doctest: +SKIP
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
        """Build from an integer and a string coordinate on one dimension, in any order."""
        if options:
            raise DicomError(f"SegmentIndex takes no options, not {sorted(options)}")
        numbers = [k for k, v in variables.items() if v.dtype.kind in "iu" and v.ndim == 1]
        labels = [k for k, v in variables.items() if v.dtype.kind in "OTUS"]
        dims = {v.dims for v in variables.values()}
        if len(variables) != 2 or len(numbers) != 1 or len(labels) != 1 or len(dims) != 1:
            raise DicomError(
                "SegmentIndex needs two coordinates on one dimension, Segment Numbers (integers) "
                f"and Segment Labels (strings), not {_described(variables)}"
            )
        names = (numbers[0], labels[0])
        texts = [_text(value) for value in variables[names[1]].values]
        index = cls(variables[names[0]].values, texts, variables[names[0]].dims[0], names)
        _labels_by_number([index])
        return index

    def create_variables(self, variables: Variables | None = None) -> dict[Any, xr.Variable]:
        """Both coordinates, with the attrs and encoding of `variables`."""
        given = variables or {}
        made = {}
        for name, array in zip(self.names, (self.numbers, self.labels), strict=True):
            like = given.get(name)
            kind = xr.IndexVariable if name == self.dim else xr.Variable
            keep = () if like is None else (like.attrs, like.encoding)
            made[name] = kind(self.dim, array, *keep)
        return made

    @classmethod
    def concat(
        cls,
        indexes: Sequence[Self],
        dim: Hashable,
        positions: Iterable[Iterable[int]] | None = None,
    ) -> Self:
        """Append, as `xarray.concat` along the segments does."""
        _labels_by_number(indexes)
        first = indexes[0]
        numbers = first.numbers.append([index.numbers for index in indexes[1:]])
        joined = first._replace(numbers, np.concatenate([index.labels for index in indexes]))
        if positions is None:
            return joined
        return joined[np.argsort(np.concatenate([np.asarray(p) for p in positions]))]

    def isel(self, indexers: Mapping[Any, Any]) -> Self | None:
        """Index of the segments at positions; None for a single one or pointwise selection."""
        at = indexers[self.dim]
        if isinstance(at, xr.Variable):
            if at.dims != (self.dim,):
                return None
            at = at.values
        if not isinstance(at, slice) and np.ndim(at) == 0:
            return None
        return self[at]

    def sel(self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None) -> Any:
        """Positions of segments by number or by label, not by both."""
        if method is not None or tolerance is not None:
            raise DicomError(
                "segments are selected exactly: method= and tolerance= mean nothing for them"
            )
        if len(labels) != 1:
            raise DicomError(
                f"select segments by {self.names[0]!r} or by {self.names[1]!r}, not by both"
            )
        ((name, wanted),) = labels.items()
        find = self._by_number if name == self.names[0] else self._by_label
        return IndexSelResult({self.dim: find(wanted)})

    def join(self, other: Self, how: str = "inner") -> Self:
        """Index of the numbers that both have (``inner``) or either has (``outer``)."""
        by_number = _labels_by_number([self, other])
        if how == "outer":
            numbers = self.numbers.union(other.numbers)
        else:
            numbers = self.numbers.intersection(other.numbers)
        return self._replace(numbers, [by_number[number] for number in numbers.tolist()])

    def reindex_like(self, other: Self) -> dict[Hashable, Any]:
        """Positions here of the other's numbers, -1 where there is none."""
        _labels_by_number([self, other])
        if not self.numbers.is_unique:
            raise DicomError(f"segments cannot be aligned: {self!r} has a number twice")
        return {self.dim: self.numbers.get_indexer(other.numbers)}

    def equals(self, other: xr.Index | None, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Whether numbers, labels and dimension are the same.

        Within alignment (`exclude` is given) one number with two labels raises `DicomError`.
        """
        if not isinstance(other, SegmentIndex):
            return False
        if exclude is not None:
            _labels_by_number([self, other])
        return (
            self.dim == other.dim
            and self.numbers.equals(other.numbers)
            and bool(np.array_equal(self.labels, other.labels))
        )

    def roll(self, shifts: Mapping[Any, int]) -> Self:
        """Index rolled along with the segments."""
        return self[np.roll(np.arange(len(self.numbers)), shifts[self.dim])]

    def rename(self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]) -> Self:
        """Index of renamed coordinates."""
        number, label = (name_dict.get(name, name) for name in self.names)
        dim = dims_dict.get(self.dim, self.dim)
        return type(self)(self.numbers, self.labels, dim, (number, label))

    def to_pandas_index(self) -> pd.Index[Any]:
        """The Segment Numbers."""
        return self.numbers

    def __getitem__(self, at: Any) -> Self:
        return self._replace(self.numbers[at], self.labels[at])

    def __repr__(self) -> str:
        pairs = [f"{n}: {t!r}" for n, t in zip(self.numbers, self.labels, strict=True)]
        shown = pairs if len(pairs) <= 12 else [*pairs[:8], "…", *pairs[-3:]]
        return f"SegmentIndex({{{', '.join(shown)}}}, dim={self.dim!r})"

    def _repr_inline_(self, max_width: int) -> str:
        return f"SegmentIndex ({len(self.numbers)} segments)"

    def _replace(self, numbers: pd.Index[Any], labels: ArrayLike) -> Self:
        return type(self)(numbers, labels, self.dim, self.names)

    def _by_number(self, wanted: Any) -> Any:
        try:
            found = PandasIndex(self.numbers, self.dim).sel({self.names[0]: wanted})
        except KeyError as error:
            shown = wanted.values if hasattr(wanted, "values") else wanted
            raise KeyError(
                f"no segment {shown!r}; segment numbers are {self.numbers.tolist()}"
            ) from error
        return found.dim_indexers[self.dim]

    def _by_label(self, wanted: Any) -> Any:
        if isinstance(wanted, slice):
            raise DicomError(
                f"{self.names[1]!r} has no order to slice by; "
                f"give a list of labels, or a slice of {self.names[0]!r}"
            )
        labels = np.asarray(getattr(wanted, "values", wanted))
        if labels.dtype.kind == "b":
            return wanted
        texts = labels.ravel().tolist()
        found = [self._positions(text) for text in texts]
        if labels.ndim == 0:
            return int(found[0][0]) if len(found[0]) == 1 else found[0]
        if not isinstance(wanted, (xr.Variable, xr.DataArray)) and labels.ndim == 1:
            return np.concatenate([np.empty(0, np.intp), *found])
        for label, positions in zip(texts, found, strict=True):
            if len(positions) > 1:
                raise DicomError(
                    f"pointwise selection needs one segment per label, but {label!r} is that of "
                    f"segments {self.numbers[positions].tolist()}; select by {self.names[0]!r}"
                )
        at = np.array([positions[0] for positions in found], np.intp).reshape(labels.shape)
        if isinstance(wanted, xr.DataArray):
            return xr.DataArray(at, coords=wanted.coords, dims=wanted.dims)
        return xr.Variable(wanted.dims, at) if isinstance(wanted, xr.Variable) else at

    def _positions(self, label: Any) -> NDArray[np.intp]:
        positions = np.flatnonzero(self.labels == label)
        if positions.size == 0:
            raise KeyError(
                f"no segment is labelled {label!r}; labels are {list(dict.fromkeys(self.labels))}"
            )
        return positions


class FrameOfReferenceIndex(xr.Index):
    """Index of the scalar coordinate ``frame_of_reference``: refuses alignment with another.

    Labels of arrays in different frames of reference, or of different orientation in one,
    mean different places. Aligning them raises `DicomError`, whatever the ``join``, except
    ``join="override"``, which asks xarray not to look. `drop_vars` of the coordinate opts out.

    Parameters
    ----------
    uid
        Frame of Reference UID (PS3.3 C.7.4.1), or what stands for it.
    orientation
        Six direction cosines, those of the rows first; compared to within 1e-4.
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
        """Build from a scalar string coordinate ``"<uid> [<six cosines>]"``."""
        if options or len(variables) != 1:
            raise DicomError("FrameOfReferenceIndex takes one coordinate and no options")
        ((name, variable),) = variables.items()
        if variable.ndim:
            raise DicomError(f"FrameOfReferenceIndex needs a scalar, not {_described(variables)}")
        return cls(*parse_frame_of_reference(_text(variable.values.item())), name)

    def create_variables(self, variables: Variables | None = None) -> dict[Any, xr.Variable]:
        """The coordinate; passed through if it is among `variables`."""
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
        """The one index of all, which stays a scalar."""
        for index in indexes[1:]:
            indexes[0]._insist_on(index)
        return indexes[0]

    def join(self, other: Self, how: str = "inner") -> Self:
        """This index, if the other is the same."""
        self._insist_on(other)
        return self

    def reindex_like(self, other: Self, **_: Any) -> dict[Hashable, Any]:
        """Nothing to reindex, if the other is the same."""
        self._insist_on(other)
        return {}

    def equals(self, other: xr.Index | None, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Whether UIDs are the same and orientations agree to within 1e-4.

        Within alignment (`exclude` is given) `DicomError` says what is not.
        """
        if not isinstance(other, FrameOfReferenceIndex):
            return False
        if exclude is not None:
            self._insist_on(other)
        return self.uid == other.uid and same_orientation(self.orientation, other.orientation)

    def rename(self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]) -> Self:
        """Index of the renamed coordinate."""
        return type(self)(self.uid, self.orientation, name_dict.get(self.name, self.name))

    def to_pandas_index(self) -> pd.Index[Any]:
        """The coordinate as an index of one label: `map_blocks` asks every index for it."""
        return pd.Index([str(self)], dtype=object, name=self.name)

    def __getitem__(self, at: Any) -> Self:
        return self

    def __str__(self) -> str:
        return frame_of_reference(self.uid, self.orientation)

    def __repr__(self) -> str:
        return f"FrameOfReferenceIndex({str(self)!r})"

    def _repr_inline_(self, max_width: int) -> str:
        return f"FrameOfReferenceIndex ({self})"[:max_width]

    def _insist_on(self, other: Self) -> None:
        if not self.equals(other):
            raise DicomError(
                f"frames of reference differ: {str(self)!r} and {str(other)!r}. Equal labels mean "
                f"different places in them; to combine anyway, drop_vars({str(self.name)!r}) first"
            )


def segment_coordinates(numbers: ArrayLike, labels: Sequence[str]) -> xr.Coordinates:
    """Coordinates ``segment`` and ``segment_label`` on dimension ``segment``, with their index.

    Parameters
    ----------
    numbers
        Segment Number (0062,0004) of each segment.
    labels
        Segment Label (0062,0005) of each segment.

    Raises
    ------
    DicomError
        If lengths differ, or a number has two labels.
    """
    integers = np.asarray(numbers, np.int64)
    texts = np.asarray(labels, object)
    if integers.shape != texts.shape:
        raise DicomError(f"{integers.size} segment numbers, but {texts.size} segment labels")
    index = SegmentIndex(integers, texts)
    _labels_by_number([index])
    return _coordinates(index, index.names)


def frame_of_reference_coordinates(uid: str, orientation: Sequence[float]) -> xr.Coordinates:
    """Scalar coordinate ``frame_of_reference`` with its index.

    Parameters
    ----------
    uid
        Frame of Reference UID (0020,0052), or what stands for it.
    orientation
        Six direction cosines, those of the rows first.
    """
    index = FrameOfReferenceIndex(uid, orientation)
    return _coordinates(index, (index.name,))


def _coordinates(
    index: SegmentIndex | FrameOfReferenceIndex, names: Iterable[Hashable]
) -> xr.Coordinates:
    return xr.Coordinates(index.create_variables(), indexes=dict.fromkeys(names, index))


def _labels_by_number(indexes: Iterable[SegmentIndex]) -> dict[int, str]:
    """The label of every number; `DicomError` if a number has two."""
    labels: dict[int, str] = {}
    for index in indexes:
        for number, label in zip(index.numbers.tolist(), index.labels, strict=True):
            known = labels.setdefault(number, label)
            if known != label:
                raise DicomError(
                    f"segment {number} is {known!r} and {label!r}: one number must have one label. "
                    f"Renumber, or drop_indexes({list(index.names)}) to combine by position"
                )
    return labels


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _described(variables: Variables) -> str:
    return ", ".join(f"{name!r} {v.dims} {v.dtype}" for name, v in variables.items())
