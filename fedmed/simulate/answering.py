"""What a report says of the time that a run was in, and what it came to: time to a measure, rounds lost, energy by tier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.federation.journal import events
from fedmed.simulate.targets import Rounds, Target, own_target, reached
from fedmed.simulate.timing import Timing, masks_of
from fedmed.simulate.tracks import parts, tracks
from fedmed.twin import answers
from fedmed.twin.planning.energy import JOULES_A_KWH, joules
from fedmed.twin.profiles import profiles_of


def told(scenario: Scenario, timing: Timing | None, folder: Path, rounds: Rounds, target: Target | None) -> dict[str, Any]:
    """`answers`, and of a run in virtual time `virtual`, of the run in `folder`."""
    first = reached(rounds, target or own_target(rounds))
    found: dict[str, Any] = {"lost": lost(folder), "target": first and first | {"asked": target is not None}}
    if timing is None or scenario.topology is None:
        return {"answers": found}
    seconds, profiles = timing.clock.now(), profiles_of(scenario.topology)
    seen = tracks(folder, rounds, seconds, scenario.federation.deadline_s, timing.devices)
    for site, machine in zip(timing.sites, timing.machines, strict=True):
        if (use := seen.use.get(site)) is not None:
            use["kwh"] = joules(profiles[machine], use["work_s"], seconds) / JOULES_A_KWH
    found |= answers.answers(scenario.topology, answers.by_group(timing.who, seen.use), seconds)
    found |= {"network": seen.network, "waited_for": answers.waited_for([timing.who[site] for site in seen.last])}
    virtual = {
        "seconds": seconds,
        "learning": scenario.topology.learning,
        "masks": masks_of(scenario),
        "members": timing.who,
        "regions": [region.name for region in scenario.topology.regions],
        "devices": parts(folder) if timing.devices else {},
        "gantt": seen.gantt,
        "use": seen.use,
    }
    return {"virtual": virtual, "answers": found}


def lost(folder: Path) -> list[dict[str, Any]]:
    """Attempts at a round of which nothing came, and why."""
    short = [event for event in events(folder) if event["event"] == "short"]
    return [{"round": each["round"], "attempt": each["attempt"], "why": "; ".join(each["lacks"])} for each in short]
