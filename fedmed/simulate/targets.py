"""How long until validation had so much of a measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.report.measures import LEADING

SHY = 0.01
"""Of its best value: what a measure is to reach where nobody says how much."""
Rounds = Sequence[Mapping[str, Any]]
Target = tuple[str, float]


def read_target(text: str | None) -> Target | None:
    """`auc=0.9`: a measure that validation follows, and how much of it. Raises ConfigError with what is allowed."""
    if text is None:
        return None
    metric, _, least = text.partition("=")
    try:
        found = metric.strip(), float(least)
    except ValueError:
        found = metric.strip(), math.nan
    if found[0] not in LEADING or not 0 < found[1] <= 1:
        names = " or ".join(LEADING)
        raise ConfigError(f"--target: got {text!r}; allowed: METRIC=NUMBER with {names} and above 0 to 1, such as auc=0.9")
    return found


def learnt(scenario: Scenario, target: str | None) -> None:
    """Raise ConfigError where a measure is to be reached and nothing is learned."""
    if target is not None and scenario.topology is not None and scenario.topology.learning == "modelled":
        raise ConfigError(f"--target: got {target} with topology.learning: modelled, where nothing is learned; leave it out")


def own_target(rounds: Rounds) -> Target | None:
    """Where nobody says what is to be reached: the measure that validation follows, a little below its best."""
    for metric in LEADING:
        known = [value for each in rounds if (value := (each["validation"] or {}).get(metric)) is not None]
        if known:
            return metric, max(known) - SHY
    return None


def reached(rounds: Rounds, target: Target | None) -> dict[str, Any] | None:
    """The first round whose validation has so much, and the seconds until its end; None without a target, no round and
    no seconds where none had."""
    if target is None:
        return None
    found: dict[str, Any] = {"metric": target[0], "least": target[1], "round": None, "seconds": None}
    passed = 0.0
    for each in rounds:
        passed += float(each["seconds"])
        value = (each["validation"] or {}).get(target[0])
        if value is not None and value >= target[1]:
            return found | {"round": each["round"], "seconds": passed}
    return found
