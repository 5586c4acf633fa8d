"""Rescale and window as one multiplication and one addition, and the error that this may make."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fused.arguments import LARGEST, Request


@dataclass(frozen=True)
class Folded:
    """Rescale and window as the kernels apply them: u = voxel * scale + offset, result = clamp(u) * gain + base."""

    scale: NDArray[np.float32]
    """`(N, D)`."""
    offset: NDArray[np.float32]
    """`(N, D)`."""
    first: float
    """Stored values `first`..`last` are padding; first > last where there is none."""
    last: float
    fill: float
    """What padding becomes, as a u."""
    lowest: float
    highest: float
    """u is clamped to these before gain and base."""
    gain: float
    base: float
    sigmoid: bool


def folded(request: Request) -> Folded:
    """Slope, intercept and window in one scale and offset a slice, computed in float64 and rounded once."""
    window, largest = request.window, LARGEST[request.dtype.name]
    slope, intercept = request.slope.astype(np.float64), request.intercept.astype(np.float64)
    first, last = request.padding or (math.inf, -math.inf)
    if window is None:
        return Folded(
            request.slope, request.intercept, first, last, request.fill, -largest, largest, 1.0, 0.0, sigmoid=False
        )  # fmt: skip
    width = window.high - window.low
    return Folded(
        scale=(slope / width).astype(np.float32),
        offset=((intercept - window.low) / width).astype(np.float32),
        first=first,
        last=last,
        fill=(request.fill - window.low) / width,
        lowest=-LARGEST["float32"] if window.function == "sigmoid" else 0.0,
        highest=LARGEST["float32"] if window.function == "sigmoid" else 1.0,
        gain=window.out_high - window.out_low,
        base=window.out_low,
        sigmoid=window.function == "sigmoid",
    )


def bound(request: Request) -> float:
    """Largest difference from the twin that a back end working in float32 may show, in result units.

    Nine roundings of 2^-24 of the largest term that enters (stored value times slope, intercept, low end, fill), seen
    through the window; and one rounding of the result, in float16 one more where the twin's value lies at a tie.
    """
    window = request.window
    width = 1.0 if window is None else window.high - window.low
    low = 0.0 if window is None else abs(window.low)
    voxels = request.voxels
    finite = voxels[np.isfinite(voxels)] if voxels.dtype.kind == "f" else voxels
    stored = max(abs(float(finite.max(initial=0))), abs(float(finite.min(initial=0))))
    term = stored * float(np.abs(request.slope).max()) + float(np.abs(request.intercept).max()) + low + abs(request.fill)
    gain = 1.0 if window is None else abs(window.out_high - window.out_low)
    largest = term if window is None else max(abs(window.out_low), abs(window.out_high))
    units = 2.0**-23 if request.dtype.name == "float32" else 2.0**-10
    return 9 * 2.0**-24 * gain * term / width + units * min(largest, LARGEST[request.dtype.name]) + 2.0**-24
