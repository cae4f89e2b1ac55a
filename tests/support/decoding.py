"""Frames decoded as the reader decodes them."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from support import decoder_package
from xarray_dicom.pixel_format import Buffer, PixelFormat
from xarray_dicom.pixels import FrameDecoder, decoder_for


def decode_frame(codestream: Buffer, fmt: PixelFormat, **options: Any) -> np.ndarray:
    """Decode one frame by a decoder of its own; `options` as for `FrameDecoder.decode_frame`."""
    return FrameDecoder(fmt).decode_frame(codestream, **options)


def decode_batch(
    name: str, fmt: PixelFormat, codestreams: list[bytes]
) -> tuple[np.ndarray, int, list[int]]:
    """Decode a batch by a named decoder: the pixels, this process, and the batches it decoded."""
    out = np.full((len(codestreams), *fmt.shape), 77, fmt.dtype)
    decoder_for(name, fmt).decode_batch(codestreams, out)
    module = sys.modules.get(decoder_package.MODULE)
    return out, os.getpid(), list(module.batches) if module else []
