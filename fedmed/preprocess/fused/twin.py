"""The definition of the fused pass, in plain NumPy and float64; the other back ends must equal it within `bound`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedmed.preprocess.fused.arguments import LARGEST, Edge, Request, Shape, checked, delivered
from fedmed.preprocess.fused.sampling import coordinates, corners, inside
from fedmed.preprocess.fused.sources import digest
from fedmed.preprocess.fused.twin_augment import augment as augment
from fedmed.preprocess.fused.twin_augment import augment_labels as augment_labels
from fedmed.preprocess.fused.window import Window

NAME = "numpy"
SOURCES = ("arguments.py", "window.py", "twin.py", "twin_augment.py", "sampling.py", "noise.py")


def why_not() -> str | None:
    """The definition always runs."""
    return None


def version() -> str:
    """NumPy's."""
    return f"numpy {np.__version__}"


def source_sha256() -> str:
    """Of the files that compute the results."""
    return digest(SOURCES)


def adopted(array: Any) -> NDArray[Any]:
    """An array on the host of another library (DLPack), without a copy."""
    return np.from_dlpack(array)


def to_host(array: NDArray[Any]) -> NDArray[Any]:
    """Results of this back end are NumPy arrays already."""
    return array


def resample(
    voxels: NDArray[np.generic],
    slope: NDArray[np.generic],
    intercept: NDArray[np.generic],
    to_voxel: NDArray[np.generic],
    shape: Shape,
    *,
    window: Window | None,
    padding: tuple[float, float] | None = None,
    fill: float = 0.0,
    edge: Edge = "border",
    dtype: DTypeLike = np.float32,
    out: NDArray[Any] | None = None,
    threads: int = 1,
) -> NDArray[Any]:
    """Stored voxels `(D, H, W)` -> `(oD, oH, oW)` on another grid and in a network's values; or `(N, ...)` of each.

    In this order, each step in float64:

    1. voxel * slope[d] + intercept[d]: modality units, float32 `(D,)` or `(N, D)` a slice (PS3.3 C.11.1.1.2);
    2. a voxel whose *stored* value lies in `padding` (first to last, both included), or is not finite, becomes `fill`
       (modality units), before anything is interpolated;
    3. output index (k, j, i) -> (d, h, w) = to_voxel @ (k, j, i, 1), `(3, 4)` or `(N, 3, 4)`; the voxel's centre is the
       whole number. "border": coordinates are clamped to 0..size-1, as MONAI's padding_mode=border does. "constant":
       more than half a voxel (and TIE) outside, the sample is `fill`; nearer, clamped;
    4. trilinear between the eight voxels around it: a point sample, so that shrinking aliases (fedmed/preprocess/grid.py);
    5. `window`, or none for modality units;
    6. clamp to the largest finite number of `dtype` (float32 or float16) and round to nearest, ties to even.

    A 2D image is D = 1. The result is written into `out` where one is given. `threads` is for the other back ends.
    Raises ValueError for shapes, types or numbers that cannot be right.
    """
    request = checked(voxels, slope, intercept, to_voxel, shape, window, padding, fill, edge, dtype)
    result = np.empty(request.out_shape, request.dtype)
    for n in range(len(result)):
        for k in range(request.shape[0]):
            result[n, k] = _finished(_sampled(request, n, k), request)
    final: NDArray[Any] = delivered(result, request, out)
    return final


def _sampled(request: Request, n: int, k: int) -> NDArray[np.float64]:
    """Slice k of output volume n, `(oH, oW)` modality units."""
    voxels = request.voxels[n]
    places = coordinates(request.to_voxel[n], k, request.shape)
    total = np.zeros(request.shape[1:])
    for d, h, w, weight in corners(places, voxels.shape):
        stored = voxels[d, h, w].astype(np.float64)
        masked = _masked(stored, request.padding)
        value = np.where(masked, 0, stored) * request.slope[n][d] + request.intercept[n][d]
        total += weight * np.where(masked, request.fill, value)
    return total if request.edge == "border" else np.where(inside(places, voxels.shape), total, request.fill)


def _masked(stored: NDArray[np.float64], padding: tuple[float, float] | None) -> NDArray[np.bool_]:
    masked = ~np.isfinite(stored)
    return masked if padding is None else masked | ((stored >= padding[0]) & (stored <= padding[1]))


def _finished(values: NDArray[np.float64], request: Request) -> NDArray[np.float64]:
    window, largest = request.window, LARGEST[request.dtype.name]
    if window is not None:
        share = (values - window.low) / (window.high - window.low)
        if window.function == "linear":
            share = np.clip(share, 0, 1)
        else:
            share = 1 / (1 + np.exp(np.clip(-4 * (share - 0.5), -700, 700)))
        values = window.out_low + share * (window.out_high - window.out_low)
    return np.clip(values, -largest, largest)
