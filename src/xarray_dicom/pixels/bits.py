"""From bits to values: 1-bit pixels, unused high bits, signs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xarray_dicom.errors import CorruptDicomError
from xarray_dicom.pixel_format import Buffer


def unpack_bits(buffer: Buffer, start_bit: int, count: int) -> NDArray[np.uint8]:
    """Spread 1-bit pixels over bytes, the least significant bit first (PS3.5 8.1.1).

    Parameters
    ----------
    buffer
        Packed bits; bit 0 is the least significant one of the first byte.
    start_bit
        Bits of `buffer` before the first pixel.
    count
        Number of pixels.

    Returns
    -------
    numpy.ndarray
        0 and 1, shape ``(count,)``, writeable.

    Raises
    ------
    CorruptDicomError
        If `buffer` ends before the last pixel.
    """
    first, skip = divmod(start_bit, 8)
    packed = np.frombuffer(buffer, np.uint8)[first : (start_bit + count + 7) // 8]
    if packed.size * 8 < skip + count:
        raise CorruptDicomError(
            f"{count} 1-bit pixels need {(skip + count + 7) // 8} bytes, but only "
            f"{packed.size} are present"
        )
    return np.unpackbits(packed, count=skip + count, bitorder="little")[skip:]


def copy_significant_bits(
    pixels: NDArray[np.generic], precision: int, out: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Copy the lowest `precision` bits of pixels to an array.

    The bits above are cleared for an unsigned `out` and filled with the sign for a signed
    one: their content is undefined, or an overlay (PS3.5 8.1.1). Conversion to the type of
    `out` is modular, so an unsigned codec can carry signed pixels.

    Parameters
    ----------
    pixels
        Samples of a codec; may be `out` itself.
    precision
        Significant bits of a sample; 0 for all.
    out
        Array of the same shape.

    Returns
    -------
    numpy.ndarray
        `out`.
    """
    shift = 8 * out.dtype.itemsize - precision
    if precision == 0 or shift <= 0 or out.dtype.kind not in "iu":
        if pixels is not out:
            np.copyto(out, pixels, casting="unsafe")
    elif out.dtype.kind == "u" and pixels.dtype == out.dtype:
        np.bitwise_and(pixels, out.dtype.type((1 << precision) - 1), out=out)
    else:
        if pixels is not out:
            np.copyto(out, pixels, casting="unsafe")
        np.left_shift(out, shift, out=out)
        np.right_shift(out, shift, out=out)
    return out
