"""One frame decoded as the reader decodes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from xarray_dicom.pixel_format import Buffer, PixelFormat
from xarray_dicom.pixels import FrameDecoder


def decode_frame(codestream: Buffer, fmt: PixelFormat, **options: Any) -> np.ndarray:
    """Decode one frame by a decoder of its own; `options` as for `FrameDecoder.decode_frame`."""
    return FrameDecoder(fmt).decode_frame(codestream, **options)
