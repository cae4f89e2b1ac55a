"""One small object or series of every kind that the engine presents differently."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import highdicom
import numpy as np
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from support.counting import CountingFileSystem
from support.generate.attributes import Target, uid, write
from support.generate.multiframe import cine, enhanced_mr, legacy_enhanced_ct
from support.generate.segmentation import multi_organ_segmentation, slide_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide

#: A coarse grid over the whole phantom.
SHAPE = (24, 32)
SPACING = (20.0, 12.0, 12.0)


@dataclass(frozen=True)
class Kind:
    """Objects that make one image.

    Attributes
    ----------
    name
        Names it in tests.
    objects
        By file name.
    variable, dims
        What the contract says it opens as.
    has_table
        Whether frames can be found without reading all items.
    """

    name: str
    objects: dict[str, bytes]
    variable: str
    dims: tuple[str, ...]
    has_table: bool = True

    def put(self) -> str:
        """Store it in the counting filesystem; returns the URL to open."""
        folder = f"counted://{self.name}/"
        if not CountingFileSystem().exists(folder):
            for name, content in self.objects.items():
                CountingFileSystem.put(f"{self.name}/{name}", content)
        return f"{folder}object.dcm" if len(self.objects) == 1 else folder


def content(write_to: Callable[[Target], object]) -> bytes:
    """The bytes of what is written to a file."""
    file = io.BytesIO()
    write_to(file)
    return file.getvalue()


def _series() -> dict[str, bytes]:
    planes = ct_series(None, planes=5, shape=SHAPE, spacing=SPACING)
    return {
        f"{plane.InstanceNumber:04d}.dcm": content(
            lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian)
        )
        for plane in planes
    }


def _segmentation(kind: str) -> bytes:
    planes = ct_series(None, planes=6, shape=SHAPE, spacing=SPACING, shuffle=False)
    for plane in planes:
        content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
    organs = ("Liver", "Spleen", "Aorta")
    return content(
        lambda file: multi_organ_segmentation(file, planes, organs=organs, segmentation_type=kind)
    )


def _slide_segmentation() -> bytes:
    below = dcmread(io.BytesIO(content(lambda file: slide(file, shape=(150, 200), tile=64))))
    return content(
        lambda file: slide_segmentation(
            file, below, tile=(37, 53), organization="TILED_SPARSE", segmentation_type="BINARY"
        )
    )


def _parametric_map() -> bytes:
    planes = ct_series(None, planes=3, shape=SHAPE, shuffle=False)
    for plane in planes:
        content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
    values = np.random.default_rng(5).normal(size=(3, *SHAPE)).astype(np.float32)
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label="1",
        lut_explanation="a map",
        unit=codes.UCUM.NoUnits,
        value_range=(-100.0, 100.0),
        slope=1,
        intercept=0,
    )
    written = highdicom.pm.ParametricMap(
        source_images=planes,
        pixel_array=values,
        series_instance_uid=uid("parametric map", "series"),
        series_number=4,
        sop_instance_uid=uid("parametric map"),
        instance_number=1,
        manufacturer="xarray-dicom",
        manufacturer_model_name="generator",
        software_versions="1",
        device_serial_number="1",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[highdicom.VOILUTTransformation(window_center=0, window_width=1)],
    )
    return content(written.save_as)


def _slide(shape: tuple[int, int] = (150, 200), **options: Any) -> Callable[[], bytes]:
    return lambda: content(lambda file: slide(file, shape=shape, tile=64, **options))


def _single() -> bytes:
    return _series()["0001.dcm"]


def _enhanced_ct() -> bytes:
    planes = ct_series(None, planes=4, shape=SHAPE, spacing=SPACING, shuffle=False)
    return content(lambda file: legacy_enhanced_ct(file, planes))


_YX = ("y", "x")
_YXC = ("y", "x", "c")
_SEGMENTS = ("segment", "z", "y", "x")

_MAKERS: dict[str, tuple[Callable[[], bytes | dict[str, bytes]], str, tuple[str, ...], bool]] = {
    "slide-eot": (_slide(), "image", _YXC, True),
    "slide-bot": (_slide(offset_table="bot"), "image", _YXC, True),
    # Larger than what opening fetches, so that its items are not at hand.
    "slide-no-table": (_slide((640, 640), offset_table="none"), "image", _YXC, False),
    "slide-channels": (_slide(paths=3, codec="native"), "image", ("optical_path", *_YX), True),
    "slide-focal": (_slide(focal_planes=2, codec="j2k"), "image", ("z", *_YXC), True),
    "segmentation": (lambda: _segmentation("BINARY"), "segmentation", _SEGMENTS, True),
    "fractional": (lambda: _segmentation("FRACTIONAL"), "segmentation", _SEGMENTS, True),
    "labelmap": (lambda: _segmentation("LABELMAP"), "segmentation", ("z", *_YX), True),
    "slide-segmentation": (_slide_segmentation, "segmentation", ("segment", *_YX), True),
    "series": (_series, "image", ("z", *_YX), True),
    "enhanced-ct": (_enhanced_ct, "image", ("z", *_YX), True),
    "enhanced-mr": (
        lambda: content(enhanced_mr),
        "image",
        ("temporal_position", "echo_time", "z", *_YX),
        True,
    ),
    "cine": (
        lambda: content(lambda file: cine(file, frames=4, shape=(48, 64))),
        "image",
        ("frame", *_YXC),
        True,
    ),
    "single": (_single, "image", _YX, True),
    "parametric-map": (_parametric_map, "parametric_map", ("z", *_YX), True),
}

NAMES = tuple(_MAKERS)
WITH_TABLE = tuple(name for name, (*_, has_table) in _MAKERS.items() if has_table)


@functools.cache
def kind(name: str) -> Kind:
    """The kind of this name; made once per test process."""
    make, variable, dims, has_table = _MAKERS[name]
    made = make()
    objects = {"object.dcm": made} if isinstance(made, bytes) else made
    return Kind(name, objects, variable, dims, has_table)
