"""Histology of any size: scikit-image's 512 x 512 `immunohistochemistry`, mirrored and jittered."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from skimage import color, data

PERIOD = 1024
GLASS = 243


@functools.cache
def _stained() -> NDArray[np.uint8]:
    return np.asarray(data.immunohistochemistry(), dtype=np.uint8)


@functools.cache
def _stains() -> NDArray[np.uint8]:
    """Haematoxylin, DAB and darkness of the picture, each stretched to 8 bits."""
    unmixed = color.rgb2hed(_stained())
    darkness = 1 - color.rgb2gray(_stained())
    stains = np.dstack([unmixed[..., 0], unmixed[..., 2], darkness])
    low, high = np.percentile(stains, (1, 99.5), axis=(0, 1))
    return np.clip((stains - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def _mirrored(index: NDArray[np.int64]) -> NDArray[np.int64]:
    phase = index % PERIOD
    return np.where(phase < PERIOD // 2, phase, PERIOD - 1 - phase)


def histology(
    rows: slice, columns: slice, *, stain: int | None = None, focal_plane: int = 0
) -> NDArray[np.uint8]:
    """The pixels of a region of an endless slide.

    Parameters
    ----------
    rows, columns
        The region, in pixels of the total pixel matrix.
    stain
        None for RGB, or 0, 1, 2 for one stain as a monochrome channel.
    focal_plane
        How far from focus: each step blurs by one pixel more.

    Returns
    -------
    NDArray[np.uint8]
        Shape ``(rows, columns, 3)``, or ``(rows, columns)`` for one stain.
    """
    y = np.arange(rows.start, rows.stop)[:, None]
    x = np.arange(columns.start, columns.stop)[None, :]
    jitter_y = (173 * np.sin(x / 811 + y / 1409) + 29 * np.sin((x + y) / 297)).astype(np.int64)
    jitter_x = (191 * np.sin(y / 907 - x / 1303) + 31 * np.sin((y - x) / 313)).astype(np.int64)
    picture = _stained() if stain is None else _stains()[..., stain]
    pixels = np.zeros((len(y), x.shape[1], *picture.shape[2:]), np.uint16)
    shifts = range(focal_plane + 1)
    for shift in shifts:
        pixels += picture[_mirrored(y + jitter_y + shift), _mirrored(x + jitter_x + shift)]
    pixels //= len(shifts)
    ragged = 0.05 * np.sin((x + y) / 173) + 0.04 * np.sin((x - 2 * y) / 131)
    bare = np.sin(x / 1231 + 0.1) + np.sin(y / 1453 + 0.3) + ragged < -0.7
    pixels[bare] = GLASS if stain is None else 0
    return pixels.astype(np.uint8)
