"""Which loop serves a grid, and its work cut into jobs; the loops themselves are compiled (loops.py)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fused.arguments import TIE, Folded, Request
from fedmed.preprocess.fused.launch import STRAIGHT

Path = Literal["stack", "rows", "oblique"]
Job = Callable[[], None]
Axis = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]

MARGIN = 0.5 + TIE


def path_of(matrix: NDArray[np.float64], shape: tuple[int, int, int]) -> Path:
    """How the output lies in the input: along all three axes, along its rows only, or anyhow.

    An entry whose whole effect is below STRAIGHT voxels counts as none.
    """
    effect = np.abs(matrix[:, :3]) * np.array(shape) > STRAIGHT
    if effect[0, 2] or effect[1, 2] or effect[2, 0] or effect[2, 1]:
        return "oblique"
    return "rows" if effect[0, 1] or effect[1, 0] else "stack"


def axis(step: float, start: float, count: int, size: int) -> Axis:
    """`count` outputs along one input axis of `size`: lower voxel, upper voxel, share of the upper; clamped."""
    at = np.clip(step * np.arange(count) + start, 0, size - 1)
    low = at.astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    return low.astype(np.uint32), high.astype(np.uint32), (at - low).astype(np.float32)


@dataclass(frozen=True)
class Settings:
    """What all jobs of one call share, typed as the loops want it."""

    mask: tuple[Any, ...]
    finish: tuple[Any, ...]


def settings(request: Request, fold: Folded) -> Settings:
    """Mask and finish in float32; floating-point voxels are always looked at, for they may be no number."""
    single = np.float32
    masks = request.padding is not None or request.voxels.dtype.kind == "f"
    return Settings(
        (single(fold.first), single(fold.last), single(fold.fill), masks),
        (single(fold.lowest), single(fold.highest), single(fold.gain), single(fold.base), fold.sigmoid),
    )


def jobs(request: Request, fold: Folded, n: int, out: NDArray[Any], parts: int) -> list[Job]:
    """Work that together fills `out` (oD, oH, oW), volume n of the result, in `parts` pieces of slices."""
    from fedmed.preprocess.fused import loops

    voxels, matrix, common = request.voxels[n], request.to_voxel[n], settings(request, fold)
    source = (voxels, fold.scale[n], fold.offset[n], common.mask)
    path, made = path_of(matrix, request.shape), list[Job]()
    margin = MARGIN if request.edge == "constant" else np.inf
    deep, down, columns, across = _tables(matrix, request.shape, voxels.shape)
    for part in np.array_split(np.arange(len(out)), min(parts, len(out))):
        first, piece = int(part[0]), slice(int(part[0]), int(part[-1]) + 1)
        if path == "stack":
            cut = (deep[0][piece], deep[1][piece], deep[2][piece])
            work = functools.partial(loops.stack, *source, cut, down, across, columns, common.finish, out[piece])
        elif path == "rows":
            work = functools.partial(loops.rows, *source, matrix, across, columns, common.finish, first, out[piece])
        else:
            work = functools.partial(loops.oblique, *source, matrix, margin, common.finish, first, out[piece])
        made.append(work)
    return made


def _tables(
    matrix: NDArray[np.float64], shape: tuple[int, int, int], size: tuple[int, int, int]
) -> tuple[Axis, Axis, tuple[int, int], Axis]:
    deep, down, across = (axis(matrix[a, a], matrix[a, 3], shape[a], size[a]) for a in range(3))
    left, right = int(across[0].min()), int(across[1].max()) + 1
    return deep, down, (left, right), (across[0] - np.uint32(left), across[1] - np.uint32(left), across[2])


def fill_outside(request: Request, fold: Folded, n: int, out: NDArray[Any]) -> None:
    """The constant edge of a grid along the rows: outside voxels of `out` (oD, oH, oW) become the window's fill."""
    matrix, shape, size = request.to_voxel[n], request.shape, request.voxels.shape[1:]
    if path_of(matrix, shape) == "oblique":
        return  # its loop has seen to it
    k, j, i = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :], np.arange(shape[2])
    far = np.zeros(shape[:2], dtype=bool)
    for row, count in zip(matrix[:2], size[:2], strict=True):
        place = row[0] * k + row[1] * j + row[3]
        far |= (place < -MARGIN) | (place > count - 1 + MARGIN)
    place = matrix[2, 2] * i + matrix[2, 3]
    value = finished(fold)
    out[far] = value
    out[:, :, (place < -MARGIN) | (place > size[2] - 1 + MARGIN)] = value


def finished(fold: Folded) -> np.float32:
    """What `fill` becomes in the result."""
    u = np.float32(fold.fill)
    if fold.sigmoid:
        share = 1 / (1 + np.exp(min(-4 * (float(u) - 0.5), 700.0)))
        return np.float32(share * fold.gain + fold.base)
    return np.float32(np.clip(u, np.float32(fold.lowest), np.float32(fold.highest)) * np.float32(fold.gain) + np.float32(fold.base))
