"""Objects that a user names, opened as datasets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from xarray_dicom.dataset import to_dataset
from xarray_dicom.errors import DicomError, located
from xarray_dicom.index_cache import (
    ENTRY_SUFFIX,
    CacheChoice,
    IndexCache,
    choose_cache,
    open_with_cache,
)
from xarray_dicom.instance import Instance
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.kinds import lay_out
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.parsing.value_errors import values_read
from xarray_dicom.pixels import require_decoder
from xarray_dicom.runtime import MEMORY_BUDGET, enter_loop, gather, run
from xarray_dicom.storage import ByteSource, expand, list_folder, open_source

#: Objects of a series whose headers are read at a time.
CONCURRENT_HEADERS = 100

#: First bytes of each object of a series: single-frame headers are small, and pixels follow.
FIRST_OF_MANY = 16 * 1024

#: First bytes of an object that was named by itself.
FIRST_OF_ONE = 256 * 1024


@dataclass(frozen=True)
class OpenOptions:
    """Keywords of the engine; see `xarray_dicom.backend.DicomBackendEntrypoint`."""

    mask_and_scale: bool | Mapping[str, bool] | None = None
    drop_variables: str | Iterable[str] | None = None
    storage_options: Mapping[str, Any] | None = None
    group: str | None = None
    slide_label: bool = False
    real_world: int | str | None = None
    memory_budget: int | None = None
    index_cache: CacheChoice = None
    decoder: str = "imagecodecs"
    decode_options: Mapping[str, Any] = field(default_factory=dict)


def open_image(obj: Any, options: OpenOptions) -> xr.Dataset:
    """Open the one image of `obj`, or the one in ``options.group``.

    Raises
    ------
    DicomError
        If there are several images, none of that name, or `obj` can't be read.
    """
    layouts, name = _layouts(obj, options)
    if options.group is not None:
        wanted = options.group.strip("/")
        if wanted not in layouts:
            raise DicomError(
                f"no group {options.group!r}; there are {_listed(layouts)}", location=name
            )
        return _dataset(layouts[wanted], options)
    if len(layouts) > 1:
        raise DicomError(
            f"holds {len(layouts)} images; choose one with group=, or open all with "
            f"open_datatree: {_listed(layouts)}",
            location=name,
        )
    (layout,) = layouts.values()
    return _dataset(layout, options)


def open_images(obj: Any, options: OpenOptions) -> dict[str, xr.Dataset]:
    """Open all images of `obj`, by their path in the tree; the root has attributes alone."""
    layouts, name = _layouts(obj, options)
    if options.group is not None:
        wanted = options.group.strip("/")
        layouts = {
            path: layout
            for path, layout in layouts.items()
            if path == wanted or path.startswith(f"{wanted}/")
        }
        if not layouts:
            raise DicomError(f"no group {options.group!r}", location=name)
    datasets = {f"/{path}": _dataset(layout, options) for path, layout in layouts.items()}
    if "/" not in datasets:
        datasets = {"/": _root(list(datasets.values())), **datasets}
    return datasets


def _root(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return a dataset without variables that has the attributes shared by all images."""
    first, *others = datasets
    attrs = {
        key: value
        for key, value in first.attrs.items()
        if all(other.attrs.get(key) == value for other in others)
    }
    root = xr.Dataset(attrs=attrs)
    root.encoding["source"] = first.encoding["source"]
    return root


def _dataset(layout: ImageLayout, options: OpenOptions) -> xr.Dataset:
    return to_dataset(
        layout,
        mask_and_scale=options.mask_and_scale,
        decode_options=options.decode_options,
        drop_variables=options.drop_variables,
    )


def _listed(layouts: Mapping[str, ImageLayout]) -> str:
    shapes = {
        path: " × ".join(f"{dim} {size}" for dim, size in layout.sizes.items())
        for path, layout in layouts.items()
    }
    return "; ".join(f"{path!r} ({shape})" for path, shape in shapes.items())


def _layouts(obj: Any, options: OpenOptions) -> tuple[dict[str, ImageLayout], str]:
    require_decoder(options.decoder)
    opened, alone = run(_open_all(obj, options))
    scale = options.mask_and_scale
    layout_options = LayoutOptions(
        scale=scale is not False,
        stored=frozenset(name for name, wanted in scale.items() if not wanted)
        if isinstance(scale, Mapping)
        else frozenset(),
        real_world=options.real_world,
        memory_budget=options.memory_budget or MEMORY_BUDGET,
        decoder=options.decoder,
        slide_label=options.slide_label or (options.group or "").split("/")[-1] == "label",
    )
    name = opened[0].location
    with located(name), values_read(OSError):
        return lay_out(opened, layout_options, alone=alone), name


async def _open_all(obj: Any, options: OpenOptions) -> tuple[list[Instance], bool]:
    """Open every instance that `obj` names; return also if it named a single object."""
    is_list = isinstance(obj, list | tuple)
    named = obj if is_list else open_source(obj, options.storage_options)
    sources = await expand(named, options.storage_options, skip=(ENTRY_SUFFIX,))
    cache = choose_cache(sources[0], options.index_cache)
    if is_list or len(sources) > 1 or sources[0].location != named.location:
        return await _open_many(sources, cache), False
    try:
        return [await open_with_cache(sources[0], cache, first=FIRST_OF_ONE)], True
    except (FileNotFoundError, IsADirectoryError):
        # A URL without a slash at its end may name a prefix: only a listing can tell.
        found = await list_folder(sources[0], skip=(ENTRY_SUFFIX,))
    return await _open_many(found, cache), False


async def _open_many(sources: Sequence[ByteSource], cache: IndexCache | None) -> list[Instance]:
    if not all(source.immediate for source in sources):
        await enter_loop()
    gate = asyncio.Semaphore(CONCURRENT_HEADERS)

    async def open_one(source: ByteSource) -> Instance:
        async with gate:
            return await open_with_cache(source, cache, first=FIRST_OF_MANY)

    return await gather(open_one(source) for source in sources)
