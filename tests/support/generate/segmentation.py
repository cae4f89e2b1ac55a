"""Segmentations written by highdicom: organs over a CT, tissue over a slide (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from .attributes import Target, uid
from .phantom import BY_LABEL, ORGANS, Organ
from .series import grid_points
from .slide import tile_pixels

ALGORITHM = highdicom.AlgorithmIdentificationSequence(
    name="phantom", version="1", family=codes.DCM.ArtificialIntelligence
)


def description(number: int, label: str, concept: Code) -> highdicom.seg.SegmentDescription:
    """How one segment is described: an organ found by an algorithm, with a tracking UID."""
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=concept,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=ALGORITHM,
        tracking_uid=uid("tracking", label),
        tracking_id=label,
    )


def organ_masks(images: Sequence[Dataset], organs: Sequence[Organ]) -> NDArray[np.bool_]:
    """Masks of `organs` on the planes of `images`, shape (planes, rows, columns, organs)."""
    planes = []
    for image in images:
        points = grid_points(
            np.array(image.ImagePositionPatient, float),
            [float(v) for v in image.ImageOrientationPatient],
            (image.Rows, image.Columns),
            (float(image.PixelSpacing[0]), float(image.PixelSpacing[1])),
        )
        planes.append(np.stack([organ.mask(points) for organ in organs], axis=-1))
    return np.stack(planes)


def multi_organ_segmentation(
    target: Target,
    images: Sequence[Dataset],
    *,
    organs: Sequence[str] = tuple(BY_LABEL),
    segmentation_type: str = "BINARY",
    transfer_syntax: str = ExplicitVRLittleEndian,
    omit_empty_frames: bool = True,
    numbers: Sequence[int] | None = None,
) -> highdicom.seg.Segmentation:
    """Write a segmentation of organs of the phantom over a CT series.

    Parameters
    ----------
    target
        Path or open file.
    images
        What `ct_series` returned.
    organs
        Segment labels, of `phantom.ORGANS`; they become segments 1, 2, ….
    segmentation_type
        ``"BINARY"``, ``"FRACTIONAL"`` (a soft edge of distances) or ``"LABELMAP"``.
    transfer_syntax
        UID; highdicom encapsulates FRACTIONAL and LABELMAP only.
    omit_empty_frames
        Whether planes that an organ does not meet are left out.
    numbers
        Segment numbers; highdicom wants 1, 2, … except in a LABELMAP.
    """
    chosen = [BY_LABEL[label] for label in organs]
    numbers = numbers or range(1, len(chosen) + 1)
    masks = organ_masks(images, chosen)
    pixels: NDArray[np.generic] = masks.astype(np.uint8)
    if segmentation_type == "FRACTIONAL":
        pixels = _softened(masks)
    elif segmentation_type == "LABELMAP":
        pixels = np.zeros(masks.shape[:3], np.uint8)
        for position, number in enumerate(numbers):
            pixels[masks[..., position]] = number
    segmentation = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type=segmentation_type,
        segment_descriptions=[
            description(number, organ.label, organ.concept)
            for number, organ in zip(numbers, chosen, strict=True)
        ],
        series_instance_uid=uid(images[0].SeriesInstanceUID, segmentation_type),
        series_number=2,
        sop_instance_uid=uid(images[0].SeriesInstanceUID, segmentation_type, *organs),
        instance_number=1,
        manufacturer="xarray-dicom",
        manufacturer_model_name="generator",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=transfer_syntax,
        omit_empty_frames=omit_empty_frames,
    )
    segmentation.save_as(target)
    return segmentation


def _softened(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Masks averaged over their four neighbours in the plane: fractions from 0 to 1."""
    soft = masks.astype(np.float32)
    total = soft.copy()
    for axis, shift in ((1, 1), (1, -1), (2, 1), (2, -1)):
        total += np.roll(soft, shift, axis)
    averaged: NDArray[np.float32] = total / 5
    return averaged


def tissue_labels(slide: Dataset) -> NDArray[np.uint8]:
    """Label map of a generated slide, (rows, columns): 0 glass, 1 tissue, 2 its darkest."""
    shape = (slide.TotalPixelMatrixRows, slide.TotalPixelMatrixColumns)
    darkness = 255 - tile_pixels(0, shape, max(shape))[: shape[0], : shape[1]].mean(axis=-1)
    return np.digitize(darkness, (60, 130)).astype(np.uint8)


def slide_segmentation(
    target: Target,
    slide: Dataset,
    *,
    segmentation_type: str = "BINARY",
    tile: tuple[int, int] | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian,
    organization: str = "TILED_FULL",
) -> highdicom.seg.Segmentation:
    """Write a tiled segmentation of `tissue_labels` over a slide that `slide.slide` wrote.

    Parameters
    ----------
    target
        Path or open file.
    slide
        The slide's data set.
    segmentation_type
        ``"BINARY"``, ``"FRACTIONAL"`` or ``"LABELMAP"``.
    tile
        Rows and columns of a frame, by default the slide's; with ``(37, 53)`` frames of a
        BINARY segmentation start in mid-byte.
    transfer_syntax
        UID.
    organization
        ``"TILED_FULL"`` or ``"TILED_SPARSE"`` (empty tiles left out).
    """
    labels = tissue_labels(slide)
    pixels: NDArray[np.generic] = labels
    if segmentation_type != "LABELMAP":
        pixels = np.stack([labels == 1, labels == 2], axis=-1).astype(np.uint8)
    if segmentation_type == "FRACTIONAL":
        pixels = pixels.astype(np.float32)
    segmentation = highdicom.seg.Segmentation(
        source_images=[slide],
        pixel_array=pixels if segmentation_type == "LABELMAP" else pixels[None],
        segmentation_type=segmentation_type,
        segment_descriptions=[
            description(1, "Tissue", codes.SCT.Tissue),
            description(2, "Nucleus", codes.SCT.Nucleus),
        ],
        series_instance_uid=uid(slide.SOPInstanceUID, segmentation_type),
        series_number=2,
        sop_instance_uid=uid(slide.SOPInstanceUID, segmentation_type, organization, tile),
        instance_number=1,
        manufacturer="xarray-dicom",
        manufacturer_model_name="generator",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=transfer_syntax,
        omit_empty_frames=organization == "TILED_SPARSE",
        dimension_organization_type=organization,
        tile_pixel_array=True,
        tile_size=tile,
    )
    segmentation.save_as(target)
    return segmentation


__all__ = [
    "ORGANS",
    "multi_organ_segmentation",
    "organ_masks",
    "slide_segmentation",
    "tissue_labels",
]
