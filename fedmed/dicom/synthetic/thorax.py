"""The synthetic chest behind the demonstration: attenuation of a few soft shapes, in millimetres of the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Grid = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Beam:
    """What a machine and its habits do to an image."""

    gain: float
    gamma: float
    noise: float
    """Standard deviation of a pixel, of 1."""
    blur: float
    """Twice the share of its light that a pixel loses to its neighbours, along each axis."""
    body: float = 1.0
    """Size of the patients relative to adults."""


def radiograph(
    rows: int, columns: int, spacing_mm: float, beam: Beam, opacity: bool, rng: np.random.Generator
) -> NDArray[np.float32]:
    """One frontal chest `(rows, columns)` float32 in 0 to 1, bright where much is absorbed, with opacities or without."""
    grid = _grid(rows, columns, spacing_mm * rng.uniform(0.94, 1.06) / beam.body, rng)
    lungs = [_lung(grid, side, rng) for side in (-1, 1)]
    image = _body(grid, rng)
    air = np.maximum(lungs[0][0], lungs[1][0])
    image -= np.float32(rng.uniform(0.30, 0.40)) * air
    _add_bones(image, grid, rng)
    _add_heart(image, grid, rng)
    _add_vessels(image, grid, lungs, rng)
    exposure = rng.normal(0.05, 0.02)
    if opacity:
        _add_opacities(image, grid, lungs, rng)
    return _expose(image + np.float32(exposure), beam, rng)


def _grid(rows: int, columns: int, spacing: float, rng: np.random.Generator) -> Grid:
    """Millimetres from the middle of the thorax: down `(rows, 1)`, across `(1, columns)`; patients never stand alike."""
    down = (np.arange(rows) - (rows - 1) / 2) * spacing + rng.normal(0, 8)
    across = (np.arange(columns) - (columns - 1) / 2) * spacing + rng.normal(0, 8)
    return down[:, None].astype(np.float32), across[None, :].astype(np.float32)


def _ellipse(
    grid: Grid, down: float, across: float, height: float, width: float, soft: float, tilt: float = 0.0
) -> NDArray[np.float32]:
    """1 inside, 0 outside, with a linear edge `soft` wide as a share of the radius."""
    y, x = grid[0] - np.float32(down), grid[1] - np.float32(across)
    if tilt:
        x = x + np.float32(tilt) * y
    radius = (y / np.float32(height)) ** 2 + (x / np.float32(width)) ** 2
    return np.asarray(np.clip((1 - radius) / np.float32(soft), 0, 1), dtype=np.float32)


def _blob(grid: Grid, down: float, across: float, height: float, width: float) -> NDArray[np.float32]:
    """A Gaussian of peak 1; separable, so two short exponentials."""
    y = np.exp(np.float32(-0.5) * ((grid[0] - np.float32(down)) / np.float32(height)) ** 2)
    x = np.exp(np.float32(-0.5) * ((grid[1] - np.float32(across)) / np.float32(width)) ** 2)
    return np.asarray(y * x, dtype=np.float32)


def _body(grid: Grid, rng: np.random.Generator) -> NDArray[np.float32]:
    trunk = _ellipse(grid, 20, 0, 205, 150 + rng.normal(0, 6), 0.5)
    shoulders = _ellipse(grid, 190, 0, 90, 160, 0.6)
    return np.asarray(0.62 * np.maximum(trunk, 0.8 * shoulders), dtype=np.float32)


def _lung(grid: Grid, side: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], float, float]:
    """Its air in 0 to 1, and the middle of it in mm (down, across)."""
    down, across = rng.normal(-5, 5), side * (66 + rng.normal(0, 4))
    height, width = 112 + rng.normal(0, 8), 50 + rng.normal(0, 4)
    return _ellipse(grid, down, across, height, width, 0.35, tilt=side * 0.12), down, across


def _add_bones(image: NDArray[np.float32], grid: Grid, rng: np.random.Generator) -> None:
    """Spine, and ribs as arches that repeat down the chest."""
    y, x = grid
    image += np.float32(0.10) * np.clip(1 - (np.abs(x) / 15) ** 4, 0, 1) * np.clip((y + 190) / 60, 0, 1)
    arch = y - np.float32(rng.uniform(0.0035, 0.0055)) * (np.abs(x) - 60) ** 2 + np.float32(rng.uniform(0, 26))
    ribs = np.clip(np.cos(arch * np.float32(2 * np.pi / 26)) - np.float32(0.4), 0, 1)
    image += np.float32(rng.uniform(0.07, 0.13)) * ribs * _ellipse(grid, -5, 0, 130, 128, 0.2)


def _add_heart(image: NDArray[np.float32], grid: Grid, rng: np.random.Generator) -> None:
    width = rng.normal(52, 5)
    image += np.float32(0.22) * _ellipse(grid, 48 + rng.normal(0, 5), 20 + rng.normal(0, 4), 52, width, 0.45, tilt=-0.25)
    image += np.float32(0.12) * _ellipse(grid, -20, 2, 90, 28, 0.6)
    for side in (-1, 1):
        image += np.float32(0.10) * _blob(grid, 5 + rng.normal(0, 5), side * 36, 22, 13)


def _add_vessels(
    image: NDArray[np.float32],
    grid: Grid,
    lungs: list[tuple[NDArray[np.float32], float, float]],
    rng: np.random.Generator,
) -> None:
    """Small shadows that every lung has, so that an opacity is not the only bright spot."""
    for air, down, across in lungs:
        for _ in range(7):
            place = down + rng.uniform(-75, 75), across + rng.uniform(-32, 32)
            size = rng.uniform(2.5, 5), rng.uniform(2.5, 5)
            image += np.float32(rng.uniform(0.03, 0.08)) * _blob(grid, *place, *size) * air


def _add_opacities(
    image: NDArray[np.float32],
    grid: Grid,
    lungs: list[tuple[NDArray[np.float32], float, float]],
    rng: np.random.Generator,
) -> None:
    """Foci of soft shadow with brighter patches in them, one to five over both lungs, faint to plain."""
    strength = rng.uniform(0.5, 1.5)
    for _ in range(int(rng.integers(1, 6))):
        air, down, across = lungs[int(rng.integers(2))]
        down, across = down + rng.uniform(-70, 70), across + rng.uniform(-22, 22)
        shadow = np.float32(0.20) * _blob(grid, down, across, rng.uniform(14, 26), rng.uniform(12, 20))
        for _ in range(4):
            place = down + rng.normal(0, 14), across + rng.normal(0, 11)
            shadow += np.float32(0.10) * _blob(grid, *place, rng.uniform(4, 8), rng.uniform(4, 8))
        image += np.float32(strength) * shadow * air


def _expose(image: NDArray[np.float32], beam: Beam, rng: np.random.Generator) -> NDArray[np.float32]:
    """The machine's own curve, sharpness and noise."""
    exposed = np.clip(image * np.float32(beam.gain), 0, 1) ** np.float32(beam.gamma)
    for axis in (0, 1):
        neighbours = np.roll(exposed, 1, axis) + np.roll(exposed, -1, axis)
        exposed = (1 - np.float32(beam.blur) / 2) * exposed + np.float32(beam.blur) / 4 * neighbours
    grain = rng.standard_normal(exposed.shape, dtype=np.float32) * np.float32(beam.noise)
    return np.asarray(np.clip(exposed + grain, 0, 1), dtype=np.float32)
