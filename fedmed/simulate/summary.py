"""The report as JSON: what was run, who took part, what came out."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.federation.outcome import chosen, machine, privacy, sites_missing, versions
from fedmed.learning.order import ModelSpec
from fedmed.simulate.evaluation import Bench, Models
from fedmed.store.commits import Commit

HARNESS = "the simulation's harness, which sees every site"


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
