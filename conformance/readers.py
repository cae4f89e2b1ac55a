"""Readers: functions that return the planes of a file, or raise any error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import openslide
import pydicom
import wsidicom
import xarray as xr
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from conformance.planes import Place, Plane, Planes, is_tiled, planes_of_frames, planes_of_tree

#: Options under which highdicom returns modality values, as the engine does.
PLAIN: dict[str, Any] = {
    "apply_presentation_lut": False,
    "apply_voi_transform": False,
    "apply_palette_color_lut": False,
    "apply_icc_profile": False,
}


_PYLIBJPEG = ("pylibjpeg", ("pydicom.pixels.decoders.pylibjpeg", "_decode_frame"))


@dataclass(frozen=True)
class Reader:
    """Another reader that the engine is compared with.

    Attributes
    ----------
    name
        Name on the page.
    read
        Function from path and header of a file to its planes.
    scaled
        True if it returns modality values, False for stored values.
    slides_only
        True if it reads only whole slides.
    folders
        True if it reads several files as one image.
    """

    name: str
    read: Callable[[Path, Dataset], Planes]
    scaled: bool = False
    slides_only: bool = False
    folders: bool = False

    def takes(self, path: Path, tiled: bool) -> bool:
        """Return True if the reader is made for such files."""
        return (tiled or not self.slides_only) and (self.folders or not path.is_dir())


def read_with_engine(path: Path, tiled: bool, scaled: bool) -> Planes:
    """Return all planes of a file by this package.

    Parameters
    ----------
    path
        A file, or a folder of the files of one image.
    tiled
        True if the frames make up a total pixel matrix.
    scaled
        True for modality values, False for stored values.
    """
    tree = xr.open_datatree(path, engine="dicom", mask_and_scale=scaled, slide_label=True)
    return planes_of_tree(tree, tiled)


@contextmanager
def jpeg_by_libjpeg_turbo(header: Dataset) -> Iterator[None]:
    """Let pydicom decode JPEG of 8 bits by Pillow: decoders interpolate chroma differently."""
    decoders = [get_decoder(syntax) for syntax in (JPEGBaseline8Bit, JPEGExtended12Bit)]
    if header.get("BitsStored") != 8:
        decoders = []
    decoders = [each for each in decoders if _PYLIBJPEG[0] in each.available_plugins]
    for decoder in decoders:
        decoder.remove_plugin(_PYLIBJPEG[0])
    try:
        yield
    finally:
        for decoder in decoders:
            decoder.add_plugin(*_PYLIBJPEG)


def read_with_pydicom(path: Path, header: Dataset) -> Planes:
    """Return frames by pydicom, colour as RGB; those of a concatenation in order."""
    if not path.is_dir():
        return planes_of_frames(header, _frames_by_pydicom(header))
    parts = [read_header(part) for part in path.iterdir()]
    if any("ConcatenationFrameOffsetNumber" not in part for part in parts):
        raise NotImplementedError("several files that are no concatenation")
    parts.sort(key=lambda part: int(part.ConcatenationFrameOffsetNumber))
    return planes_of_frames(header, [frame for part in parts for frame in _frames_by_pydicom(part)])


def _frames_by_pydicom(header: Dataset) -> list[Plane]:
    pixels = pixel_array(header)
    colour = int(header.get("SamplesPerPixel") or 1) > 1
    return [pixels] if pixels.ndim == 2 + colour else list(pixels)


def read_with_highdicom(path: Path, header: Dataset) -> Planes:
    """Return frames or total pixel matrices by highdicom, as modality values."""
    if is_tiled(header):
        return _matrices_by_highdicom(path, header)
    image = highdicom.imread(path)
    colour = image.SamplesPerPixel == 3
    dtype: Any = np.float64 if header.BitsAllocated == 32 else np.float32
    if colour:
        dtype = image.pixel_array.dtype
    frames = [
        image.get_frame(number, dtype=dtype, **PLAIN)
        for number in range(1, image.number_of_frames + 1)
    ]
    if header.get("SegmentationType") == "FRACTIONAL":
        frames = [frame / np.float32(header.MaximumFractionalValue) for frame in frames]
    return planes_of_frames(header, frames)


def _matrices_by_highdicom(path: Path, header: Dataset) -> Planes:
    if "SegmentSequence" not in header:
        image = highdicom.imread(path)
        dtype = np.uint8 if image.SamplesPerPixel == 3 else np.float32
        return {Place(None, "", 0.0): [image.get_total_pixel_matrix(dtype=dtype, **PLAIN)]}
    labelled = header.SegmentationType == "LABELMAP"
    options: dict[str, Any] = {"combine_segments": labelled}
    if header.SegmentationType == "FRACTIONAL":
        options["rescale_fractional"] = True
    masks = highdicom.seg.segread(path).get_total_pixel_matrix(**options)
    if labelled:
        return {Place(None, "", 0.0): [masks]}
    return {Place(i + 1, "", 0.0): [masks[..., i]] for i in range(masks.shape[-1])}


def read_with_openslide(path: Path, header: Dataset) -> Planes:
    """Return the level of a slide that is in a file, by openslide."""
    size = (int(header.TotalPixelMatrixColumns), int(header.TotalPixelMatrixRows))
    with openslide.OpenSlide(path) as slide:
        level = slide.level_dimensions.index(size)
        # Regions are addressed in pixels of the finest level; the corner is 0, 0 in each.
        region = np.asarray(slide.read_region((0, 0), level, size))
    return {Place(None, "", 0.0): [region[..., :3]]}


def read_with_wsidicom(path: Path, header: Dataset) -> Planes:
    """Return the optical paths and focal planes of a slide by wsidicom."""
    planes: Planes = {}
    with wsidicom.WsiDicom.open(path) as slide:
        level = slide.levels[0]
        several = len(level.optical_paths) > 1
        for identifier in level.optical_paths:
            for focal, z in enumerate(sorted(level.focal_planes)):
                size = (level.size.width, level.size.height)
                region = slide.read_region((0, 0), level.level, size, z=z, path=identifier)
                planes[Place(None, identifier if several else "", float(focal))] = [
                    np.asarray(region)
                ]
    return planes


READERS = (
    Reader("pydicom", read_with_pydicom, folders=True),
    Reader("highdicom", read_with_highdicom, scaled=True),
    Reader("openslide", read_with_openslide, slides_only=True),
    Reader("wsidicom", read_with_wsidicom, slides_only=True, folders=True),
)


def read_header(path: Path) -> Dataset:
    """Return the data set of a file, or of one file of a folder, by pydicom."""
    if path.is_dir():
        path = min(path.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)
