"""How the CUDA kernels are called: sources, entry, arguments and grid, worked out without CUDA."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.config.catalogue import shipped
from fedmed.preprocess.fused.arguments import Edge, Request
from fedmed.preprocess.fused.augmentation import AugmentParameters
from fedmed.preprocess.fused.folding import folded

BLOCK = (32, 8)
CHUNK = 8
"""Slices that one thread walks; interpolate.cuh says the same."""
MOST_BLOCKS = 2**20
"""Beyond this many tiles a block takes several (grid-stride)."""
SOURCES = ("resample", "augment")
SIGMOID, CONSTANT_EDGE = 1, 2
STRAIGHT = 1e-9
"""Voxels: a slope of the slices whose whole effect is smaller counts as none."""

_SHARED = "interpolate.cuh"


def source(name: str) -> str:
    """CUDA C of kernels/NAME.cu in one piece: the shared part put where it is included, lines counted as in the files."""
    folder = shipped("kernels")
    shared = (folder / _SHARED).read_text(encoding="utf-8")
    text = (folder / f"{name}.cu").read_text(encoding="utf-8")
    before, include, after = text.partition(f'#include "{_SHARED}"\n')
    line = (before + include).count("\n") + 1
    return f'{before}#line 1 "{_SHARED}"\n{shared}#line {line} "{name}.cu"\n{after}'


def source_sha256() -> str:
    """One digest over all kernel sources, as they are compiled."""
    return hashlib.sha256("".join(source(name) for name in SOURCES).encode()).hexdigest()


@dataclass(frozen=True)
class Launch:
    """One kernel call: entry, grid, and what comes before and after the `out` array among the arguments."""

    source: str
    entry: str
    blocks: int
    inputs: tuple[Any, ...]
    scalars: tuple[np.generic, ...]


def tiles(volumes: int, depth: int, height: int, width: int) -> int:
    """Blocks for one tile each."""
    count = volumes * -(-depth // CHUNK) * -(-height // BLOCK[1]) * -(-width // BLOCK[0])
    return min(count, MOST_BLOCKS)


def parallel_slices(request: Request) -> bool:
    """Whether every output slice lies parallel to the input's, so that a column reads alike in each of them."""
    matrix, (depth, height, width) = np.abs(request.to_voxel), request.shape
    tilts = (matrix[:, 0, 1] * height, matrix[:, 0, 2] * width, matrix[:, 1, 0] * depth, matrix[:, 2, 0] * depth)
    return all((tilt <= STRAIGHT).all() for tilt in tilts)


def resample(request: Request) -> Launch:
    """The call that resamples: arguments in the order of kernels/resample.cu."""
    fold = folded(request)
    way = "parallel" if parallel_slices(request) else "oblique"
    flags = (SIGMOID if fold.sigmoid else 0) | (CONSTANT_EDGE if request.edge == "constant" else 0)
    reals = (fold.first, fold.last, fold.fill, fold.lowest, fold.highest, fold.gain, fold.base)
    return Launch(
        "resample",
        f"{way}_{request.voxels.dtype.name}_{request.dtype.name}",
        tiles(*request.out_shape),
        (request.voxels, fold.scale, fold.offset, request.to_voxel),
        (*_integers(*request.voxels.shape, *request.shape), *(np.float32(real) for real in reals), np.int32(flags)),
    )


def augment(volumes: Any, parameters: AugmentParameters, values: tuple[float, float], edge: Edge, fill: float) -> Launch:
    """The call that augments `(N, C, D, H, W)` float32: arguments in the order of kernels/augment.cu."""
    tones = np.stack([parameters.gamma, parameters.contrast, parameters.brightness, parameters.noise], axis=1)
    words = np.stack([parameters.key & np.uint64(0xFFFFFFFF), parameters.key >> np.uint64(32)], axis=1)
    reals = (values[0], values[1] - values[0], fill)
    return Launch(
        "augment",
        "augment",
        _grid(volumes),
        (volumes, _matrices(parameters, len(volumes)), tones.astype(np.float32), words.astype(np.uint32)),
        (*_integers(*volumes.shape), *(np.float32(real) for real in reals), _flags(edge)),
    )


def labels(volumes: Any, parameters: AugmentParameters, edge: Edge, fill: int) -> Launch:
    """The call that moves labels `(N, C, D, H, W)` given as unsigned numbers of their width."""
    return Launch(
        "augment",
        f"labels_{volumes.dtype.itemsize}",
        _grid(volumes),
        (volumes, _matrices(parameters, len(volumes))),
        (*_integers(*volumes.shape), np.int64(fill), _flags(edge)),
    )


def _grid(volumes: Any) -> int:
    return tiles(len(volumes), *volumes.shape[2:])


def _flags(edge: Edge) -> np.int32:
    return np.int32(CONSTANT_EDGE if edge == "constant" else 0)


def _integers(*values: int) -> tuple[np.int32, ...]:
    return tuple(np.int32(value) for value in values)


def _matrices(parameters: AugmentParameters, n: int) -> NDArray[np.float64]:
    return np.array(np.broadcast_to(parameters.to_voxel, (n, 3, 4)), np.float64)
