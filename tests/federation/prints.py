"""Sites as the gate sees them: images drawn with one upright look, then turned, stored or told of otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmed.learning.fingerprint import Fingerprint
from fedmed.learning.plan import Described
from fedmed.preprocess.fingerprint import statistics
from fedmed.preprocess.fused.parity import Certificate
from fedmed.preprocess.pipeline import AS_STORED, Pipeline

Images = Callable[[np.ndarray], np.ndarray]


def images(count: int, seed: int, side: int = 40) -> np.ndarray:
    """Stripes across, brighter to the top left, a bright spot in the right half: nothing that looks alike when turned."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    phase = rng.uniform(0, 0.3, (count, 1, 1))
    spot = 2 * np.exp(-((down - 0.6) ** 2 + (across - 0.7 + 0.1 * phase) ** 2) / 0.02)
    values = np.sin(11 * across + phase) - down - 0.4 * across + spot
    return (values + rng.normal(0, 0.4, (count, side, side))).astype(np.float32)


def printed(
    name: str,
    seed: int,
    change: Images = lambda x: x,
    *,
    count: int = 120,
    pipeline: Pipeline = AS_STORED,
    parity: Certificate | None = None,
    classes: tuple[int, int] | None = None,
    **told: Any,
) -> Described:
    counts = classes or (count // 2, count - count // 2)
    shown = Fingerprint(pipeline, parity, statistics(change(images(count, seed)), **told))
    return Described(name, ("well", "ill"), (1, 40, 40), {"train": count}, counts, None, shown)
