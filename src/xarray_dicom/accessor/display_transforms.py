"""Transforms from an array's values to 8-bit sRGB, pixel by pixel.

highdicom computes them; these classes apply it to blocks of any shape. All are small and
picklable.
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

#: Pixels that are transformed at a time: in float64 they take eight times the memory of the
#: result.
BLOCK = 2**20


@dataclass(frozen=True)
class Colour:
    """Transform of RGB of any depth to 8-bit sRGB, by an ICC profile if there is one.

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
        scaled = pixels if self.bits == 8 else np.rint(pixels * (WHITE / (2.0**self.bits - 1)))
        rgb = np.ascontiguousarray(scaled, np.uint8)
        if self.profile is None or not rgb.size:
            return rgb
        as_one_row = rgb.reshape(1, -1, 3)
        transformed: Pixels = hd.color.ColorManager(self.profile).transform_frame(as_one_row)
        return transformed.reshape(rgb.shape)


@dataclass(frozen=True, eq=False)
class Palette:
    """Lookup of palette indices in 8-bit sRGB colours (PS3.3 C.7.9).

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
        """Look up one block; values beyond an end take the colour of that end."""
        index = np.clip(pixels.astype(np.int64) - self.first, 0, len(self.table) - 1)
        colours: Pixels = self.table[index]
        return colours


@dataclass(frozen=True)
class VoiWindow:
    """VOI window from modality values to 8 bits (PS3.3 C.11.2.1.2).

    Attributes
    ----------
    center, width
        In modality values; the width is positive.
    function
        VOI LUT Function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.
    inverted
        True for white where values are low.
    """

    center: float
    width: float
    function: str
    inverted: bool

    def __call__(self, values: Pixels) -> Pixels:
        """Apply the window to float64 modality values."""
        # The formula of LINEAR divides by the width less 1.
        narrowest = 1 + 1e-6 if self.function == "LINEAR" else 1e-6
        levels: Pixels = hd.pixels.apply_voi_window(
            values,
            window_center=self.center,
            window_width=max(self.width, narrowest),
            voi_lut_function=self.function,
            output_range=(0.0, float(WHITE)),
            invert=self.inverted,
        )
        return levels


@dataclass(frozen=True, eq=False)
class VoiLut:
    """VOI lookup table from modality values to 8 bits (PS3.3 C.11.2.1.1).

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
        """Look up modality values; values beyond an end take the level of that end."""
        levels: Pixels = self.table[
            np.clip(np.rint(values) - self.first, 0, len(self.table) - 1).astype(np.int64)
        ]
        return levels


@dataclass(frozen=True, eq=False)
class Gray:
    """Transform of an array's values to gray in RGB.

    Attributes
    ----------
    modality
        Transform to modality values; None where the array holds these.
    voi
        Transform from modality values to gray levels.
    """

    modality: Transform | None
    voi: VoiWindow | VoiLut

    def __call__(self, pixels: Pixels) -> Pixels:
        """Transform one block; pixels without a value are black."""
        flat = pixels.reshape(-1)
        gray = np.empty(flat.shape, np.uint8)
        for start in range(0, len(flat), BLOCK):
            part = flat[start : start + BLOCK]
            absent = np.isnan(part)
            # 1e100 is beyond any window, and overflows in none.
            values = np.nan_to_num(part.astype(np.float64), posinf=1e100, neginf=-1e100)
            if self.modality is not None:
                values = self.modality.apply(values, 0).astype(np.float64)
            levels = np.rint(self.voi(values))
            gray[start : start + BLOCK] = np.where(absent, 0, levels)
        return np.repeat(gray.reshape(*pixels.shape, 1), 3, axis=-1)
