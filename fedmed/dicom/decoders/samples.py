"""What every back end does to decoded samples: bits that are none cleared, signs extended, YBR turned into RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.reasons import Reason, Untrusted


def clear_unused_bits(samples: NDArray[np.generic], unused: int) -> None:
    """In place, clears the `unused` highest bits and extends the sign into them (PS3.5 section 8.1.1)."""
    if unused <= 0 or _are_clear(samples, unused):
        return
    np.left_shift(samples, unused, out=samples)
    np.right_shift(samples, unused, out=samples)


def _are_clear(samples: NDArray[np.generic], unused: int) -> bool:
    """Most writers leave them clear; looking costs a third of clearing."""
    bits = 8 * samples.itemsize - unused
    if samples.dtype.kind == "u":
        return bool(samples.max() >> bits == 0)
    return bool(samples.min() >= -(1 << bits - 1) and samples.max() < 1 << bits - 1)


# YBR_FULL -> RGB, PS3.3 C.7.6.3.1.2 solved for RGB (ISO/IEC 10918-5 section 7), in float32 as pydicom does it.
_RGB_OF_YBR = np.asarray([[1, 1, 1], [0, -0.114 * 1.772 / 0.587, 1.772], [1.402, -0.299 * 1.402 / 0.587, 0]], np.float32)
_ZERO = np.asarray([0, 128, 128], np.float32)
AT_ONCE = 1 << 16
"""Pixels, so that the float32 copy stays in the cache."""


def to_rgb(samples: NDArray[np.generic]) -> None:
    """In place, YBR_FULL -> RGB of contiguous 8-bit samples `(..., 3)`; Untrusted for samples of more bits."""
    if samples.dtype != np.uint8:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"YBR_FULL of {samples.dtype} samples; only 8 bits, unsigned, are read.")
    pixels = samples.reshape(-1, 3)
    for begin in range(0, len(pixels), AT_ONCE):
        part = pixels[begin : begin + AT_ONCE].astype(np.float32)
        part -= _ZERO
        part = np.floor(part @ _RGB_OF_YBR + np.float32(0.5))
        pixels[begin : begin + AT_ONCE] = np.clip(part, 0, 255, out=part)
