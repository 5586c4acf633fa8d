"""How long an engine takes on this machine, and how well it does on the check set; NumPy alone, as on a device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import Clock
from fedmed.errors import ConfigError
from fedmed.serving.engines.engine import Engine, Floats

Labels = NDArray[np.integer]
BATCH = 32


@dataclass(frozen=True)
class Latency:
    """Of `runs` calls after the warm-up, in milliseconds. On a busy machine the minimum is the engine's own."""

    minimum_ms: float
    median_ms: float
    p99_ms: float
    runs: int


def latency(engine: Engine, x: Floats, clock: Clock, runs: int = 100, warm_up: int = 10) -> Latency:
    """Time calls with `x (N, *inputs)`, one after the other."""
    for _ in range(warm_up):
        engine.run(x)
    took = np.empty(runs)
    for number in range(runs):
        begun = clock.now()
        engine.run(x)
        took[number] = clock.now() - begun
    low, middle, high = np.quantile(took, [0, 0.5, 0.99]) * 1e3
    return Latency(float(low), float(middle), float(high), runs)


def logits_of(engine: Engine, x: Floats, batch: int = BATCH) -> Floats:
    """Logits of all cases, some at a time."""
    return np.concatenate([engine.run(x[at : at + batch]) for at in range(0, len(x), batch)])


def probabilities_of(logits: Floats) -> Floats:
    """Logits `(N, 1 or K, ...)` as probabilities `(N, 2 or K, ...)`: one logit is that of the second class."""
    if logits.shape[1] == 1:
        positive = 0.5 * (1 + np.tanh(0.5 * logits))  # the sigmoid, without an overflow
        return np.concatenate([1 - positive, positive], 1)
    grown = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(grown / grown.sum(1, keepdims=True), np.float32)


def auc(logits: Floats, y: Labels) -> float:
    """Area under the ROC curve; of more than two classes the mean of each against the rest; NaN for one class alone."""
    scores = probabilities_of(logits)
    present = [k for k in range(scores.shape[1]) if 0 < int((y == k).sum()) < len(y)]
    chosen = present if scores.shape[1] > 2 else [k for k in present if k == 1]
    # Ranks of logits, not of probabilities, where one logit decides: a sigmoid makes ties of what is far out.
    columns = logits[:, [0, 0]] if logits.shape[1] == 1 else scores
    return float(np.mean([_rank_area(columns[:, k], y == k) for k in chosen])) if chosen else math.nan


def _rank_area(score: Floats, positive: NDArray[np.bool_]) -> float:
    """Mann and Whitney's U of the positive cases over its largest value, ties counted half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    hits = int(positive.sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(score) - hits)))


def accuracy(logits: Floats, y: Labels) -> float:
    """Share of cases of which the most probable class is the right one."""
    return float((probabilities_of(logits).argmax(1) == y).mean())


def dice(logits: Floats, y: Labels) -> float:
    """Mean Dice of the cases and of the classes but the background; what is empty and found so counts for nothing."""
    decided = probabilities_of(logits).argmax(1)
    axes = tuple(range(1, y.ndim))
    each = []
    for k in range(1, max(2, logits.shape[1])):
        found, true = decided == k, y == k
        sizes = found.sum(axes) + true.sum(axes)
        each.append(np.where(sizes > 0, 2 * (found & true).sum(axes) / np.maximum(sizes, 1), np.nan))
    known = np.stack(each)
    return float(np.nanmean(known)) if np.isfinite(known).any() else math.nan


MEASURES: dict[str, Callable[[Floats, Labels], float]] = {"auc": auc, "accuracy": accuracy, "dice": dice}
LEADING = {"classification": "auc", "segmentation": "dice"}
"""What a task of each kind is judged by, where nobody says otherwise."""


def score(engine: Engine, x: Floats, y: Labels, measure: str) -> float:
    """How well an engine does on prepared inputs; NaN where logits are none, or the measure is undefined.

    Raises ConfigError for an unknown measure.
    """
    if measure not in MEASURES:
        raise ConfigError(f"got the measure {measure!r}, allowed: {', '.join(MEASURES)}")
    logits = logits_of(engine, x)
    return MEASURES[measure](logits, y) if np.isfinite(logits).all() else math.nan
