"""What the back ends are tried on: any stored type, kind of grid, window, padding and edge."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from fedmed.preprocess.fused.arguments import NATIVE
from fedmed.preprocess.fused.augmentation import AugmentParameters
from fedmed.preprocess.fused.window import Window

KINDS = ("stack", "rows", "turned", "oblique")
WINDOWS = (None, Window(-160, 240), Window(-1000, 400, 1.5, -2.5), Window(-100, 300, function="sigmoid"))
sizes = st.tuples(st.integers(1, 12), st.integers(1, 14), st.integers(1, 17))
scales = st.sampled_from([1.0, 0.5, 2.0]) | st.floats(0.2, 3)
shifts = st.sampled_from([0.0, 0.5]) | st.floats(-2, 2)


@st.composite
def grids_of(draw, rng: np.random.Generator, size, shape, kinds) -> np.ndarray:
    """A to_voxel of one of the kinds, about the volume's centre or up to two voxels off it."""
    kind, scale, shift = draw(st.sampled_from(kinds)), [draw(scales) for _ in "dhw"], [draw(shifts) for _ in "dhw"]
    axes = np.diag(np.array(scale) * rng.choice([-1, 1], 3))
    if kind == "rows":
        axes[1, 0], axes[0, 1] = rng.uniform(-0.6, 0.6), rng.choice([0, 0.1])
    if kind == "turned":
        axes = axes[:, rng.permutation(3)]
    if kind == "oblique":
        axes = axes + rng.uniform(-0.3, 0.3, (3, 3))
    inner, outer = (np.array(size) - 1) / 2, (np.array(shape) - 1) / 2
    return np.column_stack([axes, inner - axes @ outer + np.array(shift)])


def voxels_of(kind: str, rng: np.random.Generator, size) -> np.ndarray:
    """Stored values as scanners give them, a block of padding among them; in float32 also what is no number."""
    if kind == "uint8":
        return rng.integers(0, 256, size).astype(kind)
    voxels = rng.integers(0 if kind == "uint16" else -1024, 3000, size).astype(kind)
    voxels[..., : size[-1] // 3] = 0 if kind == "uint16" else -2000
    if kind == "float32":
        for number, value in enumerate((np.nan, np.inf, -np.inf)):
            voxels.reshape(-1)[number :: max(7, voxels.size // 3)] = value
    return voxels


@st.composite
def resamples(draw, kinds=KINDS, stored=NATIVE, results=("float32", "float16")):
    """Keyword arguments of `resample`."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, size, shape = draw(st.integers(1, 2)), draw(sizes), draw(sizes)
    kind = draw(st.sampled_from(stored))
    grids = [draw(grids_of(rng, size, shape, kinds)) for _ in range(n)]
    low = 0 if kind == "uint16" else -2000
    return {
        "voxels": voxels_of(kind, rng, (n, *size)),
        "slope": draw(st.sampled_from([np.ones(size[0]), rng.uniform(0.5, 2, (n, size[0]))])),
        "intercept": rng.uniform(-1024, 10, (n, size[0])) if draw(st.booleans()) else np.full(size[0], -1024.0),
        "to_voxel": np.stack(grids),
        "shape": shape,
        "window": draw(st.sampled_from(WINDOWS)),
        "padding": draw(st.sampled_from([None, (low, low), (low + 300, low)])),
        "fill": draw(st.sampled_from([0.0, -1000.0])),
        "edge": draw(st.sampled_from(["border", "constant"])),
        "dtype": draw(st.sampled_from(results)),
    }


@st.composite
def augmentations(draw):
    """Images (N, C, D, H, W), their labels, and parameters; gamma not so small that black explodes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, channels, size = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(sizes)
    images = rng.uniform(0, 1, (n, channels, *size)).astype(np.float32)
    grids = [draw(grids_of(rng, size, size, KINDS)) for _ in range(n)]
    tones = {
        "gamma": draw(st.sampled_from([np.ones(n), rng.uniform(0.7, 1.5, n)])),
        "contrast": rng.uniform(0.7, 1.3, n),
        "brightness": rng.uniform(-0.2, 0.2, n),
        "noise": draw(st.sampled_from([np.zeros(n), rng.uniform(0, 0.2, n)])),
    }
    single = {name: values.astype(np.float32) for name, values in tones.items()}
    return images, AugmentParameters(np.stack(grids), **single, key=rng.integers(0, 2**64, n, dtype=np.uint64))


def worst(got: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, infinite where one of them is no number."""
    difference = np.abs(np.asarray(got, np.float64) - np.asarray(wanted, np.float64)).max()
    return float(difference) if np.isfinite(difference) else np.inf
