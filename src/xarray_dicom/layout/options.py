"""Options of opening that change what a layout presents."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xarray_dicom.runtime import MEMORY_BUDGET


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """Options of opening that change what a layout presents.

    Attributes
    ----------
    scale
        True for modality or real-world values, False for stored ones.
    stored
        Variables that have stored values even so.
    real_world
        The Real World Value Mapping that gives the values: its position from 0, its LUT
        Label or unit; None for modality values, and for the first mapping of a parametric map.
    memory_budget
        Bytes held while reading.
    slide_label
        True to present the image of a slide's label too, which may show names.
    decoder
        Name of the decoder of frames.
    """

    scale: bool = True
    stored: frozenset[str] = frozenset()
    real_world: int | str | None = None
    memory_budget: int = MEMORY_BUDGET
    slide_label: bool = False
    decoder: str = "imagecodecs"

    def of(self, variable: str) -> LayoutOptions:
        """Return the options as they hold for one variable."""
        return replace(self, scale=self.scale and variable not in self.stored)
