"""The engines' own cost: rounds of federated averaging in which the clients train nothing.

    python benchmarks/overhead.py [--json]

Every arm sends the same float32 model to the same ClientApp (benchmarks/apps/noop_app.py) and takes the weighted mean of
the answers; the means are compared. Arms of one size run in turn, round by round. Commits and validation are left out, as
the peers have none. Memory is the largest sum of proportional set sizes (PSS) of the process tree, above what it has once
everything is imported, in models.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from form import Row, make_row, show

from fedmed.clock import SystemClock
from fedmed.config.scenario import Rounds
from fedmed.federation.gathering import Plain
from fedmed.federation.journal import Journal
from fedmed.federation.patience import Fixed
from fedmed.federation.phase import Member, Phase
from fedmed.federation.rounds import RoundLoop
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import InProcessGrid
from fedmed.flower.rule import Rule
from fedmed.flower.strategies import build
from fedmed.flower.transport import Transport
from fedmed.wire.tensors import Tensors

APP = AppRef(Path(__file__).parent / "apps", "noop_app:app")
MODEL = 1_000_000
LARGE = 25_000_000
ROUNDS = 12
LARGE_ROUNDS = 3
RAY_ROUNDS = 5
BARS_MS = {10: 20.0, 100: 150.0}


@dataclass
class Arm:
    """One engine, ready to run rounds on the same model."""

    name: str
    loop: RoundLoop
    close: Callable[[], None]
    model: Tensors
    seconds: list[float]

    def round(self, number: int) -> None:
        """One timed round."""
        began = time.perf_counter()
        self.model, _ = self.loop.train(number, self.model, "{}")
        self.seconds.append(time.perf_counter() - began)


def first_model(size: int) -> Tensors:
    """A model of one tensor that is not all zeros."""
    return {"w": np.random.default_rng(1).standard_normal(size, dtype=np.float32)}


def in_process(clients: int, size: int, workers: int) -> Arm:
    """Our engine: `workers` site processes, or the caller itself for 0."""
    clock = SystemClock()
    grid = InProcessGrid(APP, [{"partition-id": i} for i in range(clients)], [1.0] * clients, workers)
    loop = round_loop(Transport(grid, clock), clients, clock)
    name = f"in process, {workers} site processes" if workers else "in process, in the caller"
    return Arm(name, loop, grid.close, first_model(size), [])


def round_loop(transport: Transport, clients: int, clock: SystemClock) -> RoundLoop:
    """The product's round loop around plain FedAvg."""
    transport.await_nodes(clients, timeout_s=60)
    journal = Journal(Path(tempfile.mkdtemp(prefix="fedmed-bench-")), clock)
    members = {node: Member(f"site-{i:05d}", node, 10) for i, node in enumerate(transport.nodes())}
    rules, rule = Rounds(), Rule(build("fedavg", {}, clients), 1)
    phase = Phase(transport, members, Fixed(rules.longest_s), rules.quorum, clock, journal)
    return RoundLoop(rule, list(members.values()), Plain(phase, rule, rules), phase, rules.attempts)


def interleaved(clients: int) -> list[Row]:
    """Our arms in turn, round by round; their models must be equal at the end."""
    arms = [in_process(clients, MODEL, workers) for workers in (0, 2)]
    for number in range(1, ROUNDS + 1):
        for arm in arms:
            arm.round(number)
    for arm in arms:
        arm.close()
    first = arms[0].model["w"]
    spread = max(float(np.abs(arm.model["w"] - first).max() / np.abs(first).max()) for arm in arms)
    rows = [
        make_row(
            f"{clients} clients: largest difference of the final models",
            spread,
            "of the largest value",
            "<= 1e-5",
            spread <= 1e-5,
        )
    ]
    for arm in arms:
        best, middle = min(arm.seconds[1:]) * 1e3, median(arm.seconds[1:]) * 1e3
        name = f"{clients} clients x 1M, {arm.name}"
        rows.append(
            make_row(name, best, f"ms, min (median {middle:.1f})", f"<= {BARS_MS[clients]:g}", best <= BARS_MS[clients])
        )
    return rows


def on_ray(clients: int) -> list[Row]:
    """The same rounds over Flower's own runtime, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--ray", str(clients)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    seconds = json.loads(done.stdout.splitlines()[-1])
    unit = f"ms, min (median {median(seconds[1:]) * 1e3:.0f})"
    return [make_row(f"{clients} clients x 1M, Flower on Ray, 2 actors", min(seconds[1:]) * 1e3, unit)]


def ray_rounds(clients: int) -> list[float]:
    """Seconds a round of our loop over Flower's in-memory Grid and Ray actors."""
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from fedmed.flower import apps

    server, seconds = ServerApp(), list[float]()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        clock = SystemClock()
        arm = Arm("ray", round_loop(Transport(grid, clock), clients, clock), lambda: None, first_model(MODEL), seconds)
        for number in range(1, RAY_ROUNDS + 1):
            arm.round(number)

    resources = {"init_args": {"num_cpus": 2}, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server, apps.load(APP), clients, backend_config=resources)
    return seconds


def memory(clients: int, workers: int) -> float:
    """Peak memory of rounds with 25M parameters above the imported process, in models."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory", str(clients), str(workers)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    return float(done.stdout.splitlines()[-1])


def measured_memory(clients: int, workers: int) -> float:
    """What `memory` measures, in this process."""
    small = in_process(clients, 1000, workers)
    small.round(1)
    before, stop, peak = total_pss(), threading.Event(), [0]
    small.close()

    def watch() -> None:
        while not stop.wait(0.02):
            peak[0] = max(peak[0], total_pss())

    watcher = threading.Thread(target=watch)
    watcher.start()
    arm = in_process(clients, LARGE, workers)
    for number in range(1, LARGE_ROUNDS + 1):
        arm.round(number)
    arm.close()
    stop.set()
    watcher.join()
    return (peak[0] - before) / (4 * LARGE)


def total_pss() -> int:
    """Proportional set size of this process and all below it, in bytes."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def memory_rows() -> list[Row]:
    """Bars: (3 + 3 x workers) models, and no growth with the number of clients."""
    rows = []
    for workers in (0, 2):
        few, many = memory(10, workers), memory(100, workers)
        bar = 3 + 3 * workers
        for clients, found in ((10, few), (100, many)):
            name = f"peak memory, 25M parameters, {clients} clients, {workers} site processes"
            rows.append(make_row(name, found, "models", f"<= {bar}", found <= bar))
        growth = abs(many / few - 1)
        rows.append(
            make_row(f"100 against 10 clients, {workers} site processes", growth, "relative", "<= 0.05", growth <= 0.05)
        )
    return rows


def rows_of_all() -> list[Row]:
    """Every row of this benchmark."""
    return [*interleaved(10), *on_ray(10), *interleaved(100), *on_ray(100), *memory_rows()]


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ray", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ray:
        print(json.dumps(ray_rounds(options.ray)))
    elif options.memory:
        print(measured_memory(*options.memory))
    else:
        show("overhead", rows_of_all(), options.json)


if __name__ == "__main__":
    main()
