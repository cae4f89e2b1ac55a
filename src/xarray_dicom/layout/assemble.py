"""Assembly of an image layout from its parts, the same for every kind of image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xarray_dicom.instance import Instance
from xarray_dicom.layout.attributes import dataset_attributes
from xarray_dicom.layout.coordinate import Coordinate
from xarray_dicom.layout.frame_array import FrameArray
from xarray_dicom.layout.image import FrameOfReference, ImageLayout
from xarray_dicom.layout.image_geometry import ImageGeometry
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.pixel_values import COLOUR, PixelValues
from xarray_dicom.layout.placement import Placement
from xarray_dicom.layout.segments import Segment


def assemble(
    name: str,
    instances: Sequence[Instance],
    options: LayoutOptions,
    *,
    outer: Sequence[tuple[str, int]],
    placement: Placement,
    coordinates: Mapping[str, Coordinate],
    geometry: ImageGeometry,
    pixels: PixelValues,
    segments: tuple[Segment, ...] = (),
) -> ImageLayout:
    """Assemble the layout of an image.

    Parameters
    ----------
    name
        Name of the variable.
    instances
        The instances, in the order in which `placement` counts their frames.
    options
        Options of opening.
    outer
        Name and size of each dimension before ``y`` and ``x``.
    placement
        Places of the frames; its cells are those of `outer` in row-major order.
    coordinates
        All coordinates, but for that of the samples of colour.
    geometry
        Position in space.
    pixels
        Values of the pixels.
    segments
        Descriptions of the segments, for segmentations.
    """
    first = instances[0]
    samples = {"c": COLOUR} if first.frames.format.samples > 1 else {}
    frames = FrameArray(
        sources=tuple(instance.frames for instance in instances),
        outer_shape=tuple(size for _, size in outer),
        plane=placement.plane,
        placement=placement,
        transform=pixels.transform,
        fill=pixels.fill,
        memory_budget=options.memory_budget,
        decoder=options.decoder,
    )
    return ImageLayout(
        name=name,
        dims=(*(dimension for dimension, _ in outer), "y", "x", *samples),
        frames=frames,
        coordinates={**coordinates, **samples},
        attrs=pixels.attrs,
        dataset_attrs=dataset_attributes([i.dataset for i in instances], first.conversions),
        coordinate_system=geometry.coordinate_system,
        affine=geometry.affine,
        frame_of_reference=_frame_of_reference(first, geometry.orientation),
        linear=pixels.linear,
        segments=segments,
    )


def _frame_of_reference(
    instance: Instance, orientation: Sequence[float] | None
) -> FrameOfReference:
    """Return the frame of reference of an image: the instance itself where it has none."""
    uid = instance.get("FrameOfReferenceUID")
    if orientation is None or not uid:
        uid = instance.get("SOPInstanceUID") or "unknown"
    a, b, c, d, e, f = (float(cosine) for cosine in orientation or (1, 0, 0, 0, 1, 0))
    return FrameOfReference(str(uid), (a, b, c, d, e, f))
