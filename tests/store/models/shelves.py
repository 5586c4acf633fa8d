"""Registries for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedmed.identity.modelkey import ModelKey
from fedmed.store.disk import Disk
from fedmed.store.models.cover import Bare, Cover, Sealed
from fedmed.store.models.lineage import Committed
from fedmed.store.models.registry import Registry
from fedmed.store.models.retention import RETENTION, Retention

KEY = ModelKey.generate()
SEALED, BARE = Sealed(b"k" * 32), Bare()


class Hours:
    """A clock that is set."""

    def __init__(self, unix: float = 1_800_000_000.0) -> None:
        self.unix_now = unix

    def now(self) -> float:
        return self.unix_now

    def unix(self) -> float:
        return self.unix_now

    def sleep(self, seconds: float) -> None:
        self.unix_now += seconds


def model(number: int, size: int = 5) -> dict[str, np.ndarray]:
    return {"weight": np.full((size, 2), number, np.float32), "steps": np.array(number)}


def committed(number: int, run: str = "study", **more: object) -> Committed:
    said = {"measures": {"auc": number / 100}, "metric": "auc", "cohort": ("east", "north", "west"), "parent": None}
    return Committed(run, number, "ab" * 32, {"kind": "linear"}, **{**said, **more})


def registry(
    folder: Path,
    retention: Retention = RETENTION,
    disk: Disk | None = None,
    cover: Cover = SEALED,
    clock: Hours | None = None,
) -> Registry:
    return Registry(folder, cover, KEY, clock or Hours(), "federation", retention, disk)


def filled(folder: Path, rounds: int = 2, cover: Cover = SEALED) -> Registry:
    made = registry(folder, cover=cover)
    for number in range(1, rounds + 1):
        assert made.commit(committed(number), model(number)).what == "kept"
    return made
