"""Proof that a back end computes here what the definition says: a small fixed suite, and its certificate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.preprocess.fused import arguments, augmentation, folding, twin
from fedmed.preprocess.fused.augmentation import AugmentParameters
from fedmed.preprocess.fused.backends import Backend, chosen
from fedmed.preprocess.fused.noise import normal
from fedmed.preprocess.fused.paths import Path
from fedmed.preprocess.fused.window import Window

SIZE, SHAPE = (9, 14, 17), (10, 11, 35)
GRIDS: dict[Path, tuple[tuple[float, ...], ...]] = {
    "stack": ((0.8, 0, 0, 0.3), (0, 1.2, 0, 0.4), (0, 0, 0.5, -0.7)),
    "rows": ((0.8, 0, 0, 0.3), (0.35, 1.1, 0, -0.5), (0, 0, 0.45, 0.2)),  # a tilted gantry
    "turned": ((0.0, 0, 0.25, 0.1), (1.3, 0, 0, 0.2), (0, -1.5, 0, 15.6)),  # one axis turned round
    "oblique": ((0.7, 0.15, -0.02, 0.4), (-0.2, 1.1, 0.1, 0.3), (0.1, -0.3, 0.45, 1.2)),
}
Use = tuple[str, Path]
"""One way in which a site uses the kernels: a stored type (of NATIVE) on a kind of grid."""
USES: tuple[Use, ...] = tuple(itertools.product(arguments.NATIVE, GRIDS))
RESULTS = ("float32", "float16")
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


def certificate(backend: Backend | None = None, uses: Sequence[Use] = USES, results: Sequence[str] = RESULTS) -> Certificate:
    """Run the suite on `backend` (default: the one chosen here): some tenths of a second once it is compiled.

    Where a site says what it uses, that and the augmentations are tried and nothing else: of the 17 seconds that numba
    takes for all of it the first time, most are for what a site never meets. Raises ValueError for uses that there are not.
    """
    module = backend or chosen()
    found = [*_resampled(module, uses, results), *_augmented(module)]
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


def resample_cases(uses: Sequence[Use] = USES, results: Sequence[str] = RESULTS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each use under every window with both edges, padding and result types in turn."""
    if strange := {*uses} - {*USES} or {*results} - {*RESULTS}:
        raise ValueError(f"got {sorted(strange)}; stored types are {arguments.NATIVE}, results {RESULTS}, grids {[*GRIDS]}")
    slope = np.stack([np.linspace(0.8, 1.2, SIZE[0]), np.ones(SIZE[0])])
    for number, (kind, grid) in enumerate(uses):
        dtype = results[number % 3 % len(results)]  # one of them for each use: numba compiles its loops for each
        for turn, (window, edge) in enumerate(itertools.product(WINDOWS, ("border", "constant"))):
            options = {
                "slope": slope,
                "intercept": np.full((2, SIZE[0]), -1024.0 if kind == "uint16" else 1.5),
                "to_voxel": np.stack([np.array(GRIDS[grid]), np.array(GRIDS[grid]) * 0.97]),
                "shape": SHAPE,
                "window": window,
                "padding": (3, 3) if (turn // 3 + number) % 2 else None,  # both, for linear windows with constant edges
                "fill": -1000.0,
                "edge": edge,
                "dtype": dtype,
            }
            yield f"{kind}, {grid}, {dtype}, window {turn // 2}, {edge}", {"voxels": stored(kind), **options}


def _resampled(module: Backend, uses: Sequence[Use], results: Sequence[str]) -> Iterator[Case]:
    for name, options in resample_cases(uses, results):
        got = np.asarray(module.to_host(module.resample(**options)), np.float64)
        wanted = twin.resample(**options).astype(np.float64)
        yield name, _error(got, wanted), folding.bound(arguments.checked(**options))


def augment_parameters() -> AugmentParameters:
    """Two samples: one turned, dark and noisy, one flipped and bright."""
    return AugmentParameters(
        np.array([GRIDS["oblique"], ((1, 0, 0, 0), (0, -1, 0, SIZE[1] - 1), (0, 0, 1, 0.5))], np.float64),
        gamma=np.array([1.4, 1.0], np.float32),
        contrast=np.array([0.9, 1.2], np.float32),
        brightness=np.array([-0.05, 0.1], np.float32),
        noise=np.array([0.1, 0.0], np.float32),
        key=np.array([0xDEADBEEF12345678, 1], np.uint64),
    )


def _augmented(module: Backend) -> Iterator[Case]:
    parameters = augment_parameters()
    images = (0.5 + 0.2 * numbers((2, 2, *SIZE), 11)).astype(np.float32)
    labels = 1 + (images > 0.6).astype(np.uint8) - (images < 0.3)  # the type of masks; loops see only its width
    limit = augmentation.bound(images, parameters, (0.0, 1.0), 0.25)
    for edge in ("border", "constant"):
        wanted = twin.augment(images, parameters, edge=edge, fill=0.25)
        yield (
            f"augment, {edge}",
            _error(module.to_host(module.augment(images, parameters, edge=edge, fill=0.25)), wanted),
            limit,
        )
        moved = module.to_host(module.augment_labels(labels, parameters, edge=edge, fill=7))
        yield f"labels, {edge}", _error(moved, twin.augment_labels(labels, parameters, edge=edge, fill=7)), 0.5


def _error(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Largest difference; infinite where one of them is no number."""
    difference = float(np.abs(np.asarray(got, np.float64) - wanted).max())
    return difference if np.isfinite(difference) else float("inf")
