"""Engine ``dicom`` of xarray: a signature and a delegation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from xarray.backends import BackendEntrypoint

if TYPE_CHECKING:
    import xarray as xr

    from xarray_dicom.opening import OpenOptions

#: First bytes of a local file behind its preamble of 128 bytes (PS3.10 7.1).
MAGIC = b"DICM"

SUFFIXES = (".dcm", ".dicom")

#: Keywords that are handed on to xarray's own decoding.
CF_KEYWORDS = (
    "decode_times",
    "concat_characters",
    "decode_coords",
    "use_cftime",
    "decode_timedelta",
)


class DicomBackendEntrypoint(BackendEntrypoint):
    """DICOM images as lazy, labelled, chunked arrays: the engine ``dicom`` of xarray.

    xarray finds it by its name in `xarray.open_dataset`, `xarray.open_datatree` and
    `xarray.open_groups`, whose own keywords (``chunks``, ``cache``, …) work as with every
    engine. All three take the parameters below.

    Other Parameters
    ----------------
    filename_or_obj
        URL of any protocol or chain that fsspec knows, local path, folder or prefix, glob
        pattern, `bytes`, open binary file, or a list of these. Several objects are one
        image if they are one series, the channels or focal planes of a slide, or parts of
        a concatenation.
    mask_and_scale
        True or None for modality values (PS3.3 C.11.1), or real-world ones of parametric
        maps, in float32 (from 32-bit integers float64); a rescale that changes nothing is
        none. False for stored values in their stored type. A mapping decides by the name
        of the variable.
    decode_times, concat_characters, decode_coords, use_cftime, decode_timedelta
        xarray's CF decoders, with the meaning that they have in `xarray.open_dataset`. No
        image holds what they decode, so they change nothing.
    drop_variables
        Names of variables and coordinates to leave out.
    storage_options
        Keywords of the fsspec filesystem, for a chain keyed by protocol as in fsspec; or
        ``{"store": store}`` with an `obstore.store.ObjectStore` that `filename_or_obj` is a
        path in. They are pickled with the dataset, secrets included.
    group
        Path of one image where there are several: ``"scale2"``, ``"overview"``,
        ``"label"`` of a slide, or a series. An error lists the groups there are.
    slide_label
        True to open the picture of a slide's label too, which may show a patient's name.
    real_world
        Real World Value Mapping (PS3.3 C.7.6.16.2.11) that gives the values: its position
        from 0, its LUT Label, or the UCUM code of its unit. None for modality values;
        parametric maps then take their first mapping.
    memory_budget
        Bytes that a process holds while it reads, fetched or being decoded; 256 MiB if
        None.
    index_cache
        Where headers and offsets of frames are recorded, so that opening again makes one
        request: a folder or URL, ``"sidecar"`` for files beside the objects, True for a
        folder of this user, False for nowhere. None for what the environment variable
        ``XARRAY_DICOM_INDEX_CACHE`` says, else True.
    decoder
        Decoder of compressed frames: ``"imagecodecs"``; ``"highdicom"``, which decodes
        with the plugins that pydicom finds; or the name of one that a package registered
        as an entry point in the group ``xarray_dicom.decoders``.

    Raises
    ------
    DicomError
        If there are several images and no `group`, or none of that name.
    NotDicomError
        If an object is no DICOM file.
    CorruptDicomError
        If bytes are missing, damaged or contradict each other.
    UnsupportedDicomError
        If it holds no image, or uses what can't be read; names that.
    FileNotFoundError, PermissionError
        If an object is missing or forbidden.

    Warns
    -----
    DicomWarning
        Of whatever was passed over, or is not as the standard says.

    Examples
    --------
    >>> import xarray as xr
    >>> ct = xr.open_dataset("ct/", engine="dicom", chunks={})
    >>> dict(ct.image.sizes), ct.image.dtype, ct.image.units
    ({'z': 9, 'y': 96, 'x': 80}, dtype('float32'), "[hnsf'U]")

    One image of several, or all of them as a tree:

    >>> overview = xr.open_dataset("pyramid/", engine="dicom", group="scale1")
    >>> overview.image.shape
    (150, 200, 3)
    >>> tree = xr.open_datatree("pyramid/", engine="dicom", chunks={})
    >>> list(tree.children)
    ['scale0', 'scale1']

    Anything that fsspec or obstore reaches:

    >>> xr.open_dataset(
    ...     "s3://bucket/slide.dcm", engine="dicom", storage_options={"anon": True}
    ... )  # doctest: +SKIP
    """

    # Every session of xarray makes an engine, so this module imports nothing heavy.

    description = "Open DICOM images (slides, segmentations, series) from any store"
    open_dataset_parameters = (
        "filename_or_obj",
        "mask_and_scale",
        *CF_KEYWORDS,
        "drop_variables",
        "storage_options",
        "group",
        "slide_label",
        "real_world",
        "memory_budget",
        "index_cache",
        "decoder",
    )
    supports_groups = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return True if this looks like a DICOM file.

        Parameters
        ----------
        filename_or_obj
            URLs are judged by their suffix, ``.dcm`` or ``.dicom``; local files and `bytes`
            also by the ``DICM`` behind their preamble (PS3.10 7.1). Anything else is no file.

        Returns
        -------
        bool
            No request is made, and no error raised.

        Examples
        --------
        >>> engine = DicomBackendEntrypoint()
        >>> engine.guess_can_open("s3://images/slide.dcm"), engine.guess_can_open("report.pdf")
        (True, False)
        """
        try:
            if isinstance(filename_or_obj, (str, os.PathLike)):
                path = os.fspath(filename_or_obj)
                if not isinstance(path, str):
                    return False
                if path.partition("?")[0].lower().endswith(SUFFIXES):
                    return True
                if "://" in path or "::" in path or not os.path.isfile(path):
                    return False
                with open(path, "rb") as file:
                    return file.read(132)[128:] == MAGIC
            if isinstance(filename_or_obj, bytes):
                return filename_or_obj[128:132] == MAGIC
        except (OSError, ValueError, TypeError):
            pass
        return False

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: bool | Mapping[str, bool] | None = None,
        decode_times: bool | Mapping[str, bool] | None = None,
        concat_characters: bool | Mapping[str, bool] | None = None,
        decode_coords: bool | str | None = None,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | Mapping[str, bool] | None = None,
        decode_timedelta: bool | Mapping[str, bool] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        group: str | None = None,
        slide_label: bool = False,
        real_world: int | str | None = None,
        memory_budget: int | None = None,
        index_cache: bool | str | os.PathLike[str] | None = None,
        decoder: str = "imagecodecs",
    ) -> xr.Dataset:
        """Open one image.

        Parameters
        ----------
        filename_or_obj, mask_and_scale, …, decoder
            As the class explains them.

        Returns
        -------
        Dataset
            One variable, ``image``, ``segmentation`` or ``parametric_map``, whose pixels are
            read when they are asked for, and its coordinates, in millimetres along z, y and x.

        Raises
        ------
        DicomError, OSError
            As the class lists them.

        Examples
        --------
        >>> xr.open_dataset("ct/", engine="dicom", mask_and_scale=False).image.dtype
        dtype('uint16')
        """
        return _open_image(
            filename_or_obj,
            mask_and_scale=mask_and_scale,
            decode_times=decode_times,
            concat_characters=concat_characters,
            decode_coords=decode_coords,
            drop_variables=drop_variables,
            use_cftime=use_cftime,
            decode_timedelta=decode_timedelta,
            storage_options=storage_options,
            group=group,
            slide_label=slide_label,
            real_world=real_world,
            memory_budget=memory_budget,
            index_cache=index_cache,
            decoder=decoder,
        )

    def open_groups_as_dict(self, filename_or_obj: Any, **options: Any) -> dict[str, xr.Dataset]:
        """Open all images, by their path in the tree.

        Parameters
        ----------
        filename_or_obj, **options
            As for `open_dataset`; with `group` the images at and below that path alone.

        Returns
        -------
        dict of str to Dataset
            ``"/"`` holds the attributes that all images share, and the image if there is one
            alone; ``"/scale0"``, … the levels of a pyramid, finest first.

        Raises
        ------
        TypeError
            If there is no such keyword.
        DicomError
            As `open_dataset` does.

        Examples
        --------
        >>> import xarray as xr
        >>> list(xr.open_groups("pyramid/", engine="dicom"))
        ['/', '/scale0', '/scale1']
        """
        from xarray_dicom.opening import open_images

        return open_images(filename_or_obj, _open_options("open_groups", options))

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> xr.DataTree:
        """Open all images as a tree.

        Parameters
        ----------
        filename_or_obj, **options
            As for `open_dataset`; with `group` the images at and below that path alone.

        Returns
        -------
        DataTree
            Nodes as in `open_groups_as_dict`.

        Raises
        ------
        TypeError
            If there is no such keyword.
        DicomError
            As `open_dataset` does.

        Examples
        --------
        >>> import xarray as xr
        >>> tree = xr.open_datatree("pyramid/", engine="dicom", chunks={})
        >>> {name: node.image.shape for name, node in tree.children.items()}
        {'scale0': (300, 400, 3), 'scale1': (150, 200, 3)}
        """
        import xarray as xr

        from xarray_dicom.opening import open_images

        groups = open_images(filename_or_obj, _open_options("open_datatree", options))
        return xr.DataTree.from_dict(groups)


def _open_image(filename_or_obj: Any, **options: Any) -> xr.Dataset:
    from xarray_dicom.opening import open_image

    return open_image(filename_or_obj, _open_options("open_dataset", options))


def _open_options(function: str, keywords: Mapping[str, Any]) -> OpenOptions:
    """Return the options that keywords of the engine stand for.

    Raises
    ------
    TypeError
        If there is no such keyword.
    """
    from xarray_dicom.opening import OpenOptions

    names = DicomBackendEntrypoint.open_dataset_parameters[1:]
    unknown = [name for name in keywords if name not in names]
    if unknown:
        raise TypeError(
            f"{function} of engine 'dicom' has no keyword {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(names)}"
        )
    given = {name: value for name, value in keywords.items() if name not in CF_KEYWORDS}
    decode_options = {
        name: keywords[name] for name in CF_KEYWORDS if keywords.get(name) is not None
    }
    return OpenOptions(**given, decode_options=decode_options)
