"""The accessor ``.dicom``: what only DICOM knows of an image.

This module is imported with the package, so what it delegates to waits until it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import xarray as xr

if TYPE_CHECKING:
    import highdicom
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from xarray_dicom.layout.frame_array import Overlap

Array = TypeVar("Array", bound=xr.Dataset | xr.DataArray)


class DicomAccessor(Generic[Array]):
    """Methods on datasets and arrays that the engine ``dicom`` opened.

    Parameters
    ----------
    obj
        A dataset with an image, or the image itself.
    """

    def __init__(self, obj: Array) -> None:
        self._obj = obj

    @property
    def _image(self) -> xr.DataArray:
        from xarray_dicom.accessor.handle import image_of

        return image_of(self._obj)

    @property
    def header(self) -> Dataset:
        """The complete header of the object, without pixel data; fetched anew.

        Raises
        ------
        DicomError
            If an operation dropped what tells the object, or if there are several.
        SourceChangedError
            If the object was replaced.
        """
        from xarray_dicom.accessor.headers import header_of

        return header_of(self._image)

    @property
    def headers(self) -> list[Dataset]:
        """The headers of all objects of a series, in the order of its planes; see `header`."""
        from xarray_dicom.accessor.headers import headers_of

        return headers_of(self._image)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Affine from array index ``(z, y, x, 1)`` to millimetres, 4 × 4, pixel centres.

        It follows the array's own coordinates, so it holds after selection, reversal and
        transposition; an axis without a coordinate (sheared planes have such) must be as it
        was opened. Of one plane the column of z is that of its stack, else the unit normal.

        Raises
        ------
        DicomError
            If the array has no position in a frame of reference, or no regular grid.
        """
        from xarray_dicom.accessor.geometry import affine_of

        return affine_of(self._image)

    @property
    def spacing(self) -> dict[str, float]:
        """Millimetres between pixel centres along each spatial dimension, by name.

        Raises
        ------
        DicomError
            If a spacing is not even, or not known.
        """
        from xarray_dicom.accessor.geometry import spacing_of

        return spacing_of(self._image)

    @property
    def segments(self) -> pd.DataFrame:
        """Descriptions of the segments (PS3.3 C.8.20.4), indexed by Segment Number.

        Raises
        ------
        DicomError
            If the object is no segmentation.
        """
        from xarray_dicom.accessor.headers import segments_of

        return segments_of(self._image)

    def labelmap(
        self,
        segments: Sequence[int | str] | int | str | None = None,
        overlap: Overlap = "error",
    ) -> xr.DataArray:
        """A lazy label map of a BINARY segmentation, built frame by frame.

        Parameters
        ----------
        segments
            Numbers or labels of the segments to paint; all that the array has if None.
        overlap
            What a pixel gets that several segments claim: an error when it is read, the
            ``"first"`` segment by number, or the ``"last"``.

        Returns
        -------
        DataArray
            Segment Numbers on ``[z] y x``, 0 where no segment is, with CF flags.

        Raises
        ------
        DicomError
            If the object is no segmentation by segment, or on overlap when values are read.
        KeyError
            If there is no such segment.
        """
        from xarray_dicom.accessor.labelmap import labelmap_of

        return labelmap_of(self._image, segments, overlap)

    def on_grid_of(self, other: xr.Dataset | xr.DataArray) -> Array:
        """This image on the grid of `other`: padded, cropped and reversed, never resampled.

        Parameters
        ----------
        other
            An image in the same frame of reference whose affine agrees with this one's to 1 %
            of a pixel at every corner.

        Returns
        -------
        Dataset or DataArray
            Lazy, as `other` along z, y and x. Where this image has no pixel it is filled with
            the value that stands for none (0, NaN or white).

        Raises
        ------
        DicomError
            If the grids or frames of reference differ; names the difference.
        """
        from xarray_dicom.accessor.grid import on_grid_of

        return on_grid_of(self._obj, other)

    def to_rgb(self) -> xr.DataArray:
        """The display form: 8-bit sRGB along a last dimension ``c``.

        Palettes and ICC profiles are applied; monochrome values go through the VOI LUT of the
        first plane's header, or its first window, or one as wide as the format (PS3.3 C.11.2);
        MONOCHROME1 is inverted. Lazy, but for the header.

        Raises
        ------
        DicomError
            If an operation dropped what tells the object.
        UnsupportedDicomError
            If the values have no display form: segmentations, real-world values.
        """
        from xarray_dicom.accessor.display import to_rgb

        return to_rgb(self._image)

    def mask_padding(self) -> Array:
        """NaN where pixels have the Pixel Padding Value (PS3.3 C.7.5.1.1.2). Lazy.

        Stored values tell, so that it is exact whatever they were rescaled to. Pixels of
        colour are padding where all samples are.

        Raises
        ------
        DicomError
            If an operation dropped what tells the object.
        """
        from xarray_dicom.accessor.padding import mask_padding

        masked = mask_padding(self._image)
        if isinstance(self._obj, xr.Dataset):
            return self._obj.assign({masked.name: masked})
        return cast(Array, masked)

    def to_highdicom(self) -> highdicom.Image | highdicom.seg.Segmentation:
        """The lazy `highdicom.Image` or `highdicom.seg.Segmentation` of the object.

        It reads through the same byte source: a frame in one request, many frames merged,
        with no block size to tune.
        """
        from xarray_dicom.accessor.handle import handle_of
        from xarray_dicom.accessor.highdicom import open_with_highdicom

        return open_with_highdicom(handle_of(self._image).sources)


class DicomTreeAccessor:
    """Methods on trees that the engine ``dicom`` opened.

    Parameters
    ----------
    tree
        The tree, or a node of it.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def __getattr__(self, name: str) -> Any:
        """What the accessor of the node's own dataset has."""
        if name.startswith("_") or not hasattr(DicomAccessor, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        from xarray_dicom.errors import DicomError

        if not self._tree.data_vars:
            children = ", ".join(f"{child!r}" for child in self._tree.children)
            raise DicomError(f"this node has no image; ask one of its children: {children}")
        return getattr(DicomAccessor(self._tree.to_dataset()), name)

    def __dir__(self) -> list[str]:
        return [name for name in dir(DicomAccessor) if not name.startswith("_")]


def register() -> None:
    """Make ``.dicom`` known to xarray."""
    registrations: tuple[tuple[Any, type], ...] = (
        (xr.register_dataset_accessor, DicomAccessor),
        (xr.register_dataarray_accessor, DicomAccessor),
        (xr.register_datatree_accessor, DicomTreeAccessor),
    )
    for decorator, accessor in registrations:
        decorator("dicom")(accessor)
