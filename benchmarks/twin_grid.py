"""Real learning in virtual time: what holding answers back costs, in time and in memory, and how long a virtual day takes.

python -m benchmarks.twin_grid [--json]

Both arms of the first part send the same model of 1 MB to 100 clients that train nothing, in two processes each, and take
the weighted mean; they run in turn, round by round, and their models are compared. The spread arm's clients answer in an
order of virtual time that is not that of their processes. The day is five clinics that train 25 rounds of about an hour.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict

from benchmarks import killing
from benchmarks.form import Row, make_row, show
from fedmed.clock import SystemClock
from fedmed.config.loading import load
from fedmed.config.topology import Topology
from fedmed.federation.mean import WeightedMean
from fedmed.flower import arrays, identity
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import FIRST_NODE, InProcessGrid
from fedmed.flower.transport import Transport
from fedmed.flower.virtual import VirtualGrid
from fedmed.simulate.run import Request, simulate
from fedmed.simulate.timing import Placed
from fedmed.twin.clock import VirtualClock
from fedmed.twin.world import World

APP = AppRef(Path(__file__).parent / "apps", "noop_app:app")
CLIENTS, SIZE, WORKERS, ROUNDS = 100, 250_000, 2, 8
SITES = ("east", "north", "south", "west", "zenith")
DSL = {"up": "10 Mbit/s", "down": "50 Mbit/s", "latency": "20 ms"}
DAY_S = 60.0


@dataclass
class Arm:
    """Rounds over one grid."""

    name: str
    transport: Transport
    close: Callable[[], None]
    virtual: VirtualGrid | None = None
    held: int = 0
    """Most bytes of answers that waited for their moment."""
    seconds: list[float] = field(default_factory=list)
    mean: bytes = b""

    def round(self, model: dict[str, np.ndarray]) -> None:
        """One timed round."""
        began = time.perf_counter()
        content = RecordDict({"arrays": arrays.borrow(model), "config": ConfigRecord({})})
        nodes = range(FIRST_NODE, FIRST_NODE + CLIENTS)
        pending = self.transport.send([Message(content, node, "train") for node in nodes])
        mean = WeightedMean(model)
        while pending:
            for reply in self.transport.receive(pending, 60.0):
                mean.add(reply.lane, reply.tensors, float(reply.metrics["num-examples"]))
                del pending[reply.message_id]
                self.held = max(self.held, self.virtual.held_bytes if self.virtual else 0)
        self.mean = mean.result()["w"].tobytes()
        self.seconds.append(time.perf_counter() - began)


def processes() -> InProcessGrid:
    """The clients."""
    return InProcessGrid(APP, [{"partition-id": i} for i in range(CLIENTS)], [1.0] * CLIENTS, WORKERS)


def plain() -> Arm:
    """In the machine's own time."""
    grid = processes()
    return Arm("the machine's own time", Transport(grid, SystemClock()), grid.close)


def virtual(name: str, presence: dict[str, object], *machines: str) -> Arm:
    """In virtual time, on clinics of these machines in turn."""
    group = {"line": "dsl", "presence": presence}
    stated = {
        "lines": {
            "dsl": {"up": "10 Mbit/s", "down": "50 Mbit/s", "latency": "20 ms"},
            "hall": {"up": "1 Tbit/s", "down": "1 Tbit/s"},
        },
        "center": {"line": "hall"},
        "clinics": [{"name": each, "machine": each, "count": CLIENTS // len(machines), **group} for each in machines],
    }
    world = World(Topology.model_validate_json(json.dumps(stated)), 7, {"t4": 0.01, "cpu": 0.2, "nano": 0.4, "a100": 0.001})
    order = np.random.default_rng(7).permutation(CLIENTS).tolist()  # which process has which is another matter
    grid, clock = processes(), VirtualClock()
    seen = VirtualGrid(grid, Placed(world, order), clock, lambda node, kind: 50.0)
    return Arm(name, Transport(seen, clock), grid.close, seen)


def rounds() -> list[Row]:
    """All arms in turn."""
    identity.assume(identity.SERVER_NODE)
    model = {"w": np.random.default_rng(1).standard_normal(SIZE, dtype=np.float32)}
    arms = [
        plain(),
        virtual("virtual time, all alike", {}, "t4"),
        virtual("virtual time, four machines", {}, "t4", "cpu", "nano", "a100"),
        virtual("virtual time, four machines that come and go", {"share": 0.9}, "t4", "cpu", "nano", "a100"),
    ]
    for _ in range(ROUNDS + 1):
        for arm in arms:
            arm.round(model)
    for arm in arms:
        arm.close()
    first, *others = (np.frombuffer(arm.mean, np.float32) for arm in arms)
    apart = max(float(np.abs(each - first).max() / np.abs(first).max()) for each in others)
    rows = [make_row("means apart", apart, "of the largest value", "<= 1e-5", apart <= 1e-5)]
    for arm in arms:
        seconds = arm.seconds[1:]
        rows.append(make_row(f"100 x 1 MB, {arm.name}", min(seconds) * 1e3, f"ms, min (median {median(seconds) * 1e3:.0f})"))
        if arm.virtual:
            rows.append(make_row(f"100 x 1 MB, {arm.name}: held", arm.held / 1e6, "MB at most"))
    return rows


def day() -> list[Row]:
    """A virtual day of real learning, with masks and with the answers of one clinic lost for two hours."""
    topology = {
        "machines": {"box": {"like": "t4", "step": "1000 s"}},
        "lines": {"dsl": DSL},
        "center": {"line": "dsl"},
        "clinics": [{"name": "all", "count": len(SITES), "machine": "box", "line": "dsl"}],
        "faults": [{"kind": "dark", "who": "all/3", "at": "4 h", "lasts": "2 h"}],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        killing.write_inputs(folder, SITES)
        path = folder / "tiny.yaml"
        path.write_text(path.read_text() + f"topology: {json.dumps(topology)}\n")
        scenario = load(
            path, ("rounds=25", "evaluation.every=25", "federation.deadline_s=7200", f"engine.workers={WORKERS}")
        )
        report = simulate(Request(scenario, folder, folder / "out"))
    spent, virtual_s = report["seconds"]["phases"]["federate"], report["virtual"]["seconds"]
    missed = sum(len(each["missing"]) for each in report["rounds"])
    return [
        make_row("five clinics, 25 masked rounds: virtual", virtual_s / 3600, "h", ">= 24", virtual_s >= 86_400),
        make_row("five clinics, 25 masked rounds: the rounds took", spent, "s", f"<= {DAY_S:g}", spent <= DAY_S),
        make_row("five clinics, 25 masked rounds: answers that were missed", missed, "answers"),
    ]


def rows() -> list[Row]:
    """Of the report."""
    return [*rounds(), *day()]


if __name__ == "__main__":
    show("twin grid", rows(), "--json" in sys.argv)
