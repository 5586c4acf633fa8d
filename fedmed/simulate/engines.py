"""The two engines: the same ServerApp and ClientApp, in processes of this machine or on Ray."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fedmed.config.catalogue import shipped
from fedmed.config.scenario import Engine, Scenario
from fedmed.flower import apps, lanes, ray
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import InProcessGrid
from fedmed.flower.server import call
from fedmed.flower.virtual import VirtualGrid
from fedmed.simulate import members
from fedmed.simulate.timing import Timing
from fedmed.simulate.traces import Trace

SERVER = AppRef(shipped("server").parent, "server.app:app")
CLIENT = AppRef(shipped("clients").parent, "clients.app:app", ("torchmetrics.functional.classification", "torch._dynamo"))


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
    timing: Timing | None = None,
) -> None:
    """Run the apps on the scenario in `folder` until the last round is committed; `loads` are the sites' training cases.

    With a `timing` the run is in virtual time, and leaves a trace in the folder.
    """
    folder, sites_folder = folder.resolve(), sites_folder.resolve()
    run_config: dict[str, str | int] = {"run-folder": str(folder), "sites": len(loads)}
    client = CLIENT
    if scenario.privacy.is_masked:
        run_config |= {
            "federation": members.FEDERATION,
            "authority": str(sites_folder / members.MEMBERS / members.AUTHORITY),
        }
        client = replace(CLIENT, gate=f"{members.__name__}:{members.gate_of.__name__}")
    if scenario.engine.name == "ray":
        os.environ["FEDMED_SITES"] = str(sites_folder)  # Flower tells a simulated node its number and nothing else
        ray.run_on_ray(SERVER, client, len(loads), run_config, max(1, workers), scenario.federation.longest_s)
        return
    nodes = [{"partition-id": i, "sites-folder": str(sites_folder)} for i in range(len(loads))]
    with InProcessGrid(client, nodes, loads, workers, run_config) as grid:
        if timing is None:
            call(apps.load(SERVER), grid, run_config)
            return
        with Trace(folder, timing.sites, timing.clock.now()) as trace:
            virtual = VirtualGrid(grid, timing.trips, timing.clock, timing.work, trace.tell)
            call(apps.load(SERVER), virtual, {**run_config, "measure-sites": True})


def workers_for(engine: Engine, sites: int) -> int:
    """Site processes: as many as the scenario says, else one a core and never more than sites."""
    wished = engine.workers if engine.workers is not None else os.cpu_count() or 1
    return min(wished, sites)
