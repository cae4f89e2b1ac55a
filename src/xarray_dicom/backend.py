"""The engine: a signature and a delegation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from xarray.backends import BackendEntrypoint

if TYPE_CHECKING:
    import xarray as xr

#: What a local file starts with, after its preamble (PS3.10 7.1).
MAGIC = b"DICM"

SUFFIXES = (".dcm", ".dicom")

#: Keywords that xarray's own decoding takes.
DECODERS = (
    "decode_times",
    "concat_characters",
    "decode_coords",
    "use_cftime",
    "decode_timedelta",
)


class DicomBackendEntrypoint(BackendEntrypoint):
    """DICOM images as lazy, labelled, chunked arrays.

    Discovered by xarray as ``engine="dicom"``. Every xarray session makes one, so this
    module imports nothing heavy.
    """

    description = "Open DICOM images (slides, segmentations, series) from any store"
    open_dataset_parameters = (
        "filename_or_obj",
        "mask_and_scale",
        *DECODERS,
        "drop_variables",
        "storage_options",
        "group",
        "slide_label",
        "real_world",
        "memory_budget",
        "index_cache",
    )
    supports_groups = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this looks like a DICOM file: by suffix for URLs, by content for local files."""
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
    ) -> xr.Dataset:
        """Open one image; see `xarray_dicom.opening.open_image`."""
        from xarray_dicom.opening import OpenOptions, open_image

        decoders = zip(
            DECODERS,
            (decode_times, concat_characters, decode_coords, use_cftime, decode_timedelta),
            strict=True,
        )
        options = OpenOptions(
            mask_and_scale=mask_and_scale,
            drop_variables=drop_variables,
            storage_options=storage_options,
            group=group,
            slide_label=slide_label,
            real_world=real_world,
            memory_budget=memory_budget,
            index_cache=index_cache,
            decode_options={name: given for name, given in decoders if given is not None},
        )
        return open_image(filename_or_obj, options)

    def open_groups_as_dict(self, filename_or_obj: Any, **options: Any) -> dict[str, xr.Dataset]:
        """Open every image, by path in the tree; keywords as in `open_dataset`."""
        from xarray_dicom.opening import OpenOptions, open_images

        decoders = {name: options.pop(name) for name in tuple(options) if name in DECODERS}
        given = {name: value for name, value in decoders.items() if value is not None}
        return open_images(filename_or_obj, OpenOptions(**options, decode_options=given))

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> xr.DataTree:
        """Open every image as a tree; keywords as in `open_dataset`."""
        import xarray as xr

        return xr.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, **options))
