"""What a simulation's attackers are told to do, and what they did: the harness knows both, which no real center does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from torch import Tensor

from fedmed.config.attackers import Attacker
from fedmed.config.scenario import Scenario
from fedmed.federation.journal import Journal
from fedmed.learning import weights
from fedmed.learning.attacks.assigning import Attacks, assigned
from fedmed.learning.attacks.backdoor import stamped
from fedmed.learning.inputs import prepare
from fedmed.learning.intervals import wilson
from fedmed.learning.plan import Plan
from fedmed.learning.prediction import device_of, predict
from fedmed.simulate.evaluation import Models
from fedmed.sites.cases import Site
from fedmed.wire.tensors import Tensors

Rounds = Sequence[Mapping[str, Any]]


def assign(scenario: Scenario, sites: Sequence[Site], journal: Journal) -> Attacks:
    """The attacks of each site that has any, said in the journal. Raises ConfigError as `assigned` does."""
    found = assigned(scenario.attackers, sites, scenario.seed)
    if scenario.attackers:
        journal.say("attackers", sites={site: [each.kind for each in attacks] for site, attacks in found.items()})
    return found


def written(hostile: Attacks) -> dict[str, list[dict[str, Any]]]:
    """As the folder of the sites has it."""
    return {site: [each.model_dump(mode="json") for each in attacks] for site, attacks in hostile.items()}


def told(plan: Plan, sites: Sequence[Site], models: Models, hostile: Attacks, rounds: Rounds) -> dict[str, Any]:
    """`attacks` of the report: who did what in which rounds, what was refused of it, and how often an aim was reached, also
    where nobody was drawn to attack: that is what to compare with. Nothing where the scenario has no attackers."""
    if not plan.scenario.attackers:
        return {}
    doers = [_doer(site, each, rounds) for site, attacks in hostile.items() for each in attacks]
    aims = {_key(each): each for each in plan.scenario.attackers if _has_aim(each, sites)}.values()
    return {"attacks": {"attackers": doers, "aims": [_reached(plan, sites, models, aim) for aim in aims]}}


def _doer(site: str, attack: Attacker, rounds: Rounds) -> dict[str, Any]:
    active = [each for each in rounds if each["round"] >= attack.since]
    refused = {each["round"]: each["refused"][site] for each in active if site in each["refused"]}
    return {
        "site": site,
        **attack.model_dump(mode="json", exclude_defaults=True, exclude={"who", "count", "share"}),
        "joined": sum(site in each["joined"] for each in active),
        "refused": len(refused),
        "reason": next(iter(refused.values()), ""),
    }


def _has_aim(attack: Attacker, sites: Sequence[Site]) -> bool:
    """Whether test cases show that it got what it wanted: of a case's class, not of voxels."""
    return attack.target is not None and not sites[0].test.has_masks


def _key(attack: Attacker) -> tuple[Any, ...]:
    return attack.kind, attack.source, attack.target, attack.trigger


def _reached(plan: Plan, sites: Sequence[Site], models: Models, aim: Attacker) -> dict[str, Any]:
    """Share of the test cases that the attacker wants called `target`, and that the models call so.

    Of a backdoor all cases of other classes, with and without its trigger; of flipped labels those of the class `source`.
    """
    shown = [(site, _wanted(site, aim)) for site in sites]
    clean = [(replace(site, test=site.test.take(rows)), rows) for site, rows in shown if len(rows)]
    if aim.kind == "backdoor":
        triggered = [
            (replace(site, test=stamped(site.test, np.arange(len(rows)), aim.trigger)), rows) for site, rows in clean
        ]
    else:
        triggered = clean
    found: dict[str, Any] = {"kind": aim.kind, "source": aim.source, "target": aim.target}
    found["cases"] = sum(len(rows) for _, rows in clean)
    for name, model in (("federated", models.federated), ("pooled", models.pooled)):
        found[name] = None if model is None else _rate(plan, [site for site, _ in triggered], model, aim)
    found["without_trigger"] = None
    if aim.kind == "backdoor":
        found["without_trigger"] = _rate(plan, [site for site, _ in clean], models.federated, aim)
    return found


def _wanted(site: Site, aim: Attacker) -> np.ndarray[Any, np.dtype[np.int64]]:
    classes = site.test.classes
    if aim.source is not None:
        return np.flatnonzero(site.test.y == classes.index(aim.source)).astype(np.int64)
    return np.flatnonzero(site.test.y != classes.index(str(aim.target))).astype(np.int64)


def _rate(plan: Plan, sites: Sequence[Site], model: Tensors, aim: Attacker) -> dict[str, Any]:
    target = sites[0].test.classes.index(str(aim.target)) if sites else 0
    decided = [called == target for each in _decided(plan, sites, model) for called in each.tolist()]
    return asdict(wilson(sum(decided), len(decided)))


def _decided(plan: Plan, sites: Sequence[Site], model: Tensors) -> Iterator[Tensor]:
    """The class that a model gives each test case, by the scenario's threshold where there are two."""
    device = device_of(plan.scenario.engine.device)
    for site in sites:
        x, _ = prepare(site, plan.preparation).test
        found = predict(weights.loaded(plan.spec, model), x, device)
        yield found[:, 1] > plan.scenario.evaluation.threshold if found.shape[1] == 2 else found.argmax(1)
