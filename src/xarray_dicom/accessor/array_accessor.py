"""Accessor of datasets and arrays: headers, positions, and DICOM's own forms of an image.

Importing the package imports this module, so the modules that do the work are imported when
they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast

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
    """Methods of datasets and arrays that the engine ``dicom`` opened, as ``.dicom``.

    Parameters
    ----------
    obj
        A dataset with an image, or the image itself.

    Examples
    --------
    >>> import xarray as xr
    >>> ct = xr.open_dataset("ct/", engine="dicom", chunks={})
    >>> ct.dicom.spacing
    {'z': 20.0, 'y': 4.0, 'x': 4.0}
    """

    def __init__(self, obj: Array) -> None:
        self._obj = obj

    @property
    def _image(self) -> xr.DataArray:
        from xarray_dicom.accessor.handle import image_of

        return image_of(self._obj)

    @property
    def header(self) -> Dataset:
        """Complete header of the object, without pixel data; read again at each use.

        Returns
        -------
        pydicom.dataset.Dataset
            File meta information and data set, with the functional groups of all frames. It
            names the patient, as the object does.

        Raises
        ------
        DicomError
            If an operation dropped the handle of the object, if there are several objects
            (see `headers`), or if its frames are served without a header.
        SourceChangedError
            If the object was replaced after it was opened.

        Examples
        --------
        >>> organs = xr.open_dataset("organs.dcm", engine="dicom")
        >>> organs.dicom.header.SegmentSequence[0].SegmentLabel
        'Liver'
        """
        from xarray_dicom.accessor.headers import header_of

        return header_of(self._image)

    @property
    def headers(self) -> list[Dataset]:
        """Complete headers of all objects, in the order of their planes.

        Returns
        -------
        list of pydicom.dataset.Dataset
            One for each object that was opened, also after a selection; see `header`.

        Raises
        ------
        DicomError
            If an operation dropped the handle of the objects, or if frames are served
            without a header.
        SourceChangedError
            If an object was replaced after it was opened.

        Examples
        --------
        >>> ct = xr.open_dataset("ct/", engine="dicom")
        >>> [int(header.InstanceNumber) for header in ct.dicom.headers]
        [1, 2, 3, 4, 5, 6, 7, 8, 9]
        """
        from xarray_dicom.accessor.headers import headers_of

        return headers_of(self._image)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Affine from array index to millimetres in the frame of reference (PS3.3 C.7.6.2.1.1).

        It follows the coordinates of the array, so it holds after selection, reversal and
        transposition. An axis without a coordinate (that of sheared planes) must be as it was
        opened. For one plane the column of z is that of its stack, else the unit normal.

        Returns
        -------
        ndarray
            4 × 4, float64: multiplied by ``(z, y, x, 1)`` it gives the centre of that pixel,
            ``(x, y, z, 1)`` of the patient (LPS) or the slide.

        Raises
        ------
        DicomError
            If the array has no position in a frame of reference, or no regular grid.

        Examples
        --------
        >>> ct = xr.open_dataset("ct/", engine="dicom")
        >>> ct.dicom.affine[:3, 3]
        array([-179.25, -119.25,  -57.5 ])
        >>> ct.isel(x=slice(10, None)).dicom.affine[:3, 3]
        array([-139.25, -119.25,  -57.5 ])
        """
        from xarray_dicom.accessor.affine import affine_of

        return affine_of(self._image)

    @property
    def spacing(self) -> dict[str, float]:
        """Millimetres between pixel centres along each spatial dimension, by name.

        Returns
        -------
        dict of str to float
            For those of ``z``, ``y`` and ``x`` that the array has.

        Raises
        ------
        DicomError
            If a spacing is not even to 1 %, or nothing states it.

        Examples
        --------
        >>> ct = xr.open_dataset("ct/", engine="dicom")
        >>> ct.isel(z=0, x=slice(None, None, 2)).dicom.spacing
        {'y': 4.0, 'x': 8.0}
        """
        from xarray_dicom.accessor.affine import spacing_of

        return spacing_of(self._image)

    @property
    def segments(self) -> pd.DataFrame:
        """Descriptions of the segments of a segmentation (PS3.3 C.8.20.4).

        Returns
        -------
        pandas.DataFrame
            Label, category, type, algorithm type and tracking identifiers, indexed by Segment
            Number.

        Raises
        ------
        DicomError
            If the object is no segmentation, or an operation dropped its handle.

        Examples
        --------
        >>> organs = xr.open_dataset("organs.dcm", engine="dicom")
        >>> organs.dicom.segments.segment_label.to_dict()
        {1: 'Liver', 2: 'Spleen', 3: 'Aorta'}
        """
        from xarray_dicom.accessor.headers import segments_of

        return segments_of(self._image)

    def labelmap(
        self,
        segments: Sequence[int | str] | int | str | None = None,
        overlap: Overlap = "error",
    ) -> xr.DataArray:
        """Return a label map of a BINARY segmentation, painted frame by frame when it is read.

        Parameters
        ----------
        segments
            Numbers or labels of the segments to paint; all of the array if None.
        overlap
            Label of a pixel that several segments claim: ``"first"`` or ``"last"`` by number,
            or ``"error"``.

        Returns
        -------
        DataArray
            Segment Numbers on ``[z] y x``, 0 where no segment is, with CF flags; chunked if
            this array is.

        Raises
        ------
        DicomError
            If the object is no segmentation by segment; when values are read, if segments
            overlap.
        KeyError
            If there is no such segment.

        Examples
        --------
        >>> organs = xr.open_dataset("organs.dcm", engine="dicom")
        >>> labels = organs.dicom.labelmap(["Liver", "Aorta"], overlap="first")
        >>> labels.dims, np.unique(labels)
        (('z', 'y', 'x'), array([0, 1, 3], dtype=uint8))
        """
        from xarray_dicom.accessor.labelmap import labelmap_of

        return labelmap_of(self._image, segments, overlap)

    def on_grid_of(self, other: xr.Dataset | xr.DataArray) -> Array:
        """Return this image on the grid of another: padded, cropped, reversed, never resampled.

        Parameters
        ----------
        other
            An image in the same frame of reference whose affine agrees with this one's to 1 %
            of a pixel at every corner.

        Returns
        -------
        Dataset or DataArray
            Lazy, with the shape and coordinates of `other` along z, y and x; 0, NaN or white
            where this image has no pixel.

        Raises
        ------
        DicomError
            If grids or frames of reference differ; names the difference.

        Examples
        --------
        >>> ct = xr.open_dataset("ct/", engine="dicom", chunks={})
        >>> organs = xr.open_dataset("organs.dcm", engine="dicom", chunks={})
        >>> masks = organs.dicom.on_grid_of(ct)
        >>> organs.sizes["z"], masks.sizes["z"], ct.sizes["z"]
        (5, 9, 9)
        """
        from xarray_dicom.accessor.on_grid import on_grid_of

        return on_grid_of(self._obj, other)

    def to_rgb(self) -> xr.DataArray:
        """Return the form for display: 8-bit sRGB along a last dimension ``c``.

        Palettes and ICC profiles are applied. Monochrome values go through the VOI LUT of the
        first plane's header, or its first window, or one as wide as the pixel format (PS3.3
        C.11.2); MONOCHROME1 is inverted.

        Returns
        -------
        DataArray
            uint8, lazy or chunked as this array; only the header is read at once.

        Raises
        ------
        DicomError
            If an operation dropped the handle of the object, or if its frames are served
            without a header.
        CorruptDicomError
            If its palette, VOI LUT or ICC profile can't be used.
        UnsupportedDicomError
            If the values have no display form: segmentations, real-world values.

        Examples
        --------
        >>> ct = xr.open_dataset("ct/", engine="dicom")
        >>> shown = ct.isel(z=4).dicom.to_rgb()
        >>> dict(shown.sizes), shown.dtype
        ({'y': 96, 'x': 80, 'c': 3}, dtype('uint8'))
        """
        from xarray_dicom.accessor.display import to_rgb

        return to_rgb(self._image)

    def mask_padding(self) -> Array:
        """Return the image with NaN for the Pixel Padding Value (PS3.3 C.7.5.1.1.2).

        Stored values are compared, so that it is exact whatever they were rescaled to. Pixels
        of colour are padding where all samples are.

        Returns
        -------
        Dataset or DataArray
            Lazy, in floats; as it was where the object has no such value.

        Raises
        ------
        DicomError
            If an operation dropped the handle of the object.

        Examples
        --------
        >>> ct = xr.open_dataset("ct/", engine="dicom")
        >>> "pixel_padding_value" in ct.image.attrs
        False
        >>> ct.dicom.mask_padding().identical(ct)
        True
        """
        from xarray_dicom.accessor.padding import mask_padding

        masked = mask_padding(self._image)
        if isinstance(self._obj, xr.Dataset):
            return self._obj.assign({masked.name: masked})
        return cast(Array, masked)

    def to_highdicom(self) -> highdicom.Image | highdicom.seg.Segmentation:
        """Return the object as highdicom's own, whose frames are read when they are needed.

        It reads through the frame source of this array: a frame in one request, many frames
        in merged ones, with no block size to choose.

        Returns
        -------
        highdicom.Image, highdicom.pm.ParametricMap or highdicom.seg.Segmentation
            Of the whole object, also after a selection. It pickles.

        Raises
        ------
        DicomError
            If an operation dropped the handle of the object, if there are several objects, or
            if its frames are served without a header.
        UnsupportedDicomError
            If highdicom does not take the object; chains its error.
        SourceChangedError
            If the object was replaced after it was opened.

        Examples
        --------
        >>> organs = xr.open_dataset("organs.dcm", engine="dicom")
        >>> organs.dicom.to_highdicom().get_volume(segment_numbers=[1]).shape
        (5, 96, 80, 1)
        """
        from xarray_dicom.accessor.handle import handle_of
        from xarray_dicom.accessor.highdicom import open_with_highdicom

        return open_with_highdicom(handle_of(self._image).sources)
