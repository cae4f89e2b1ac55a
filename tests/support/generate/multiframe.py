"""Multi-frame images: legacy converted enhanced CT, enhanced MR in more dimensions, cine."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

from .attributes import Target, instance, uid, write
from .series import AXIAL
from .texture import histology


def legacy_enhanced_ct(
    target: Target, images: Sequence[Dataset], *, transfer_syntax: str = ExplicitVRLittleEndian
) -> Dataset:
    """Write what `series.ct_series` returned as one multi-frame object (highdicom.legacy)."""
    for image in images:
        write(image, _Nowhere(), ExplicitVRLittleEndian)
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        images,
        series_instance_uid=uid(images[0].SeriesInstanceUID, "enhanced"),
        series_number=3,
        sop_instance_uid=uid(images[0].SeriesInstanceUID, "enhanced", 1),
        instance_number=1,
        transfer_syntax_uid=transfer_syntax,
    )
    enhanced.save_as(target)
    return enhanced


class _Nowhere:
    """A file that keeps nothing: writing to it only fills in the file meta."""

    def __init__(self) -> None:
        self._position = 0

    def write(self, content: bytes) -> int:
        self._position += len(content)
        return len(content)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = 0) -> int:
        self._position = position
        return position


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _dimension(organization: str, pointer: str, group: str) -> Dataset:
    return _item(
        DimensionOrganizationUID=organization,
        DimensionIndexPointer=Tag(pointer),
        FunctionalGroupPointer=Tag(group),
        DimensionDescriptionLabel=pointer,
    )


def enhanced_mr(
    target: Target,
    *,
    name: str = "mr",
    times: int = 3,
    echoes: Sequence[float] = (10.0, 30.0),
    planes: int = 5,
    shape: tuple[int, int] = (24, 32),
    spacing: tuple[float, float, float] = (4.0, 1.5, 1.25),
    origin: Sequence[float] = (-20.0, -18.0, -8.0),
    orientation: Sequence[float] = AXIAL,
    missing: Sequence[int] = (),
) -> NDArray[np.int16]:
    """Write an Enhanced MR Image with temporal positions and echo times (PS3.3 A.36.2).

    Parameters
    ----------
    target
        Path or open file.
    name
        Names the study and the frame of reference.
    times
        Temporal positions.
    echoes
        Effective Echo Times in ms, one volume each.
    planes, shape, spacing, origin, orientation
        The stack, as in `series.ct_series`.
    missing
        Frames (indices in the order time, echo, plane) that are left out.

    Returns
    -------
    NDArray[np.int16]
        Stored values of the whole grid, shape ``(times, echoes, planes, rows, columns)``;
        frames in the file are in shuffled order.
    """
    rng = np.random.default_rng(11)
    grid = (times, len(echoes), planes)
    pixels = rng.integers(-1500, 1500, (*grid, *shape), dtype=np.int16)
    normal = np.cross(orientation[:3], orientation[3:])
    dataset = instance(EnhancedMRImageStorage, "MR", name, "mr")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 1
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.AcquisitionContextSequence = []
    organization = uid(name, "mr", "dimensions")
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    dataset.DimensionIndexSequence = [
        _dimension(organization, "StackID", "FrameContentSequence"),
        _dimension(organization, "TemporalPositionIndex", "FrameContentSequence"),
        _dimension(organization, "EffectiveEchoTime", "MREchoSequence"),
        _dimension(organization, "InStackPositionNumber", "FrameContentSequence"),
    ]
    dataset.SharedFunctionalGroupsSequence = [
        _item(
            PixelMeasuresSequence=[
                _item(
                    PixelSpacing=list(spacing[1:]),
                    SliceThickness=spacing[0],
                    SpacingBetweenSlices=spacing[0],
                )
            ],
            PlaneOrientationSequence=[_item(ImageOrientationPatient=list(orientation))],
            PixelValueTransformationSequence=[
                _item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")
            ],
        )
    ]
    order = [frame for frame in rng.permutation(np.prod(grid)) if frame not in missing]
    dataset.PerFrameFunctionalGroupsSequence = []
    for frame in order:
        time, echo, plane = (int(i) for i in np.unravel_index(frame, grid))
        position = np.array(origin) + plane * spacing[0] * normal
        content = _item(
            StackID="1",
            InStackPositionNumber=plane + 1,
            TemporalPositionIndex=time + 1,
            DimensionIndexValues=[1, time + 1, echo + 1, plane + 1],
        )
        dataset.PerFrameFunctionalGroupsSequence.append(
            _item(
                FrameContentSequence=[content],
                PlanePositionSequence=[
                    _item(ImagePositionPatient=[round(float(v), 6) for v in position])
                ],
                MREchoSequence=[_item(EffectiveEchoTime=float(echoes[echo]))],
            )
        )
    dataset.NumberOfFrames = len(order)
    stored = pixels.reshape(-1, *shape)[order]
    dataset.PixelData = (stored & 0x0FFF).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    write(dataset, target, ExplicitVRLittleEndian)
    return pixels


def cine(
    target: Target,
    *,
    name: str = "cine",
    frames: int = 12,
    shape: tuple[int, int] = (96, 128),
    compressed: bool = True,
) -> Dataset:
    """Write a colour multi-frame secondary capture without positions: a camera over tissue."""
    dataset = instance(
        MultiFrameTrueColorSecondaryCaptureImageStorage, "OT", name, "secondary capture"
    )
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "SYN"
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel = 3
    dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "YBR_FULL_422" if compressed else "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.NumberOfFrames = frames
    dataset.FrameTime = 40
    dataset.FrameIncrementPointer = Tag("FrameTime")
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "01" if compressed else "00"
    views = [
        histology(slice(8 * i, 8 * i + shape[0]), slice(13 * i, 13 * i + shape[1]))
        for i in range(frames)
    ]
    if compressed:
        dataset.LossyImageCompressionRatio = 10
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
        encoded = [imagecodecs.jpeg8_encode(view, level=90, subsampling="422") for view in views]
        dataset.PixelData = encapsulate(encoded, has_bot=True)
        return write(dataset, target, JPEGBaseline8Bit)
    dataset.PixelData = b"".join(view.tobytes() for view in views)
    dataset["PixelData"].VR = "OB"
    return write(dataset, target, ExplicitVRLittleEndian)
