"""Accessor of trees."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xarray_dicom.accessor.array_accessor import DicomAccessor


class DicomTreeAccessor:
    """Methods of trees that the engine ``dicom`` opened, as ``.dicom``.

    A node with an image has those of `DicomAccessor`.

    Parameters
    ----------
    tree
        The tree, or a node of it.

    Examples
    --------
    >>> import xarray as xr
    >>> pyramid = xr.open_datatree("pyramid/", engine="dicom")
    >>> {name: round(node.dicom.spacing["x"], 6) for name, node in pyramid.children.items()}
    {'scale0': 0.0005, 'scale1': 0.001}
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the accessor of the node's own dataset.

        Raises
        ------
        AttributeError
            If that has no such attribute.
        DicomError
            If the node has no image; names its children.
        """
        if name.startswith("_") or not hasattr(DicomAccessor, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        from xarray_dicom.errors import DicomError

        if not self._tree.data_vars:
            children = ", ".join(f"{child!r}" for child in self._tree.children)
            raise DicomError(f"this node has no image; ask one of its children: {children}")
        return getattr(DicomAccessor(self._tree.to_dataset()), name)

    def __dir__(self) -> list[str]:
        return [name for name in dir(DicomAccessor) if not name.startswith("_")]
