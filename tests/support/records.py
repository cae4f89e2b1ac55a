"""What two ways of opening an object must agree on."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import xarray as xr

from xarray_dicom.dataset import HANDLE, Handle


def _variable(array: xr.DataArray) -> list[Any]:
    handle: Handle = array.encoding[HANDLE]
    encoding = {name: str(told) for name, told in array.encoding.items() if name != HANDLE}
    described = (handle.sizes, str(handle.grid), handle.linear, handle.segments, handle.labels)
    frames = handle.array.frames
    return [
        array.dims,
        array.shape,
        str(array.dtype),
        repr(array.attrs),
        encoding,
        repr(described),
        # Pickled, an instance is its source, its version and its offsets.
        [pickle.dumps(instance) for instance in frames.sources],
        pickle.dumps(replace(frames, sources=())),
    ]


def difference(one: xr.DataTree, other: xr.DataTree) -> str:
    """Where two trees differ in anything but their pixels; empty if they don't."""
    paths = [[node.path for node in tree.subtree] for tree in (one, other)]
    if paths[0] != paths[1]:
        return f"groups {paths[0]} and {paths[1]}"
    for left, right in zip(one.subtree, other.subtree, strict=True):
        datasets = [node.to_dataset(inherit=False) for node in (left, right)]
        bare = [dataset.drop_vars(list(dataset.data_vars)) for dataset in datasets]
        if not bare[0].identical(bare[1]):
            return f"{left.path}: coordinates or attributes:\n{bare[0]}\n{bare[1]}"
        if list(datasets[0].data_vars) != list(datasets[1].data_vars):
            return f"{left.path}: variables"
        for name in datasets[0].data_vars:
            facts = [_variable(dataset[name]) for dataset in datasets]
            for first, second in zip(*facts, strict=True):
                if first != second:
                    return f"{left.path} {name}: {first!r:.500} and {second!r:.500}"
    return ""
