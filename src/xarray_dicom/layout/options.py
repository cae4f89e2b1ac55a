"""What the user asked of a layout."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xarray_dicom.runtime import MEMORY_BUDGET


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """Options of opening that change what a layout presents.

    Attributes
    ----------
    scale
        Whether values are modality or real-world ones, not stored ones.
    stored
        Variables whose values are stored ones all the same.
    real_world
        The Real World Value Mapping that gives the values: its position from 0, its LUT
        Label or unit; None for modality values, and for the first mapping of a parametric map.
    memory_budget
        Bytes held while reading.
    slide_label
        Whether the image of a slide's label, which may show names, is presented too.
    decoder
        Name of what decodes the frames.
    """

    scale: bool = True
    stored: frozenset[str] = frozenset()
    real_world: int | str | None = None
    memory_budget: int = MEMORY_BUDGET
    slide_label: bool = False
    decoder: str = "imagecodecs"

    def of(self, variable: str) -> LayoutOptions:
        """The options as they hold for one variable."""
        return replace(self, scale=self.scale and variable not in self.stored)
