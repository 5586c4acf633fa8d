"""What every back end is called with, checked and brought into one form."""

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
FARTHEST = 2.0**29
"""No coordinate and no plane may be larger: the kernels count voxels in 32.32 fixed point, and a plane in 32 bits."""
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
    slopes, intercepts = (
        _per_slice(values, n, depth, name) for values, name in ((slope, "slope"), (intercept, "intercept"))
    )
    whole = (int(shape[0]), int(shape[1]), int(shape[2]))
    return Request(batch, slopes, intercepts, matrices, whole, window, between, float(fill), edge, kind, single)


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
        raise ValueError(f"got slices of {voxels.shape[2]} x {voxels.shape[3]}; they may have 2^29 voxels at most")
    name = native(voxels.dtype)
    as_they_are = voxels.dtype.name == name and voxels.dtype.isnative  # big-endian DICOM is not
    return voxels if as_they_are else voxels.astype(name)


def native(dtype: DTypeLike) -> str:
    """As which of NATIVE stored values of a type are read. Raises ValueError for types that are not."""
    name = np.dtype(dtype).name
    if name in NATIVE:
        return name
    if name not in CONVERTED:
        raise ValueError(f"got voxels of {name}; allowed: {', '.join((*NATIVE, *CONVERTED))}")
    return CONVERTED[name]


def _per_slice(values: NDArray[np.generic], n: int, depth: int, name: str) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    if array.shape not in ((depth,), (n, depth)) or not np.isfinite(array).all():
        raise ValueError(f"got a {name} of shape {array.shape}; it must be ({depth},) or ({n}, {depth}), and finite")
    return np.array(np.broadcast_to(array, (n, depth)))


def checked_matrices(to_voxel: NDArray[np.generic], n: int, shape: Shape) -> NDArray[np.float64]:
    """`to_voxel` as `(n, 3, 4)`; ValueError where it, or a coordinate it gives, is beyond what can be computed."""
    if len(shape) != 3 or min(shape) < 1 or shape[1] * shape[2] > FARTHEST:
        raise ValueError(f"got the output shape {shape}; it must be (oD, oH, oW), all above 0, with at most 2^29 a slice")
    matrices = np.asarray(to_voxel, dtype=np.float64)
    if matrices.shape not in ((3, 4), (n, 3, 4)) or not np.isfinite(matrices).all():
        raise ValueError(f"got matrices of shape {matrices.shape}; they must be (3, 4) or ({n}, 3, 4), and finite")
    reach = np.abs(matrices) @ np.array([*shape, 1.0])
    if (reach > FARTHEST).any():
        raise ValueError(f"got a matrix that reaches voxel {reach.max():.3g}; 2^29 at most")
    return np.array(np.broadcast_to(matrices, (n, 3, 4)))
