"""The report as JSON: what was run, who took part, what came out."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.federation.run import MASKED, best_of
from fedmed.learning.order import ModelSpec
from fedmed.simulate.evaluation import Bench, Models
from fedmed.store.commits import Commit

HARNESS = "the simulation's harness, which sees every site"
PACKAGES = ("fedmed", "flwr", "torch", "monai", "numpy", "pydicom")


def summarise(
    commit: Commit, scenario: Scenario, bench: Bench, models: Models, facts: dict[str, Any], model_sha256: str
) -> dict[str, Any]:
    """The whole report but its seconds."""
    rounds: list[dict[str, Any]] = commit.state["history"]
    overall, compared, drawn = bench.overall(models)
    sites = bench.sites(models)
    for name, result in sites.items():
        result["rounds_joined"] = sum(name in record["joined"] for record in rounds)
    missing = sites_missing(rounds)
    return {
        "fedmed": version("fedmed"),
        "status": "complete with missing sites" if missing else "complete",
        "scenario": scenario.model_dump(mode="json"),
        "seed": scenario.seed,
        "engine": scenario.engine.name,
        "evaluated_by": HARNESS + (", while the center saw sums only" if scenario.privacy.is_masked else ""),
        "privacy": privacy(commit, scenario),
        "chosen": chosen(commit, scenario),
        "resumed": commit.state["resumed"],
        "fingerprints": commit.state.get("fingerprints", {}),
        "gate": commit.state.get("gate"),
        "rounds": rounds,
        "overall": overall,
        "sites": sites,
        "baselines": compared,
        "curves": drawn,
        "kind": ModelSpec.model_validate(commit.state["spec"]).kind,
        "pictures": bench.pictures(models),
        "sites_missing": missing,
        "set_aside": bench.set_aside(),
        "bytes": {way: sum(record["bytes"][way] for record in rounds) for way in ("down", "up")},
        "model_sha256": model_sha256,
        "data_sha256": facts["data_sha256"],
        "versions": versions(),
        "machine": machine(facts["workers"]),
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
    """The machine, as far as it explains the seconds."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "workers": workers,
    }
