"""A clinic's own cases for calibration and for the check set; they are read where they lie and go nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, DataError
from fedmed.serving.card import Card
from fedmed.serving.engines.engine import Floats
from fedmed.serving.inputs import prepare
from fedmed.sites.cases import SPLITS, Cases, pool
from fedmed.sites.prepare import sites_of


def read_cases(scenario: Scenario, data: Path | None, part: str, site: str | None = None) -> Cases:
    """The cases of one split, of one site or of all. Raises ConfigError, DataError."""
    if part not in SPLITS:
        raise ConfigError(f"got the split {part!r}, allowed: {', '.join(SPLITS)}")
    sites = sites_of(scenario.data, data, scenario.seed, scenario.source, scenario.topology)
    chosen = [one for one in sites if site in (None, one.name)]
    if not chosen:
        raise ConfigError(f"got the site {site!r}, allowed: {', '.join(one.name for one in sites)}")
    found = [cases for one in chosen if len(cases := getattr(one, part))]
    if not found:
        raise DataError(f"there are no cases to use: the split {part} is empty")
    return pool(found)


def spread(card: Card, cases: Cases, count: int) -> Iterator[Floats]:
    """Up to `count` prepared inputs `(*inputs)`, spread over the cases, one after the other."""
    _refuse_other_classes(card, cases)
    for row in np.unique(np.linspace(0, len(cases) - 1, min(count, len(cases))).astype(int)):
        yield prepare(card, cases.x[row : row + 1])[0]


def check_set(card: Card, cases: Cases) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[np.integer]]]:
    """All cases, prepared, and their classes. Raises DataError where they are not the model's."""
    _refuse_other_classes(card, cases)
    return prepare(card, cases.x), cases.y


def _refuse_other_classes(card: Card, cases: Cases) -> None:
    if cases.classes != card.classes:
        raise DataError(f"the cases have the classes {', '.join(cases.classes)}, the model {', '.join(card.classes)}")
