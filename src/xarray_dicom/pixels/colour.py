"""Conversion of colour as DICOM stores it to RGB by pixel (PS3.3 C.7.6.3.1.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import convert_color_space

from xarray_dicom.errors import UnsupportedDicomError

#: Photometric interpretations whose samples are full-range YCbCr, whatever the codec.
YCBCR = frozenset({"YBR_FULL", "YBR_FULL_422"})

#: Retired ones that neither pydicom nor highdicom converts, and that are not RGB either.
UNSUPPORTED = frozenset({"YBR_PARTIAL_422", "YBR_PARTIAL_420", "HSV", "ARGB", "CMYK"})


def ycbcr_to_rgb(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Convert full-range YCbCr, shape ``(..., 3)``, to RGB with pydicom's rounding.

    Raises
    ------
    UnsupportedDicomError
        For other than unsigned 8-bit samples: the standard defines no other.
    """
    if pixels.dtype != np.uint8:
        raise UnsupportedDicomError(
            f"YCbCr pixels of {8 * pixels.dtype.itemsize} bits cannot be converted to RGB: "
            "only 8 bits are defined"
        )
    rgb: NDArray[np.uint8] = convert_color_space(pixels, "YBR_FULL", "RGB")
    return rgb


def expand_422(samples: NDArray[np.generic]) -> NDArray[np.generic]:
    """Repeat the chroma of native ``Y Y Cb Cr`` groups for each of their two pixels.

    Parameters
    ----------
    samples
        Any shape; a multiple of four values in C order.

    Returns
    -------
    numpy.ndarray
        Shape ``(pixels, 3)``.
    """
    groups = samples.reshape(-1, 4)
    pixels = np.empty((groups.shape[0], 2, 3), samples.dtype)
    pixels[:, :, 0] = groups[:, :2]
    pixels[:, :, 1:] = groups[:, np.newaxis, 2:]
    return pixels.reshape(-1, 3)


def by_pixel(planes: NDArray[np.generic]) -> NDArray[np.generic]:
    """View colour by plane, shape ``(..., samples, rows, columns)``, as colour by pixel."""
    return np.moveaxis(planes, -3, -1)
