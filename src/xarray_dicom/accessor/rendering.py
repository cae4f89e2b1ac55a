"""From an array's values to 8-bit sRGB, pixel by pixel.

The transforms are highdicom's; what is ours is to apply them to blocks of any shape. All are
small and picklable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray

from xarray_dicom.pixels.transform import Transform

Pixels = NDArray[Any]

WHITE = 255

#: Pixels that are shown at a time: floats take many times the memory of what is shown.
AT_ONCE = 2**20


@dataclass(frozen=True)
class Colour:
    """RGB of any depth as 8-bit sRGB, through the ICC profile if there is one.

    Attributes
    ----------
    bits
        Bits of a sample.
    profile
        ICC profile; None for sRGB.
    """

    bits: int
    profile: bytes | None

    def __call__(self, pixels: Pixels) -> Pixels:
        """Transform one block, shape ``(…, 3)``."""
        eight = pixels if self.bits == 8 else np.rint(pixels * (WHITE / (2.0**self.bits - 1)))
        eight = np.ascontiguousarray(eight, np.uint8)
        if self.profile is None or not eight.size:
            return eight
        flat = eight.reshape(1, -1, 3)
        transformed: Pixels = hd.color.ColorManager(self.profile).transform_frame(flat)
        return transformed.reshape(eight.shape)


@dataclass(frozen=True, eq=False)
class Palette:
    """Palette indices as 8-bit sRGB (PS3.3 C.7.9).

    Attributes
    ----------
    table
        Colours, uint8, shape ``(entries, 3)``.
    first
        Index of the first entry.
    """

    table: Pixels
    first: int

    def __call__(self, pixels: Pixels) -> Pixels:
        """Look one block up; values beyond an end take that end's colour."""
        index = np.clip(pixels.astype(np.int64) - self.first, 0, len(self.table) - 1)
        colours: Pixels = self.table[index]
        return colours


@dataclass(frozen=True)
class Window:
    """A window to 8 bits (PS3.3 C.11.2.1.2).

    Attributes
    ----------
    center, width
        In modality values; the width is positive.
    function
        Its VOI LUT Function.
    inverted
        Whether low values are white.
    """

    center: float
    width: float
    function: str
    inverted: bool

    def __call__(self, values: Pixels) -> Pixels:
        """Window modality values, float64."""
        # At a width of 1 a LINEAR window is a step, whose formula divides by nothing.
        narrowest = 1 + 1e-6 if self.function == "LINEAR" else 1e-6
        shown: Pixels = hd.pixels.apply_voi_window(
            values,
            window_center=self.center,
            window_width=max(self.width, narrowest),
            voi_lut_function=self.function,
            output_range=(0.0, float(WHITE)),
            invert=self.inverted,
        )
        return shown


@dataclass(frozen=True, eq=False)
class Table:
    """A VOI LUT to 8 bits (PS3.3 C.11.2.1.1).

    Attributes
    ----------
    table
        Gray levels, shape ``(entries,)``.
    first
        Modality value of the first entry.
    """

    table: Pixels
    first: int

    def __call__(self, values: Pixels) -> Pixels:
        """Look modality values up; values beyond an end take that end's level."""
        levels: Pixels = self.table[
            np.clip(np.rint(values) - self.first, 0, len(self.table) - 1).astype(np.int64)
        ]
        return levels


@dataclass(frozen=True, eq=False)
class Gray:
    """An array's values as gray in RGB.

    Attributes
    ----------
    modality
        From the array's values to modality values; None where they are.
    shown
        From modality values to gray levels.
    """

    modality: Transform | None
    shown: Window | Table

    def __call__(self, pixels: Pixels) -> Pixels:
        """Show one block; pixels without a value are black."""
        flat = pixels.reshape(-1)
        gray = np.empty(flat.shape, np.uint8)
        for start in range(0, len(flat), AT_ONCE):
            part = flat[start : start + AT_ONCE]
            absent = np.isnan(part)
            # Large enough for any window, small enough not to overflow in it.
            values = np.nan_to_num(part.astype(np.float64), posinf=1e100, neginf=-1e100)
            if self.modality is not None:
                values = self.modality.apply(values, 0).astype(np.float64)
            levels = np.rint(self.shown(values))
            gray[start : start + AT_ONCE] = np.where(absent, 0, levels)
        return np.repeat(gray.reshape(*pixels.shape, 1), 3, axis=-1)
