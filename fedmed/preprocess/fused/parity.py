"""Proof that a back end computes here what the definition says: a small fixed suite, and its certificate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fused import arguments, augmentation, folding, twin
from fedmed.preprocess.fused.augmentation import AugmentParameters
from fedmed.preprocess.fused.backends import Backend, chosen
from fedmed.preprocess.fused.noise import normal
from fedmed.preprocess.fused.window import Window

SIZE, SHAPE = (9, 14, 17), (10, 11, 35)
MATRICES = (
    ((0.8, 0, 0, 0.3), (0, 1.2, 0, 0.4), (0, 0, 0.5, -0.7)),  # along the axes
    ((0.8, 0, 0, 0.3), (0.35, 1.1, 0, -0.5), (0, 0, 0.45, 0.2)),  # a tilted gantry
    ((0.0, 0, 0.25, 0.1), (1.3, 0, 0, 0.2), (0, -1.5, 0, 15.6)),  # axes exchanged, one turned round
    ((0.7, 0.15, -0.02, 0.4), (-0.2, 1.1, 0.1, 0.3), (0.1, -0.3, 0.45, 1.2)),  # oblique
)
WINDOWS = (Window(-160, 240), Window(-160, 240, -2.1, 2.6), Window(-100, 300, function="sigmoid"), None)


@dataclass(frozen=True)
class Certificate:
    """What a site shows for its back end; every field is a plain JSON value."""

    backend: str
    version: str
    source_sha256: str
    """Of the source that computed."""
    definition_sha256: str
    """Of the definition compared with."""
    cases: int
    worst: str
    """The case with the largest share of its bound."""
    max_error: float
    """Of that case, in its result's units."""
    bound: float
    """Of that case."""
    passed: bool
    """Every case within its bound, labels to the last bit."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def certificate(backend: Backend | None = None) -> Certificate:
    """Run the suite on `backend` (default: the one chosen here): some tenths of a second once it is compiled."""
    module = backend or chosen()
    found = [*_resampled(module), *_augmented(module)]
    name, error, limit = max(found, key=lambda case: case[1] / case[2])
    passed = all(error <= limit for _, error, limit in found)
    sources = module.source_sha256(), twin.source_sha256()
    return Certificate(module.NAME, module.version(), *sources, len(found), name, float(error), float(limit), passed)


Case = tuple[str, float, float]


def numbers(shape: tuple[int, ...], key: int) -> NDArray[np.float64]:
    """Fixed numbers of mean 0 and deviation 1, drawn from no generator."""
    return normal(key, np.arange(int(np.prod(shape)), dtype=np.uint32)).reshape(shape)


def stored(kind: str) -> NDArray[Any]:
    """Two volumes of stored values, air around something, with padding at a corner."""
    voxels = 120 + 60 * numbers((2, *SIZE), 7)
    if kind != "uint8":
        voxels = voxels * 12 - 900 * (kind != "uint16")
    voxels[:, :, :3, :4] = 3
    return np.clip(voxels, 0 if kind[0] == "u" else -3000, 255 if kind == "uint8" else 4000).astype(kind)


def resample_cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every stored type on every kind of grid; windows, paddings, edges and result types in turn."""
    slope = np.stack([np.linspace(0.8, 1.2, SIZE[0]), np.ones(SIZE[0])])
    for number, (kind, matrix) in enumerate(itertools.product(arguments.NATIVE, range(len(MATRICES)))):
        turn = number + number // len(MATRICES)
        both = np.stack([np.array(MATRICES[matrix]), np.array(MATRICES[matrix]) * 0.97])
        options = {
            "slope": slope,
            "intercept": np.full((2, SIZE[0]), -1024.0 if kind == "uint16" else 1.5),
            "to_voxel": both,
            "shape": SHAPE,
            "window": WINDOWS[turn % 4],
            "padding": (3, 3) if turn % 3 else None,
            "fill": -1000.0,
            "edge": "constant" if turn % 2 else "border",
            "dtype": "float16" if number % 3 == 1 else "float32",
        }
        yield f"{kind}, grid {matrix}, {options['dtype']}", {"voxels": stored(kind), **options}


def _resampled(module: Backend) -> Iterator[Case]:
    for name, options in resample_cases():
        got = np.asarray(module.to_host(module.resample(**options)), np.float64)
        wanted = twin.resample(**options).astype(np.float64)
        yield name, _error(got, wanted), folding.bound(arguments.checked(**options))


def augment_parameters() -> AugmentParameters:
    """Two samples: one turned, dark and noisy, one flipped and bright."""
    return AugmentParameters(
        np.array([MATRICES[3], ((1, 0, 0, 0), (0, -1, 0, SIZE[1] - 1), (0, 0, 1, 0.5))], np.float64),
        gamma=np.array([1.4, 1.0], np.float32),
        contrast=np.array([0.9, 1.2], np.float32),
        brightness=np.array([-0.05, 0.1], np.float32),
        noise=np.array([0.1, 0.0], np.float32),
        key=np.array([0xDEADBEEF12345678, 1], np.uint64),
    )


def _augmented(module: Backend) -> Iterator[Case]:
    parameters = augment_parameters()
    images = (0.5 + 0.2 * numbers((2, 2, *SIZE), 11)).astype(np.float32)
    labels = (images > 0.6).astype(np.int64) - (images < 0.3)
    limit = augmentation.bound(images, parameters, (0.0, 1.0), 0.25)
    for edge in ("border", "constant"):
        wanted = twin.augment(images, parameters, edge=edge, fill=0.25)
        yield (
            f"augment, {edge}",
            _error(module.to_host(module.augment(images, parameters, edge=edge, fill=0.25)), wanted),
            limit,
        )
        moved = module.to_host(module.augment_labels(labels, parameters, edge=edge, fill=-7))
        yield f"labels, {edge}", _error(moved, twin.augment_labels(labels, parameters, edge=edge, fill=-7)), 0.5


def _error(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Largest difference; infinite where one of them is no number."""
    difference = float(np.abs(got - wanted).max())
    return difference if np.isfinite(difference) else float("inf")
