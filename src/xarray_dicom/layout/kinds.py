"""Which layout an object gets, and which objects make one image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from xarray_dicom.errors import DicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.concatenation import Whole, join
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.parametric import is_parametric_map, parametric_values
from xarray_dicom.layout.pyramid import role, share_origin, split_pyramids
from xarray_dicom.layout.segmentation import is_segmentation, layout_segmentation
from xarray_dicom.layout.slide import layout_slide
from xarray_dicom.layout.tiled import is_tiled
from xarray_dicom.layout.volume import layout_frames, split_images
from xarray_dicom.parsing.conversions import Conversions

#: Images by the path of their group; the only image of its kind has the path ``""``.
Layouts = dict[str, ImageLayout]


@dataclass(frozen=True, slots=True)
class Kind:
    """Objects that are laid out in one way.

    Attributes
    ----------
    variable
        Name of the variable that its images become.
    holds
        Whether an object is of this kind.
    lay_out
        From all objects of this kind in a series to images.
    """

    variable: str
    holds: Callable[[Instance], bool]
    lay_out: Callable[[Sequence[Whole], LayoutOptions, bool], Layouts]


def _segmentations(wholes: Sequence[Whole], options: LayoutOptions, alone: bool) -> Layouts:
    return _numbered("segmentation", [layout_segmentation(whole, options) for whole in wholes])


def _parametric_maps(wholes: Sequence[Whole], options: LayoutOptions, alone: bool) -> Layouts:
    layouts = []
    for whole in wholes:
        if is_tiled(whole.first):
            layouts.append(
                layout_slide([whole], options, name="parametric_map", values=parametric_values)
            )
        else:
            layouts += [
                layout_frames(frames, options, name="parametric_map", values=parametric_values)
                for frames in split_images(whole.parts)
            ]
    return _numbered("parametric_map", layouts)


def _slides(wholes: Sequence[Whole], options: LayoutOptions, alone: bool) -> Layouts:
    if alone:
        return {"": layout_slide(wholes, options)}
    besides: dict[str, list[Whole]] = {}
    for whole in wholes:
        besides.setdefault(role(whole), []).append(whole)
    pyramids = split_pyramids(besides.pop("", []))
    found: Layouts = {}
    for number, levels in enumerate(pyramids, 1):
        prefix = f"pyramid_{number}/" if len(pyramids) > 1 else ""
        layouts = share_origin([layout_slide(level, options) for level in levels])
        found |= {f"{prefix}scale{i}": layout for i, layout in enumerate(layouts)}
    for name, members in besides.items():
        if name == "label" and not options.slide_label:
            continue
        layouts = [layout_slide([whole], options) for whole in members]
        found |= {path or name: layout for path, layout in _numbered(name, layouts).items()}
    return found


def _frames(wholes: Sequence[Whole], options: LayoutOptions, alone: bool) -> Layouts:
    parts = [part for whole in wholes for part in whole.parts]
    single = alone and len(parts) == 1 and _is_single_frame(parts[0])
    return _numbered(
        "stack", [layout_frames(image, options, single=single) for image in split_images(parts)]
    )


#: The first kind that holds is taken.
KINDS = (
    Kind("segmentation", is_segmentation, _segmentations),
    Kind("parametric_map", is_parametric_map, _parametric_maps),
    Kind("image", is_tiled, _slides),
    Kind("image", lambda opened: True, _frames),
)


def lay_out(opened: Sequence[Instance], options: LayoutOptions, *, alone: bool) -> Layouts:
    """All images that some instances make, by the path of their group.

    Parameters
    ----------
    opened
        The instances, in the order they are to be taken where nothing else orders them.
    options
        What the user asked for.
    alone
        Whether a single object was asked for, not a series: a single-frame one is then a
        plane without a dimension for planes, and a level of a pyramid is taken literally.

    Returns
    -------
    dict
        One entry named ``""`` if there is one image and no pyramid; else a group per series,
        level and image.

    Raises
    ------
    DicomError
        If there is nothing but a slide's label, and it was not asked for.
    """
    series: dict[str, list[Instance]] = {}
    for one in _once(opened):
        series.setdefault(str(one.get("SeriesInstanceUID")), []).append(one)
    images = [_lay_out_series(members, options, alone) for members in series.values()]
    if not any(images):
        raise DicomError(
            f"{opened[0].location}: there is only the picture of a slide's label, which shows "
            "names: ask for it with slide_label=True or group='label'"
        )
    names = _unique(_series_name(members[0]) for members in series.values())
    found: Layouts = {}
    for name, layouts in zip(names, images, strict=True):
        prefix = name if sum(map(bool, images)) > 1 else ""
        found |= {"/".join(filter(None, (prefix, path))): layouts[path] for path in layouts}
    return found


def _lay_out_series(members: Sequence[Instance], options: LayoutOptions, alone: bool) -> Layouts:
    kinds: dict[int, list[Instance]] = {}
    for one in members:
        number = next(i for i, kind in enumerate(KINDS) if kind.holds(one))
        kinds.setdefault(number, []).append(one)
    found: Layouts = {}
    for number, own in sorted(kinds.items()):
        kind = KINDS[number]
        layouts = kind.lay_out(join(own), options.of(kind.variable), alone)
        if len(kinds) > 1 and "" in layouts:
            layouts = {layouts[""].name: layouts[""]}
        found |= layouts
    return found


def _once(opened: Sequence[Instance]) -> list[Instance]:
    """Each SOP instance once; a copy of one that is there already is passed over.

    They share what is converted of their headers.
    """
    seen: dict[str, Instance] = {}
    kept = []
    conversions = Conversions()
    for one in opened:
        uid = str(one.get("SOPInstanceUID") or one.location)
        if uid in seen:
            warnings.warn(
                f"{one.location}: the same SOP instance as {seen[uid].location}, and passed over",
                DicomWarning,
                stacklevel=2,
            )
            continue
        seen[uid] = one
        kept.append(replace(one, conversions=conversions))
    return kept


def _is_single_frame(opened: Instance) -> bool:
    enhanced = "SharedFunctionalGroupsSequence" in opened.dataset or opened.columns
    return opened.frames.n_frames == 1 and not enhanced


def _numbered(name: str, layouts: Sequence[ImageLayout]) -> Layouts:
    if len(layouts) == 1:
        return {"": layouts[0]}
    return {f"{name}_{number}": layout for number, layout in enumerate(layouts, 1)}


def _series_name(opened: Instance) -> str:
    number = opened.dataset.get("SeriesNumber")
    modality = str(opened.dataset.get("Modality") or "series").lower()
    return modality if number in (None, "") else f"{modality}_{number}"


def _unique(names: Iterable[str]) -> list[str]:
    """Names told apart by a number where they are equal."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique
