"""A site that attacks: a clinic that describes and validates honestly, and trains as its attacks have it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import generator
from fedmed.config.attackers import Attacker
from fedmed.learning.attacks import backdoor, label_flip, scaled, sign_flip
from fedmed.learning.clinic import Clinic, Metrics
from fedmed.learning.disclosure import Releasing, simulated_desk
from fedmed.learning.keeping import NOTHING, Shelf
from fedmed.learning.order import Order
from fedmed.learning.private_training import Seeds, fresh_seeds, repeatable_seeds
from fedmed.sites.cases import Cases, Site
from fedmed.sites.prepared import attacks_of, open_site
from fedmed.wire.tensors import Tensors

OnData = Callable[[Cases, NDArray[np.int64], Attacker], Cases]
OnModel = Callable[[Tensors, Tensors, Attacker], Tensors]
ON_DATA: Mapping[str, OnData] = {"label-flip": label_flip.changed, "backdoor": backdoor.changed}
ON_MODEL: Mapping[str, OnModel] = {"scaled": scaled.changed, "sign-flip": sign_flip.changed}


class Hostile(Clinic):
    """One site with its attacks, in their order; those on its cases come before those on its update."""

    def __init__(
        self,
        site: Site,
        attacks: Sequence[Attacker],
        desk: Releasing | None = None,
        seeds: Callable[[str, Order], Seeds] = fresh_seeds,
    ) -> None:
        """As a `Clinic`."""
        super().__init__(site, desk, seeds)
        self._attacks = tuple(attacks)
        self._trainer = lru_cache(maxsize=2)(self._poisoned)

    def train(self, order: Order, tensors: Tensors, shelf: Shelf = NOTHING) -> tuple[Tensors, Metrics]:
        """The model that the site sends, and the mean loss of the training that it did."""
        now = [each for each in self._attacks if order.round >= each.since]
        on_data = tuple(each for each in now if each.kind in ON_DATA)
        train = self._trainer(on_data, order.seed).train if on_data else super().train
        trained, metrics = train(order, tensors, shelf)
        given = _sent_as_change(tensors) if _is_change(order) else tensors
        for attack in now:
            if attack.kind in ON_MODEL:
                trained = ON_MODEL[attack.kind](given, trained, attack)
        return trained, metrics

    def _poisoned(self, attacks: tuple[Attacker, ...], seed: int) -> Clinic:
        cases = self.site.train
        for attack in attacks:
            rows = rows_of(attack, len(cases), seed, self.site.name)
            cases = ON_DATA[attack.kind](cases, rows, attack)
        return Clinic(replace(self.site, train=cases), self._desk, self._seeds)


def rows_of(attack: Attacker, count: int, seed: int, site: str) -> NDArray[np.int64]:
    """Which of a site's `count` training cases are changed `(M,)`, in rising order; one at least."""
    drawn = generator(seed, "attack", attack.kind, site).permutation(count)
    return np.sort(drawn[: max(1, round(attack.cases * count))]).astype(np.int64)


def simulated(folder: Path, number: int) -> Clinic:
    """The `number`-th site of a simulation's folder, with its attacks where it has any. Raises DataError."""
    site, desk = open_site(folder, number), simulated_desk(folder, number)
    attacks = tuple(Attacker.model_validate_json(json.dumps(each)) for each in attacks_of(folder, number))
    return Hostile(site, attacks, desk, repeatable_seeds) if attacks else Clinic(site, desk, repeatable_seeds)


def _is_change(order: Order) -> bool:
    """Whether sites answer with the change itself, and not with the model."""
    return order.privacy is not None and order.privacy.mode == "record-distributed"


def _sent_as_change(tensors: Tensors) -> Tensors:
    return {name: np.zeros_like(value) for name, value in tensors.items()}
