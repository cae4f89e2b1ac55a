"""Kinds of objects: the layout of each, and the objects that make one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from xarray_dicom.errors import DicomError, UnsupportedDicomError, located
from xarray_dicom.instance import Instance
from xarray_dicom.layout.concatenation import JoinedInstance, join
from xarray_dicom.layout.frame_set import FrameSet
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.parametric import is_parametric_map, parametric_values
from xarray_dicom.layout.pixel_values import ValuesOf, image_values
from xarray_dicom.layout.pyramid import associated_name, share_origin, split_pyramids
from xarray_dicom.layout.segmentation import is_segmentation, layout_segmentation
from xarray_dicom.layout.slide import layout_slide
from xarray_dicom.layout.tiled import is_tiled
from xarray_dicom.layout.volume import layout_frames, split_images
from xarray_dicom.parsing.element_values import Conversions
from xarray_dicom.warn import warn

#: A layout of any kind: images alone, so far. A kind that is no image adds its own type.
Layout = ImageLayout

#: Layouts by the path of their group; the only one of its kind has the path ``""``.
Layouts = dict[str, Layout]


@dataclass(frozen=True, slots=True)
class Kind:
    """Objects that are laid out in one way.

    Attributes
    ----------
    variable
        Name of the variable that they become.
    matches
        Returns True if an object is of this kind.
    lay_out
        Makes layouts of all objects of this kind in a series, given the options of opening,
        and True if a single object was opened by itself.
    """

    variable: str
    matches: Callable[[Instance], bool]
    lay_out: Callable[[Sequence[Instance], LayoutOptions, bool], Layouts]


def _without_pixels(instances: Sequence[Instance], options: LayoutOptions, alone: bool) -> Layouts:
    first = instances[0]
    name = getattr(first.get("SOPClassUID"), "name", "object")
    raise UnsupportedDicomError(f"this {name} has no pixel data", location=first.location)


def _segmentations(instances: Sequence[Instance], options: LayoutOptions, alone: bool) -> Layouts:
    layouts = []
    for image in join(instances):
        with located(image.location):
            layouts.append(layout_segmentation(image, options))
    return _numbered("segmentation", layouts)


def _parametric_maps(instances: Sequence[Instance], options: LayoutOptions, alone: bool) -> Layouts:
    name, values = "parametric_map", parametric_values
    layouts = []
    for image in join(instances):
        if is_tiled(image.first):
            layouts.append(_level([image], options, name=name, values=values))
        else:
            layouts += [
                _image(frames, options, name=name, values=values)
                for frames in split_images(image.parts)
            ]
    return _numbered(name, layouts)


def _slides(instances: Sequence[Instance], options: LayoutOptions, alone: bool) -> Layouts:
    images = join(instances)
    if alone:
        return {"": _level(images, options)}
    by_role: dict[str, list[JoinedInstance]] = {}
    for image in images:
        by_role.setdefault(associated_name(image), []).append(image)
    pyramids = split_pyramids(by_role.pop("", []))
    layouts: Layouts = {}
    for number, levels in enumerate(pyramids, 1):
        prefix = f"pyramid_{number}/" if len(pyramids) > 1 else ""
        pyramid = share_origin([_level(level, options) for level in levels])
        layouts |= {f"{prefix}scale{i}": layout for i, layout in enumerate(pyramid)}
    for name, members in by_role.items():
        if name == "label" and not options.slide_label:
            continue
        associated = [_level([image], options) for image in members]
        layouts |= {path or name: layout for path, layout in _numbered(name, associated).items()}
    return layouts


def _frames(instances: Sequence[Instance], options: LayoutOptions, alone: bool) -> Layouts:
    parts = [part for image in join(instances) for part in image.parts]
    single = alone and len(parts) == 1 and _is_single_frame(parts[0])
    layouts = [_image(frames, options, single=single) for frames in split_images(parts)]
    return _numbered("stack", layouts)


def _level(
    images: Sequence[JoinedInstance],
    options: LayoutOptions,
    *,
    name: str = "image",
    values: ValuesOf = image_values,
) -> ImageLayout:
    """Lay out one level of a slide; errors and warnings name its first file."""
    with located(images[0].location):
        return layout_slide(images, options, name=name, values=values)


def _image(
    frames: FrameSet,
    options: LayoutOptions,
    *,
    single: bool = False,
    name: str = "image",
    values: ValuesOf = image_values,
) -> ImageLayout:
    """Lay out frames of one size and orientation; errors and warnings name their first file."""
    with located(frames.location):
        return layout_frames(frames, options, single=single, name=name, values=values)


#: An object is of the first kind that matches.
KINDS = (
    Kind("", lambda instance: instance.frame_source is None, _without_pixels),
    Kind("segmentation", is_segmentation, _segmentations),
    Kind("parametric_map", is_parametric_map, _parametric_maps),
    Kind("image", is_tiled, _slides),
    Kind("image", lambda instance: True, _frames),
)


def lay_out(instances: Sequence[Instance], options: LayoutOptions, *, alone: bool) -> Layouts:
    """Lay out some instances, by the path of their group.

    Parameters
    ----------
    instances
        The instances, in the order that holds where nothing else orders them.
    options
        Options of opening.
    alone
        True if a single object was opened, not a series: a single-frame one is then a plane
        without a dimension for planes, and a level of a pyramid is taken literally.

    Returns
    -------
    dict
        One entry named ``""`` if there is one image and no pyramid; else a group per series,
        level and image.

    Raises
    ------
    UnsupportedDicomError
        If an object has no pixels.
    DicomError
        If there is nothing but a slide's label, and it was not asked for.
    """
    series: dict[str, list[Instance]] = {}
    for instance in _distinct(instances):
        series.setdefault(str(instance.get("SeriesInstanceUID")), []).append(instance)
    layouts_of_series = [_lay_out_series(members, options, alone) for members in series.values()]
    if not any(layouts_of_series):
        raise DicomError(
            "there is only the picture of a slide's label, which shows names: ask for it with "
            "slide_label=True or group='label'",
            location=instances[0].location,
        )
    names = _unique(_series_name(members[0]) for members in series.values())
    result: Layouts = {}
    for name, layouts in zip(names, layouts_of_series, strict=True):
        prefix = name if sum(map(bool, layouts_of_series)) > 1 else ""
        result |= {"/".join(filter(None, (prefix, path))): layouts[path] for path in layouts}
    return result


def _lay_out_series(members: Sequence[Instance], options: LayoutOptions, alone: bool) -> Layouts:
    by_kind: dict[int, list[Instance]] = {}
    for instance in members:
        number = next(i for i, kind in enumerate(KINDS) if kind.matches(instance))
        by_kind.setdefault(number, []).append(instance)
    result: Layouts = {}
    for number, own in sorted(by_kind.items()):
        kind = KINDS[number]
        with located(own[0].location):
            layouts = kind.lay_out(own, options.of(kind.variable), alone)
        if len(by_kind) > 1 and "" in layouts:
            layouts = {layouts[""].name: layouts[""]}
        result |= layouts
    return result


def _distinct(instances: Sequence[Instance]) -> list[Instance]:
    """Return each SOP instance once, with a warning for every copy.

    They share what is converted of their headers.
    """
    first: dict[str, Instance] = {}
    distinct = []
    conversions = Conversions()
    for instance in instances:
        uid = str(instance.get("SOPInstanceUID") or instance.location)
        if uid in first:
            warn(
                f"the same SOP instance as {first[uid].location}, and passed over",
                location=instance.location,
            )
            continue
        first[uid] = instance
        distinct.append(replace(instance, conversions=conversions))
    return distinct


def _is_single_frame(instance: Instance) -> bool:
    enhanced = "SharedFunctionalGroupsSequence" in instance.dataset or instance.columns
    return instance.frames.n_frames == 1 and not enhanced


def _numbered(name: str, layouts: Sequence[Layout]) -> Layouts:
    if len(layouts) == 1:
        return {"": layouts[0]}
    return {f"{name}_{number}": layout for number, layout in enumerate(layouts, 1)}


def _series_name(instance: Instance) -> str:
    number = instance.get("SeriesNumber")
    modality = str(instance.get("Modality") or "series").lower()
    return modality if number in (None, "") else f"{modality}_{number}"


def _unique(names: Iterable[str]) -> list[str]:
    """Return names made distinct by a number where they are equal."""
    count: dict[str, int] = {}
    unique = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        unique.append(name if count[name] == 1 else f"{name}_{count[name]}")
    return unique
