"""The engines: the same ServerApp and ClientApp, in processes of this machine, on Ray, or as one crowd."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedmed.config.catalogue import shipped
from fedmed.config.scenario import Engine, Scenario
from fedmed.federation.journal import Journal
from fedmed.flower import apps, lanes, ray
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import InProcessGrid
from fedmed.flower.lying import LyingGrid
from fedmed.flower.ours import OwnGrid
from fedmed.flower.server import call
from fedmed.flower.virtual import VirtualGrid
from fedmed.simulate import devices, dishonest, members
from fedmed.simulate.crowding import CrowdGrid, MaskedCrowdGrid, Sites
from fedmed.simulate.timing import Timing
from fedmed.simulate.traces import Trace
from fedmed.sites import prepared

SERVER = AppRef(shipped("server").parent, "server.app:app")
PRELOADED = (
    "torchmetrics.functional.classification",
    "torch._dynamo",
    "fedmed.learning.attacks.hostile",
    members.__name__,
)
"""What the app imports when it is first called, which the processes of a simulation share."""
CLIENT = AppRef(shipped("clients").parent, "clients.app:app", PRELOADED)
LONGEST_CALL_S = 86_400.0
"""Of a site's work in the machine's own time where deadlines are virtual: it hangs, whoever it is."""


def warm_up(engine: Engine) -> None:
    """Let the site processes' imports begin while the sites are prepared."""
    if engine.name == "inprocess" and engine.workers != 0:
        lanes.warm_up(CLIENT)


def run(
    scenario: Scenario,
    workers: int,
    folder: Path,
    sites_folder: Path,
    loads: Sequence[float],
    journal: Journal,
    timing: Timing | None = None,
) -> None:
    """Run the apps on the scenario in `folder` until the last round is committed; `loads` are the sites' training cases.

    With a `timing` the run is in virtual time, and leaves a trace in the folder.
    """
    folder, sites_folder = folder.resolve(), sites_folder.resolve()
    run_config: dict[str, str | int | bool] = {"run-folder": str(folder), "sites": len(loads)}
    if (sites_folder / prepared.ROOT).is_dir():
        run_config |= {"root-folder": str(sites_folder / prepared.ROOT)}
    client = CLIENT
    if scenario.privacy.is_masked:
        run_config |= {
            "federation": members.FEDERATION,
            "authority": str(sites_folder / members.MEMBERS / members.AUTHORITY),
        }
        client = replace(CLIENT, gate=f"{members.__name__}:{members.gate_of.__name__}")
    if scenario.engine.name == "crowd":
        grid = MaskedCrowdGrid if scenario.privacy.is_masked else CrowdGrid
        with grid(CLIENT, Sites(sites_folder, loads, workers), scenario, run_config, journal) as crowd:
            call(apps.load(SERVER), crowd, run_config)
        return
    if timing is None:
        _on_engine(scenario, workers, sites_folder, loads, client, run_config, None)
        return
    run_config |= {"measure-sites": True}
    if timing.below is not None:
        client = replace(client, around=f"{devices.__name__}:{devices.around.__name__}")
    with Trace(folder, timing.sites, timing.clock.now()) as trace:

        def virtual(grid: OwnGrid) -> VirtualGrid:
            return VirtualGrid(grid, timing.trips, timing.clock, timing.work, trace.tell, timing.below)

        liar = dishonest.liar_of(scenario, sites_folder / members.MEMBERS, timing.sites, journal)

        def lying(grid: OwnGrid) -> LyingGrid:
            assert liar is not None
            return LyingGrid(grid, virtual, liar)

        _on_engine(scenario, workers, sites_folder, loads, client, run_config, virtual if liar is None else lying)


def _on_engine(
    scenario: Scenario,
    workers: int,
    sites_folder: Path,
    loads: Sequence[float],
    client: AppRef,
    run_config: dict[str, str | int | bool],
    seen: Callable[[OwnGrid], VirtualGrid | LyingGrid] | None,
) -> None:
    """Run the apps; the ServerApp has the engine's grid as `seen`."""
    if scenario.engine.name == "ray":
        os.environ["FEDMED_SITES"] = str(sites_folder)  # Flower tells a simulated node its number and nothing else
        real_s = scenario.federation.longest_s if seen is None else LONGEST_CALL_S
        ray.run_on_ray(SERVER, client, len(loads), run_config, max(1, workers), real_s, seen)
        return
    with InProcessGrid(client, _nodes(sites_folder, len(loads)), loads, workers, run_config) as grid:
        shown = grid if seen is None else seen(grid)
        call(apps.load(SERVER), shown, run_config)
        if isinstance(shown, LyingGrid):
            shown.finish()


def _nodes(sites_folder: Path, count: int) -> list[dict[str, Any]]:
    """What each site's app knows of itself."""
    return [{"partition-id": number, "sites-folder": str(sites_folder)} for number in range(count)]


def workers_for(engine: Engine, sites: int) -> int:
    """Site processes: as many as the scenario says, else one a core and never more than sites."""
    wished = engine.workers if engine.workers is not None else os.cpu_count() or 1
    return min(wished, sites)
