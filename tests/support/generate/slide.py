"""VL Whole Slide Microscopy Images, TILED_FULL (PS3.3 A.32.8, C.8.12.4)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    VLWholeSlideMicroscopyImageStorage,
)

from .attributes import Target, code, header_bytes, instance, uid, write
from .texture import GLASS, histology

SPACING = 0.0005
FOCAL_STEP = 0.002
ORIGIN = (20.0, 40.0)
WAVELENGTHS = (461.0, 520.0, 617.0)


def jpeg_rgb(pixels: NDArray[np.uint8]) -> bytes:
    """JPEG baseline of untransformed RGB that bears no sign of it.

    Neither an Adobe marker nor component names tell a decoder that these are not YCbCr:
    only the Photometric Interpretation does, as in most slides of the public archives.
    """
    stream = bytearray(
        imagecodecs.jpeg8_encode(
            pixels, level=85, colorspace="rgb", outcolorspace="rgb", subsampling="444"
        )
    )
    adobe = stream.find(b"\xff\xee")
    if adobe > 0:
        length = int.from_bytes(stream[adobe + 2 : adobe + 4])
        del stream[adobe : adobe + 2 + length]
    frame_header, scan_header = stream.index(b"\xff\xc0"), stream.index(b"\xff\xda")
    for component in range(3):
        stream[frame_header + 10 + 3 * component] = component + 1
        stream[scan_header + 5 + 2 * component] = component + 1
    return bytes(stream)


@dataclass(frozen=True)
class Coding:
    """How the frames of a slide are compressed."""

    transfer_syntax: UID
    photometric: str
    encode: Callable[[NDArray[np.uint8]], bytes]
    lossy: str | None = None


CODINGS = {
    "jpeg-rgb": Coding(JPEGBaseline8Bit, "RGB", jpeg_rgb, "ISO_10918_1"),
    "jpeg-ybr422": Coding(
        JPEGBaseline8Bit,
        "YBR_FULL_422",
        functools.partial(imagecodecs.jpeg8_encode, level=85, subsampling="422"),
        "ISO_10918_1",
    ),
    "jpeg": Coding(
        JPEGBaseline8Bit,
        "MONOCHROME2",
        functools.partial(imagecodecs.jpeg8_encode, level=90),
        "ISO_10918_1",
    ),
    "j2k": Coding(
        JPEG2000,
        "YBR_ICT",
        functools.partial(
            imagecodecs.jpeg2k_encode, level=38, codecformat="j2k", reversible=False, mct=True
        ),
        "ISO_15444_1",
    ),
    "j2k-lossless": Coding(
        JPEG2000Lossless,
        "YBR_RCT",
        functools.partial(
            imagecodecs.jpeg2k_encode, level=0, codecformat="j2k", reversible=True, mct=True
        ),
    ),
    "native": Coding(ExplicitVRLittleEndian, "RGB", lambda pixels: pixels.tobytes()),
}

_MONOCHROME_TWIN = {"jpeg-rgb": "jpeg", "jpeg-ybr422": "jpeg"}


@functools.cache
def _icc_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = b"\x07\xea\x00\x01\x00\x02" + bytes(6)
    return bytes(profile) + bytes(len(profile) % 2)


def _optical_path(number: int, channels: int, monochrome: bool) -> Dataset:
    path = Dataset()
    path.OpticalPathIdentifier = str(number + 1)
    path.OpticalPathDescription = f"channel {number + 1}" if channels > 1 else "brightfield"
    light = "Epifluorescence" if monochrome else "Brightfield"
    path.IlluminationTypeCodeSequence = [code(getattr(codes.DCM, f"{light}Illumination"))]
    if monochrome:
        path.IlluminationWaveLength = WAVELENGTHS[number % len(WAVELENGTHS)]
    else:
        path.IlluminationColorCodeSequence = [code(codes.SCT.FullSpectrum)]
        path.ICCProfile = _icc_profile()
        path.ColorSpace = "SRGB"
    return path


def _specimen() -> Dataset:
    specimen = Dataset()
    specimen.SpecimenIdentifier = "specimen-1"
    specimen.SpecimenUID = uid("specimen-1")
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenPreparationSequence = []
    return specimen


def slide_header(
    *,
    name: str,
    shape: tuple[int, int],
    tile: int,
    coding: Coding,
    monochrome: bool = False,
    paths: int = 1,
    focal_planes: int = 1,
    spacing: float = SPACING,
    number: int = 1,
) -> Dataset:
    """Everything of a slide but its pixels; the arguments are those of `slide`."""
    dataset = instance(VLWholeSlideMicroscopyImageStorage, "SM", name, "slide", number)
    flavor = "VOLUME" if number == 1 else "RESAMPLED"
    dataset.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE" if number == 1 else flavor]
    dataset.ContainerIdentifier = "slide-1"
    dataset.IssuerOfTheContainerIdentifierSequence = []
    dataset.ContainerTypeCodeSequence = [code(codes.SCT.MicroscopeSlide)]
    dataset.SpecimenDescriptionSequence = [_specimen()]
    dataset.AcquisitionContextSequence = []
    dataset.VolumetricProperties = "VOLUME"
    dataset.SpecimenLabelInImage = "NO"
    dataset.BurnedInAnnotation = "NO"
    dataset.FocusMethod = "AUTO"
    dataset.ExtendedDepthOfField = "NO"
    rows, columns = shape
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = rows, columns
    dataset.TotalPixelMatrixFocalPlanes = focal_planes
    dataset.ImagedVolumeHeight, dataset.ImagedVolumeWidth = rows * spacing, columns * spacing
    dataset.ImagedVolumeDepth = FOCAL_STEP * focal_planes * 1000
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = ORIGIN
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    dataset.DimensionOrganizationType = "TILED_FULL"
    organization = Dataset()
    organization.DimensionOrganizationUID = uid(name, "dimensions")
    dataset.DimensionOrganizationSequence = [organization]
    dataset.NumberOfOpticalPaths = paths
    dataset.OpticalPathSequence = [_optical_path(i, paths, monochrome) for i in range(paths)]

    dataset.Rows = dataset.Columns = tile
    dataset.SamplesPerPixel = 1 if monochrome else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if monochrome else coding.photometric
    if monochrome:
        dataset.PresentationLUTShape = "IDENTITY"
        dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    else:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "01" if coding.lossy else "00"
    if coding.lossy:
        dataset.LossyImageCompressionRatio = 10
        dataset.LossyImageCompressionMethod = coding.lossy
    across, down = math.ceil(columns / tile), math.ceil(rows / tile)
    dataset.NumberOfFrames = across * down * focal_planes * paths

    shared, measures, frame_type = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [spacing, spacing]
    measures.SliceThickness = FOCAL_STEP
    if focal_planes > 1:
        measures.SpacingBetweenSlices = FOCAL_STEP
    frame_type.FrameType = dataset.ImageType
    shared.PixelMeasuresSequence = [measures]
    shared.WholeSlideMicroscopyImageFrameTypeSequence = [frame_type]
    if paths == 1:
        identification = Dataset()
        identification.OpticalPathIdentifier = "1"
        shared.OpticalPathIdentificationSequence = [identification]
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    return dataset


def tile_pixels(
    frame: int,
    shape: tuple[int, int],
    tile: int,
    *,
    monochrome: bool = False,
    focal_planes: int = 1,
) -> NDArray[np.uint8]:
    """Pixels of one frame of `slide`, before compression; what lies off the matrix is glass."""
    across, down = (math.ceil(size / tile) for size in shape[::-1])
    rest, column = divmod(frame, across)
    rest, row = divmod(rest, down)
    path, plane = divmod(rest, focal_planes)
    pixels = histology(
        slice(row * tile, (row + 1) * tile),
        slice(column * tile, (column + 1) * tile),
        stain=path % 3 if monochrome else None,
        focal_plane=plane,
    )
    glass = 0 if monochrome else GLASS
    pixels[max(0, shape[0] - row * tile) :] = glass
    pixels[:, max(0, shape[1] - column * tile) :] = glass
    return pixels


def slide(
    target: Target,
    *,
    name: str = "slide",
    shape: tuple[int, int] = (700, 900),
    tile: int = 256,
    codec: str = "jpeg-rgb",
    paths: int = 1,
    focal_planes: int = 1,
    monochrome: bool | None = None,
    offset_table: str = "eot",
    spacing: float = SPACING,
    number: int = 1,
) -> Dataset:
    """Write a slide of real histology texture, TILED_FULL.

    Parameters
    ----------
    target
        Path or open file.
    name
        Names the study and the frame of reference.
    shape
        Rows and columns of the total pixel matrix; need not be multiples of `tile`.
    tile
        Rows and columns of a frame.
    codec
        ``"jpeg-rgb"`` (tagged RGB, no marker), ``"jpeg-ybr422"``, ``"j2k"``,
        ``"j2k-lossless"`` or ``"native"``.
    paths
        Optical paths.
    focal_planes
        Focal planes, `FOCAL_STEP` mm apart.
    monochrome
        Whether each path is a fluorescence channel with a wavelength instead of RGB; by
        default when there are several paths.
    offset_table
        ``"eot"`` (Extended Offset Table), ``"bot"`` (Basic) or ``"none"``.
    spacing
        Distance between pixels, in mm.
    number
        Instance Number; levels of one pyramid share `name` and differ in it.

    Returns
    -------
    Dataset
        What was written.
    """
    if monochrome is None:
        monochrome = paths > 1
    coding = CODINGS[_MONOCHROME_TWIN.get(codec, codec) if monochrome else codec]
    dataset = slide_header(
        name=name,
        shape=shape,
        tile=tile,
        coding=coding,
        monochrome=monochrome,
        paths=paths,
        focal_planes=focal_planes,
        spacing=spacing,
        number=number,
    )

    def encoded(frame: int) -> bytes:
        pixels = tile_pixels(frame, shape, tile, monochrome=monochrome, focal_planes=focal_planes)
        return coding.encode(pixels)

    with ThreadPoolExecutor(2) as pool:
        frames = list(pool.map(encoded, range(dataset.NumberOfFrames)))
    if coding.transfer_syntax == ExplicitVRLittleEndian:
        content = b"".join(frames)
        dataset.PixelData = content + bytes(len(content) % 2)
        dataset["PixelData"].VR = "OB"
    elif offset_table == "eot":
        content, offsets, lengths = encapsulate_extended(frames)
        dataset.PixelData = content
        dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    else:
        dataset.PixelData = encapsulate(frames, has_bot=offset_table == "bot")
    return write(dataset, target, coding.transfer_syntax)


def big_slide_repeating(
    path: str | Path, *, shape: tuple[int, int] = (60_000, 60_000), tile: int = 512
) -> Dataset:
    """Write a slide that decodes to some 10 GB from a small file: every frame is the same tile.

    The frames are items of their own with an Extended Offset Table (PS3.5 A.4); the file
    is streamed, never held in memory.
    """
    coding = CODINGS["jpeg-ybr422"]
    pixels = histology(slice(0, tile), slice(0, tile), focal_plane=9)
    frame = imagecodecs.jpeg8_encode(pixels, level=12, subsampling="422")
    padded = frame + bytes(len(frame) % 2)
    dataset = slide_header(name="big slide", shape=shape, tile=tile, coding=coding)
    n_frames = int(dataset.NumberOfFrames)
    offsets = np.arange(n_frames, dtype="<u8") * (8 + len(padded))
    dataset.ExtendedOffsetTable = offsets.tobytes()
    dataset.ExtendedOffsetTableLengths = np.full(n_frames, len(frame), "<u8").tobytes()
    with open(path, "wb") as file:
        file.write(header_bytes(dataset, coding.transfer_syntax))
        file.writelines(_encapsulated(itertools.repeat(padded, n_frames)))
    return dataset


def _encapsulated(frames: Iterator[bytes]) -> Iterator[bytes]:
    """An undefined-length Pixel Data element, item by item (PS3.5 A.4)."""
    yield b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff"
    yield b"\xfe\xff\x00\xe0" + bytes(4)
    for frame in frames:
        yield b"\xfe\xff\x00\xe0" + len(frame).to_bytes(4, "little") + frame
    yield b"\xfe\xff\xdd\xe0" + bytes(4)
