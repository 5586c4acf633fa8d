"""What every back end is called with, checked and brought into one form, and the error that it may make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedmed.preprocess.fused.window import Window

Edge = Literal["border", "constant"]
Shape = tuple[int, int, int]

NATIVE = ("uint8", "int16", "uint16", "float32")
"""Stored types that the back ends read as they are."""
CONVERTED = {"bool": "uint8", "int8": "int16", "int32": "float32", "uint32": "float32", "float64": "float32"}
"""Stored types that are converted first; 32 bits are rounded to float32's 24."""
TIE = 1e-6
"""Voxels: a border or a tie this near counts as reached, so that no back end's rounding decides."""
FARTHEST = 2.0**30
"""No coordinate and no plane may be larger: indices inside a plane have 32 bits."""
LARGEST: dict[str, float] = {"float16": 65504.0, "float32": float(np.finfo(np.float32).max)}
"""Results beyond the largest finite number of their type become that number."""


@dataclass(frozen=True)
class Request:
    """One checked call of `resample`, always batched."""

    voxels: Any
    """`(N, D, H, W)`, one of NATIVE; a NumPy array, or a CuPy array on its way to the CUDA back end."""
    slope: NDArray[np.float32]
    """`(N, D)`."""
    intercept: NDArray[np.float32]
    """`(N, D)`."""
    to_voxel: NDArray[np.float64]
    """`(N, 3, 4)`: output index `(k, j, i, 1)` -> input index `(d, h, w)`."""
    shape: Shape
    """Of one output volume."""
    window: Window | None
    padding: tuple[float, float] | None
    fill: float
    edge: Edge
    dtype: np.dtype[Any]
    single: bool
    """The caller gave one volume without the batch axis."""

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """`(N, oD, oH, oW)`."""
        return (len(self.voxels), *self.shape)


def checked(
    voxels: Any,
    slope: NDArray[np.generic],
    intercept: NDArray[np.generic],
    to_voxel: NDArray[np.generic],
    shape: Shape,
    window: Window | None,
    padding: tuple[float, float] | None,
    fill: float,
    edge: Edge,
    dtype: DTypeLike,
) -> Request:
    """The arguments of `resample` (twin.py says what each means) as a Request; ValueError for what cannot be right."""
    single = voxels.ndim == 3
    batch = _stored(voxels[None] if single else voxels)
    n, depth = batch.shape[:2]
    kind = np.dtype(dtype)
    if kind.name not in LARGEST:
        raise ValueError(f"got the result type {kind}; allowed: {', '.join(LARGEST)}")
    if edge not in ("border", "constant"):
        raise ValueError(f"got the edge {edge!r}; allowed: border, constant")
    if window is not None and max(abs(window.out_low), abs(window.out_high)) > LARGEST[kind.name]:
        raise ValueError(f"got {window}; {kind} holds {LARGEST[kind.name]:g} at most")
    if not math.isfinite(fill):
        raise ValueError(f"got the fill {fill}; it must be finite")
    matrices = checked_matrices(to_voxel, n, shape)
    between = None if padding is None else (float(min(padding)), float(max(padding)))
    scales = [_per_slice(values, n, depth, name) for values, name in ((slope, "slope"), (intercept, "intercept"))]
    whole = (int(shape[0]), int(shape[1]), int(shape[2]))
    return Request(batch, *scales, matrices, whole, window, between, float(fill), edge, kind, single)


def delivered(result: Any, request: Request, out: Any) -> Any:
    """The result as the caller wants it: without the batch axis if none was given, in `out` if one was."""
    shaped = result[0] if request.single else result
    if out is None:
        return shaped
    check_out(out, request)
    if not np.may_share_memory(out, shaped):
        out[...] = shaped
    return out


def check_out(out: Any, request: Request) -> None:
    """ValueError unless `out` has the shape and type of the result."""
    wanted = request.shape if request.single else request.out_shape
    if out.shape != wanted or out.dtype != request.dtype:
        raise ValueError(f"got an out of {out.dtype} {out.shape}; it must be {request.dtype} {wanted}")


def _stored(voxels: Any) -> Any:
    if voxels.ndim != 4 or 0 in voxels.shape:
        raise ValueError(f"got voxels of shape {voxels.shape}; they must be (D, H, W) or (N, D, H, W), none of them 0")
    if voxels.shape[2] * voxels.shape[3] > FARTHEST:
        raise ValueError(f"got slices of {voxels.shape[2]} x {voxels.shape[3]}; they may have 2^30 voxels at most")
    name = voxels.dtype.name
    if name in NATIVE:
        return voxels
    if name not in CONVERTED:
        raise ValueError(f"got voxels of {name}; allowed: {', '.join((*NATIVE, *CONVERTED))}")
    return voxels.astype(CONVERTED[name])


def _per_slice(values: NDArray[np.generic], n: int, depth: int, name: str) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    if array.shape not in ((depth,), (n, depth)) or not np.isfinite(array).all():
        raise ValueError(f"got a {name} of shape {array.shape}; it must be ({depth},) or ({n}, {depth}), and finite")
    return np.ascontiguousarray(np.broadcast_to(array, (n, depth)))


def checked_matrices(to_voxel: NDArray[np.generic], n: int, shape: Shape) -> NDArray[np.float64]:
    """`to_voxel` as `(n, 3, 4)`; ValueError where it, or a coordinate it gives, is beyond what can be computed."""
    if len(shape) != 3 or min(shape) < 1 or shape[1] * shape[2] > FARTHEST:
        raise ValueError(f"got the output shape {shape}; it must be (oD, oH, oW), all above 0, with at most 2^30 a slice")
    matrices = np.asarray(to_voxel, dtype=np.float64)
    if matrices.shape not in ((3, 4), (n, 3, 4)) or not np.isfinite(matrices).all():
        raise ValueError(f"got matrices of shape {matrices.shape}; they must be (3, 4) or ({n}, 3, 4), and finite")
    reach = np.abs(matrices) @ np.array([*shape, 1.0])
    if (reach > FARTHEST).any():
        raise ValueError(f"got a matrix that reaches voxel {reach.max():.3g}; 2^30 at most")
    return np.ascontiguousarray(np.broadcast_to(matrices, (n, 3, 4)))


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
