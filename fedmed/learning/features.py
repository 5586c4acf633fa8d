"""What becomes of a case's raw values before a model sees them: pure NumPy, one function a name, batch in, batch out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError

Array = NDArray[np.generic]
Floats = NDArray[np.float32]
Features = Callable[[Array], Floats]


def plain(x: Array) -> Floats:
    """Numbers as they are, float32."""
    return np.ascontiguousarray(x, np.float32)


def image(x: Array) -> Floats:
    """Images `(N, [C,] H, W)` or volumes `(N, C, D, H, W)`, channels first, intensities in 0 to 1 (8- and 16-bit scales).

    Raises DataError for what is no image.
    """
    if x.ndim not in (3, 4, 5):
        raise DataError(f"cases of shape {x.shape[1:]} are no images; (H, W) or (C, H, W) is needed, or a tabular task")
    scale = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(x.dtype, 1.0)
    values = np.ascontiguousarray(x, np.float32) / np.float32(scale)
    return np.expand_dims(values, 1) if values.ndim == 3 else values


def standardised_image(x: Array) -> Floats:
    """Images `(N, C, H, W)`, each with mean 0 and standard deviation 1: scanners differ in offset and gain."""
    values = image(x)
    axes = tuple(range(1, values.ndim))
    mean, std = values.mean(axes, keepdims=True), values.std(axes, keepdims=True)
    standard: Floats = (values - mean) / np.maximum(std, np.float32(1e-6))
    return standard


def invariants(x: Array) -> Floats:
    """Features of small square grey images `(N, H, W)` for lesions that have no upright: `(N, features)`.

    Pixels, sorted pixels, magnitudes of the half-plane Fourier transform, the standardised image averaged over its
    eight rotations and mirror images, and six statistics. Raises DataError for colour and where not square.
    """
    values = image(x)
    n, side = len(values), values.shape[-1]
    if values.shape[1:] != (1, side, side):
        raise DataError(f"images of shape {values.shape[1:]} have no invariants; they must be grey and square")
    images = values[:, 0]
    flat = images.reshape(n, side * side)
    spectrum = np.abs(np.fft.rfft2(images)).reshape(n, side * (side // 2 + 1)) / side
    standard = standardised_image(images)[:, 0]
    turns = [np.rot90(mirror, k, (1, 2)) for mirror in (standard, standard[:, :, ::-1]) for k in range(4)]
    # the mean over the dihedral group alone is the same at every place of one orbit; the sort keeps what it loses
    averaged = np.mean(turns, axis=0).reshape(n, side * side)
    centred = flat - flat.mean(1, keepdims=True)
    std = np.maximum(centred.std(1), 1e-6)
    statistics = np.stack(
        [
            flat.mean(1),
            flat.std(1),
            flat.min(1),
            flat.max(1),
            (centred**3).mean(1) / std**3,
            (centred**4).mean(1) / std**4,
        ],
        1,
    )
    parts = [flat, np.sort(flat, 1), spectrum, averaged, statistics]
    return np.concatenate(parts, 1).astype(np.float32)


TABLE: dict[str, Features] = {
    "plain": plain,
    "image": image,
    "standardised-image": standardised_image,
    "invariants": invariants,
}
