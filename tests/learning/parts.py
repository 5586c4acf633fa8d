"""Small sites and orders."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedmed.config.scenario import Training
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.sites.cases import Cases, Site


def cases(count: int, seed: int = 0, shape: tuple[int, ...] = (3,), classes: int = 2, kind: Any = np.float32) -> Cases:
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, count)
    x = random.normal(size=(count, *shape)) + y.reshape(-1, *(1 for _ in shape))
    return Cases((x * 20 + 100).astype(kind), y, tuple("abcdefgh"[:classes]))


def site(name: str = "north", train: int = 40, validation: int = 20, test: int = 20, **more: Any) -> Site:
    return Site(name, cases(train, 1, **more), cases(validation, 2, **more), cases(test, 3, **more))


def order(number: int = 1, seed: int = 42, spec: ModelSpec | None = None, **more: Any) -> Order:
    fields: dict[str, Any] = {
        "preparation": Preparation(normalise="site"),
        "learning_rate": 0.1,
        "class_weights": (1.0,) * (spec.classes if spec else 2),
        "device": "cpu",
    }
    training = {"batch_size": 8, "epochs": 1} | more.pop("training", {})
    return Order(round=number, seed=seed, model=spec or SPEC, training=Training(**training), **(fields | more))


SPEC = ModelSpec(name="logistic-regression", inputs=(3,), classes=2)
MLP = ModelSpec(name="mlp", inputs=(3,), classes=2, options={"hidden": 8})
CNN = ModelSpec(name="small-cnn", inputs=(1, 16, 16), classes=3, options={"widths": [8, 16]})
