"""The center's own training, for rules that judge the sites' updates by it."""

from __future__ import annotations

from pathlib import Path

from fedmed.flower.fltrust import FLTrust, Train
from fedmed.flower.rule import Rule
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import parse
from fedmed.learning.private_training import repeatable_seeds
from fedmed.sites.prepared import open_site
from fedmed.wire.tensors import Tensors


def trainer(folder: Path) -> Train:
    """Training on the root set that is laid out in `folder`, as a site's. Raises DataError where there is none."""
    clinic = Clinic(open_site(folder, 0), seeds=repeatable_seeds)

    def train(order: str, model: Tensors) -> Tensors:
        trained, _ = clinic.train(parse(order), model)
        return {name: value.copy() for name, value in trained.items()}  # the process has one model of each kind

    return train


def give(rule: Rule, train: Train | None) -> None:
    """Let the rule have the center's training where it needs it. Raises ConfigError where it does and there is none."""
    if isinstance(rule.strategy, FLTrust):
        rule.strategy.trust(train)
