"""The report as JSON: what was run, who took part, what came out."""

from __future__ import annotations

from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.federation.outcome import machine, outcome
from fedmed.simulate.evaluation import Bench, Models
from fedmed.store.commits import Commit

HARNESS = "the simulation's harness, which sees every site"


def summarise(
    commit: Commit, scenario: Scenario, bench: Bench, models: Models, facts: dict[str, Any], model_sha256: str
) -> dict[str, Any]:
    """The whole report but its seconds."""
    told = outcome(commit, scenario)
    overall, compared, drawn = bench.overall(models)
    sites = bench.sites(models)
    for name, result in sites.items():
        result |= told["sites"].get(name, {"rounds_joined": 0})
    return {
        **told,
        "engine": engine_of(scenario, facts),
        "evaluated_by": HARNESS + (", while the center saw sums only" if scenario.privacy.is_masked else ""),
        "overall": overall,
        "sites": sites,
        "baselines": compared,
        "curves": drawn,
        "pictures": bench.pictures(models),
        "set_aside": bench.set_aside(),
        "model_sha256": model_sha256,
        "data_sha256": facts["data_sha256"],
        "machine": machine(facts["workers"]),
    }


def engine_of(scenario: Scenario, facts: dict[str, Any]) -> str:
    """The engine and, of a crowd, how it trained and why not faster."""
    if "why_not_fast" not in facts:
        return scenario.engine.name
    how = "; ".join(facts["why_not_fast"])
    return f"{scenario.engine.name}, " + (f"each site by the usual loop ({how})" if how else "in closed form")
