"""What a run came to, as far as its center knows: the final model, what it could learn, who was missing, on what machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.federation.average import Average
from fedmed.federation.run import AVERAGE, MASKED, MODEL, best_of, part
from fedmed.learning import control
from fedmed.learning.order import ModelSpec
from fedmed.store.commits import Commit
from fedmed.wire.tensors import Tensors

PACKAGES = ("fedmed", "flwr", "torch", "monai", "numpy", "pydicom")


def final_model(commit: Commit, scenario: Scenario) -> Tensors:
    """What the run ends with: the last global model, the mean of the last ones, or the one with the best validation."""
    best = best_of(commit)
    if best is not None and best.round is not None:
        return control.split(best.model)[0]
    average = Average(scenario.training.average_last, scenario.rounds, part(commit.tensors, AVERAGE))
    return control.split(average.final(part(commit.tensors, MODEL), scenario.rounds))[0]


def outcome(commit: Commit, scenario: Scenario) -> dict[str, Any]:
    """What a report tells of a run whoever makes it, as JSON: from the scenario and the center's own history."""
    rounds: list[dict[str, Any]] = commit.state["history"]
    missing = sites_missing(rounds)
    names = sorted({name for record in rounds for name in record["cohort"]})
    return {
        "fedmed": version("fedmed"),
        "status": "complete with missing sites" if missing else "complete",
        "scenario": scenario.model_dump(mode="json"),
        "seed": scenario.seed,
        "privacy": privacy(commit, scenario),
        "chosen": chosen(commit, scenario),
        "resumed": commit.state["resumed"],
        "fingerprints": commit.state.get("fingerprints", {}),
        "gate": commit.state.get("gate"),
        "rounds": rounds,
        "sites": {name: {"rounds_joined": sum(name in record["joined"] for record in rounds)} for name in names},
        "kind": ModelSpec.model_validate(commit.state["spec"]).kind,
        "sites_missing": missing,
        "bytes": {way: sum(record["bytes"][way] for record in rounds) for way in ("down", "up")},
        "versions": versions(),
    }


def privacy(commit: Commit, scenario: Scenario) -> dict[str, Any]:
    """What the center could learn of a single site, and what became of the masked rounds."""
    rules = scenario.privacy
    if not rules.is_masked:
        return {"secure_aggregation": "off"}
    told = commit.state[MASKED]
    epochs = told["epoch"]
    return {
        "secure_aggregation": rules.secure_aggregation,
        "lanes": rules.lanes,
        "bound": rules.value_bound,
        "least": min(epoch["least"] for epoch in epochs),
        "members": epochs[-1]["members"],
        "epochs": epochs,
        "left_out": told["left-out"],
        "unopened": told["unopened"],
        "accused": told["accused"],
        "bytes": told["bytes"],
    }


def chosen(commit: Commit, scenario: Scenario) -> dict[str, Any]:
    """Which global model the run ended with; `round` is the last one where no round could be compared."""
    best = best_of(commit)
    if best is None or best.round is None:
        rule = scenario.evaluation.choose
        return {"choose": rule, "round": commit.round, "average_last": min(scenario.training.average_last, commit.round)}
    return {"choose": "best", **best.record(), "average_last": 1}


def sites_missing(rounds: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Sites that a round was closed without, by round; empty where every round had its whole cohort."""
    gone = {str(record["round"]): sorted({*record["missing"], *record["refused"]}) for record in rounds}
    return {number: names for number, names in gone.items() if names}


def versions() -> dict[str, str]:
    """Versions of what decides the figures."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine(workers: int) -> dict[str, Any]:
    """The machine, as far as it explains the seconds; `workers` are its site processes."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "workers": workers,
    }
