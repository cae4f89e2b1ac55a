"""Which layout an object gets, and which objects make one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from xarray_dicom.instance import OpenInstance
from xarray_dicom.layout.image import ImageLayout
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.layout.parametric import is_parametric_map, parametric_values
from xarray_dicom.layout.segmentation import is_segmentation, layout_segmentation
from xarray_dicom.layout.slide import layout_slide
from xarray_dicom.layout.tiled import is_tiled
from xarray_dicom.layout.volume import layout_frames, split_images

Layouts = list[ImageLayout]


def _parametric(opened: OpenInstance, options: LayoutOptions) -> Layouts:
    if is_tiled(opened):
        return [layout_slide(opened, options, name="parametric_map", values=parametric_values)]
    return [
        layout_frames(frames, options, name="parametric_map", values=parametric_values)
        for frames in split_images([opened])
    ]


#: Objects that are images by themselves: the first test that holds chooses the layout.
KINDS: tuple[
    tuple[Callable[[OpenInstance], bool], Callable[[OpenInstance, LayoutOptions], Layouts]], ...
] = (
    (is_segmentation, lambda opened, options: [layout_segmentation(opened, options)]),
    (is_parametric_map, _parametric),
    (is_tiled, lambda opened, options: [layout_slide(opened, options)]),
)


def lay_out(
    opened: Sequence[OpenInstance], options: LayoutOptions, *, alone: bool
) -> dict[str, ImageLayout]:
    """All images that some instances make, by the path of their group.

    Parameters
    ----------
    opened
        The instances, in the order they are to be taken where nothing else orders them.
    options
        What the user asked for.
    alone
        Whether a single object was asked for, not a series: a single-frame one is then a
        plane without a dimension for planes.

    Returns
    -------
    dict
        One entry named ``""`` if there is one image; else a group per series and image.
    """
    series: dict[str, list[OpenInstance]] = {}
    for one in opened:
        series.setdefault(str(one.dataset.get("SeriesInstanceUID")), []).append(one)
    names = _unique(_series_name(members[0]) for members in series.values())
    found = {}
    for name, members in zip(names, series.values(), strict=True):
        layouts = _lay_out_series(members, options, alone)
        for number, layout in enumerate(layouts, 1):
            parts = [name] if len(series) > 1 else []
            parts += [f"stack_{number}"] if len(layouts) > 1 else []
            found["/".join(parts)] = layout
    return found


def _lay_out_series(
    members: Sequence[OpenInstance], options: LayoutOptions, alone: bool
) -> Layouts:
    layouts: Layouts = []
    frames = []
    for one in members:
        for holds, layout in KINDS:
            if holds(one):
                layouts += layout(one, options)
                break
        else:
            frames.append(one)
    if frames:
        single = alone and len(frames) == 1 and _is_single_frame(frames[0])
        layouts += [layout_frames(image, options, single=single) for image in split_images(frames)]
    return layouts


def _is_single_frame(opened: OpenInstance) -> bool:
    enhanced = "SharedFunctionalGroupsSequence" in opened.dataset or opened.columns
    return opened.instance.n_frames == 1 and not enhanced


def _series_name(opened: OpenInstance) -> str:
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
