"""A package that registers decoders, installed in a folder as pip would do it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xarray_dicom.pixels import decoders

DISTRIBUTION = "test_decoders_of_others"
MODULE = "decoders_of_others"

#: Decodes JPEG, and inverts it, so that pixels tell who decoded them.
_SOURCE = '''
"""Decoders for tests."""

import imagecodecs

from xarray_dicom import UnsupportedDicomError

#: Frames of each batch that was decoded here.
batches = []

#: An entry point to something that is no function.
NUMBER = 7


def decode_inverted(codestreams, format, out):
    assert out.shape == (len(codestreams), *format.shape)
    assert out.dtype == format.dtype
    assert out.flags.c_contiguous
    batches.append(len(codestreams))
    for codestream, frame in zip(codestreams, out):
        frame[...] = 255 - imagecodecs.jpeg8_decode(bytes(codestream))


def refuse(codestreams, format, out):
    raise UnsupportedDicomError(f"{format.transfer_syntax} is not decoded by graphics cards")
'''

_ENTRY_POINTS = f"""
[{decoders.ENTRY_POINTS}]
inverted = {MODULE}:decode_inverted
refusing = {MODULE}:refuse
missing = {MODULE}:no_such_function
number = {MODULE}:NUMBER
imagecodecs = {MODULE}:refuse
"""


def write_package(folder: Path) -> Path:
    """Write the package and its metadata to a folder, which then only has to be on the path."""
    metadata = folder / f"{DISTRIBUTION}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(_ENTRY_POINTS)
    (folder / f"{MODULE}.py").write_text(_SOURCE)
    return folder


@contextmanager
def installed_decoders(folder: Path) -> Iterator[Path]:
    """Have the package installed in a folder, for this process and those that it spawns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(write_package(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        decoders._registered.cache_clear()
        try:
            yield folder
        finally:
            sys.modules.pop(MODULE, None)
            decoders._registered.cache_clear()
