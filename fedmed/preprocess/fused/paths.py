"""Which loop serves a grid, and its work cut into jobs; the loops themselves are compiled (loops.py)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fused.arguments import TIE, Request, Shape
from fedmed.preprocess.fused.folding import Folded
from fedmed.preprocess.fused.launch import STRAIGHT

Path = Literal["stack", "turned", "rows", "oblique"]
Job = Callable[[], None]
Axis = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]

MARGIN = 0.5 + TIE
SLICES = 16
"""At a time where axes are exchanged: what is written then still lies in the cache when it is put in place."""


def path_of(matrix: NDArray[np.float64], shape: Shape) -> Path:
    """How the output lies in the input: axis along axis, axes exchanged, rows along rows only, or anyhow.

    An entry whose whole effect is below STRAIGHT voxels counts as none.
    """
    effect = np.abs(matrix[:, :3]) * np.array(shape) > STRAIGHT
    if not (effect & ~np.eye(3, dtype=bool)).any():
        return "stack"
    if not (effect[:2, 2].any() or effect[2, :2].any()):
        return "rows"
    return "turned" if (effect.sum(axis=0) == 1).all() and (effect.sum(axis=1) == 1).all() else "oblique"


def straightened(matrix: NDArray[np.float64], out: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """A "turned" grid as a stack: the matrix and a view of `out` with its axes in the order of the input's."""
    order = np.argmax(np.abs(matrix[:, :3]) * np.array(out.shape), axis=1)
    return np.concatenate([matrix[:, order], matrix[:, 3:]], axis=1), out.transpose(order)


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

    matrix, size, common = request.to_voxel[n], request.voxels.shape[1:], settings(request, fold)
    source = (request.voxels[n], fold.scale[n], fold.offset[n], common.mask)
    path, made = path_of(matrix, request.shape), list[Job]()
    if path == "turned":
        matrix, out = straightened(matrix, out)
    deep, down, across = (axis(matrix[a, a], matrix[a, 3], out.shape[a], size[a]) for a in range(3))
    columns = (int(across[0].min()), int(across[1].max()) + 1)
    across = (across[0] - np.uint32(columns[0]), across[1] - np.uint32(columns[0]), across[2])
    margin = MARGIN if request.edge == "constant" else np.inf
    for piece in pieces(len(out), parts):
        tail = (common.finish, piece.start, out[piece])
        if path == "rows":
            made.append(functools.partial(loops.rows, *source, matrix, across, columns, *tail))
        elif path == "oblique":
            made.append(functools.partial(loops.oblique, *source, matrix, margin, *tail))
        else:
            made.append(functools.partial(_stacked, source, deep, (down, across, columns, common.finish), piece, out))
    return made


def pieces(count: int, parts: int) -> list[slice]:
    """`count` slices in at most `parts` runs of nearly equal length."""
    edges = np.linspace(0, count, min(parts, count) + 1).astype(int)
    return [slice(int(start), int(end)) for start, end in itertools.pairwise(edges)]


def _stacked(source: tuple[Any, ...], deep: Axis, rest: tuple[Any, ...], piece: slice, out: NDArray[Any]) -> None:
    """Slices `piece` of a stack; where `out` is no C array, some slices at a time by way of one."""
    from fedmed.preprocess.fused import loops

    straight = out.flags.c_contiguous
    step = piece.stop - piece.start if straight else SLICES
    for start in range(piece.start, piece.stop, step):
        part = slice(start, min(start + step, piece.stop))
        target = out[part] if straight else np.empty(out[part].shape, out.dtype)
        cut = (deep[0][part], deep[1][part], deep[2][part])
        loops.stack(*(*source, cut, *rest, target))
        if not straight:
            out[part] = target


def fill_outside(request: Request, fold: Folded, n: int, out: NDArray[Any]) -> None:
    """The constant edge of a grid along the rows: outside voxels of `out` (oD, oH, oW) become the window's fill."""
    matrix, size = request.to_voxel[n], request.voxels.shape[1:]
    path = path_of(matrix, request.shape)
    if path == "oblique":
        return  # its loop has seen to it
    if path == "turned":
        matrix, out = straightened(matrix, out)
    k, j, i = np.arange(out.shape[0])[:, None], np.arange(out.shape[1])[None, :], np.arange(out.shape[2])
    far = _outside(matrix[0, 0] * k + matrix[0, 1] * j + matrix[0, 3], size[0])
    far |= _outside(matrix[1, 0] * k + matrix[1, 1] * j + matrix[1, 3], size[1])
    value = finished(fold)
    out[far] = value
    out[:, :, _outside(matrix[2, 2] * i + matrix[2, 3], size[2])] = value


def _outside(place: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    return (place < -MARGIN) | (place > count - 1 + MARGIN)


def finished(fold: Folded) -> np.float32:
    """What `fill` becomes in the result."""
    u = np.float32(fold.fill)
    if fold.sigmoid:
        share = 1 / (1 + np.exp(min(-4 * (float(u) - 0.5), 700.0)))
        return np.float32(share * fold.gain + fold.base)
    return np.float32(
        np.clip(u, np.float32(fold.lowest), np.float32(fold.highest)) * np.float32(fold.gain) + np.float32(fold.base)
    )
