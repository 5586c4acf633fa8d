"""`fedmed simulate` of a scenario whose learning is modelled: rounds in virtual time, a report, a trace."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from fedmed.cli.bars import Bar
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, FederationError, StoreError
from fedmed.report import modelled as pages
from fedmed.report.document import write
from fedmed.report.formats import kind_of
from fedmed.twin import answers, bars, counting
from fedmed.twin.counted import stored
from fedmed.twin.modelled import Attempt, Modelled, check
from fedmed.twin.planning.cost import Cost
from fedmed.twin.trace import lines
from fedmed.twin.use import Use

TRACE, REPORT, PAGE, ROUNDS = "trace.jsonl", "report.json", "report.html", "rounds.csv"
MOST_REASONS = 3


def run(scenario: Scenario, data: Path | None, out: Path, resume: bool, as_json: bool) -> None:
    """Run and show. What ends a run before its last round is raised once the report is written."""
    if resume:
        raise ConfigError("--resume: a run whose learning is modelled takes seconds; run it anew in another folder")
    check(scenario)
    cost = _cost(scenario, data)
    Modelled(scenario, cost)  # its faults, before there is a folder
    _claim(out)
    found, fault, use = _play(scenario, cost, out)
    told = facts(scenario, found, fault) | answers_of(scenario, found, use, out)
    _keep(out, told)
    if as_json:
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        _tell(told, out)
    if fault is not None:
        raise fault


def _cost(scenario: Scenario, data: Path | None) -> Cost:
    if (known := stored(scenario)) is not None:
        return known
    spec, _ = counting.spec_of(scenario, data)
    return counting.cost_of(spec, (*scenario.task.frozen, *scenario.task.local))


def _claim(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        is_free = not any(out.iterdir())
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be a folder: {error.strerror}; give another one") from error
    if not is_free:
        raise ConfigError(f"--out {out} is not empty; give an empty or a new folder")


def _play(scenario: Scenario, cost: Cost, out: Path) -> tuple[list[Attempt], FederationError | None, Use]:
    found = list[Attempt]()
    try:
        with (out / TRACE).open("wb") as file, Bar("rounds") as bar:
            run = Modelled(scenario, cost, lines(file.write))
            for attempt in run.attempts():
                found.append(attempt)
                bar(scenario.name, attempt.number - attempt.is_short, scenario.rounds)
    except FederationError as error:
        return found, error, run.use
    except OSError as error:
        raise StoreError(f"{out / TRACE} cannot be written: {error.strerror}; make room or mend the disk") from error
    return found, None, run.use


def facts(scenario: Scenario, found: list[Attempt], fault: FederationError | None) -> dict[str, Any]:
    """For machines; times in virtual seconds."""
    assert scenario.topology is not None
    took = [each.seconds for each in found if not each.is_short]
    return {
        "scenario": {"name": scenario.name, "title": scenario.title, "rounds": scenario.rounds, "seed": scenario.seed},
        "learning": "modelled",
        "masks": scenario.topology.masks,
        "status": "complete" if fault is None else str(fault),
        "seconds": found[-1].closed if found else 0.0,
        "median_s": median(took) if took else None,
        "rounds": [{**asdict(each), "is_short": each.is_short} for each in found],
    }


def answers_of(scenario: Scenario, found: list[Attempt], use: Use, out: Path) -> dict[str, Any]:
    """What it came to, tier by tier, and its longest attempt at a round."""
    assert scenario.topology is not None
    seconds = found[-1].closed if found else 0.0
    told = answers.answers(scenario.topology, use.spent(seconds), seconds)
    told |= {
        "network": use.flow.told(seconds),
        "lost": [{"round": each.number, "attempt": each.attempt, "why": _lost(each)} for each in found if each.is_short],
        "waited_for": answers.waited_for([each.last for each in found if each.last and not each.is_short]),
    }
    if not found:
        return {"answers": told, "gantt": None}
    longest = max(found, key=lambda each: each.seconds)
    about = (longest.number, longest.attempt, longest.began, longest.closed, scenario.federation.deadline_s)
    with (out / TRACE).open("rb") as file:
        return {"answers": told, "gantt": bars.of_attempt(file, *about)}


def _lost(attempt: Attempt) -> str:
    reasons = "; ".join(f"{count} {kind_of(reason)}" for reason, count in attempt.reasons().most_common(MOST_REASONS))
    return f"{attempt.joined} of {attempt.asked} were in the sum{f' ({reasons})' if reasons else ''}"


def _keep(out: Path, told: dict[str, Any]) -> None:
    write(out / REPORT, json.dumps(told, indent=1, ensure_ascii=False))
    write(out / ROUNDS, pages.table(told))
    write(out / PAGE, pages.page(told))


def _tell(told: dict[str, Any], out: Path) -> None:
    said = [f"{told['scenario']['title']}: {pages.summary(told)}", f"  {pages.HEAD}", f"  {pages.MASKS[told['masks']]}"]
    said += [f"  {count} missing: {reason}" for count, reason in pages.reasons_of(told)]
    sys.stdout.write("\n".join([*said, f"  Report: {(out / PAGE).resolve()}"]) + "\n")
