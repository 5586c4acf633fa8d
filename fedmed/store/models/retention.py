"""Which models a registry keeps, and when one is due; pure."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Protocol


class Model(Protocol):
    """What retention looks at."""

    @property
    def run(self) -> str:
        """The run that made it; only models of one run are compared."""

    @property
    def round(self) -> int:
        """The round that it was committed with."""

    @property
    def unix(self) -> float:
        """When: seconds since 1970."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    @property
    def score(self) -> float | None:
        """The task's metric in federated validation."""

    @property
    def higher_is_better(self) -> bool:
        """How scores are compared."""


@dataclass(frozen=True)
class Retention:
    """How many models of each run stay, and how often one is kept."""

    last: int = 10
    """The newest, at least one: a run goes on from it."""
    best: int = 3
    """By the metric; of equal ones the earlier."""
    rounds: int = 1
    """One is due every so many rounds,"""
    minutes: float | None = None
    """or every so many minutes, whichever is first."""

    def is_due(self, newest: Model | None, round: int, unix: float) -> bool:
        """Whether the model of this round is to be kept, `newest` being the one that was kept last of its run."""
        if newest is None or round - newest.round >= self.rounds:
            return True
        return self.minutes is not None and unix - newest.unix >= 60 * self.minutes

    def kept(self, models: Iterable[Model], held: Set[str] = frozenset()) -> set[tuple[str, int]]:
        """Run and round of those that stay; `held` are SHA-256 of weights that a run goes on from."""
        by_run: dict[str, list[Model]] = {}
        stay = set()
        for model in models:
            by_run.setdefault(model.run, []).append(model)
            if model.sha256 in held:
                stay.add((model.run, model.round))
        for run, own in by_run.items():
            newest = sorted(own, key=lambda model: -model.round)[: max(1, self.last)]
            best = sorted((model for model in own if model.score is not None), key=_rank)[: self.best]
            stay |= {(run, model.round) for model in (*newest, *best)}
        return stay


RETENTION = Retention()


def _rank(model: Model) -> tuple[float, int]:
    score = model.score or 0.0
    return (-score if model.higher_is_better else score), model.round
