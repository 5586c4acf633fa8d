"""A center in this process and clinics as processes of their own: mutual TLS, masked, all that is kept on the disk."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fedmed.clock import SystemClock
from fedmed.errors import FederationError
from fedmed.federation.rounds import RoundLoop
from fedmed.flower.direct import DirectGrid
from fedmed.flower.superlink import Traffic
from fedmed.flower.transport import Transport
from fedmed.wire.tensors import Tensors
from tests.flower.masked import configured, laid_out, loop, until_online
from tests.flower.real import Federation, federation, processes

STEP = np.float32(0.001)
LIGHT = Path(__file__).parent / "light_nodes.py"
LANES_32, LANES_16, PLAIN = "lanes=32", "lanes=16", "secure_aggregation=off"
"""Settings of the three arms."""


@dataclass
class Arm:
    """Rounds of one kind."""

    loop: RoundLoop
    model: Tensors
    traffic: Traffic
    clinics: int
    seconds: list[float] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """MB of this process after each round."""
    up: list[float] = field(default_factory=list)
    """Bytes of a round's requests, a clinic; `down` of what they were answered, `calls` how many."""
    down: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)

    def round(self) -> float:
        """One more round, timed; one that is not committed leaves its reason and the model as it was."""
        seen, began = (self.traffic.calls, self.traffic.bytes_in, self.traffic.bytes_out), time.perf_counter()
        try:
            self.model, record = self.loop.train(len(self.seconds) + 1, self.model, "{}")
            self.verdicts.append(str(record["verdict"]))
        except FederationError as error:
            self.verdicts.append(f"not committed: {error}")
        self.seconds.append(time.perf_counter() - began)
        now = (self.traffic.calls, self.traffic.bytes_in, self.traffic.bytes_out)
        for measured, before, after in zip((self.calls, self.up, self.down), seen, now, strict=True):
            measured.append((after - before) / self.clinics)
        self.memory.append(memory_mb("VmRSS"))
        self.model = {name: value + STEP for name, value in self.model.items()}  # each round's model is a new one
        return self.seconds[-1]


@dataclass
class Ours:
    """A federation that is up."""

    fed: Federation
    by_node: dict[int, str]
    sites: Path
    folder: Path

    privacy: str

    @contextmanager
    def arm(self, model: Tensors, privacy: str = "") -> Iterator[Arm]:
        """A run of the no-op app; `privacy` is one setting of the scenario, that of the federation where none is given."""
        privacy = privacy or self.privacy
        link = self.fed.engine.link
        grid = DirectGrid(link, link.start_run("plain" if privacy.endswith("off") else "noop"))
        kept = self.folder / privacy
        kept.mkdir()
        with loop(Transport(grid, SystemClock()), self.by_node, self.sites, kept, f"privacy.{privacy}") as rounds:
            yield Arm(rounds, model, link.traffic, len(self.by_node))


@contextmanager
def ours(folder: Path, count: int, privacy: str, is_light: bool = False) -> Iterator[tuple[Ours, Any]]:
    """`count` clinics; also the process that starts and kills them where they are forks of one, which are lighter."""
    names = [f"clinic-{number:02d}" for number in range(count)]
    sites = laid_out(folder, names, f"privacy.{privacy}")
    with federation(folder, folder / "state.db") as fed:
        by_node, configs = configured(fed, names, sites)
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("noop"))
        with light(configs) if is_light else processes(configs) as started:
            until_online(grid, count, [] if is_light else started)
            yield Ours(fed, by_node, sites, folder, privacy), started


@contextmanager
def light(configs: list[Path]) -> Iterator[subprocess.Popen[str]]:
    """One process that forks all nodes; it is told `start N` and `kill N`."""
    with (configs[0].parent / "nodes.log").open("wb") as log:
        command = [sys.executable, str(LIGHT), *map(str, configs)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)
    try:
        for number in range(len(configs)):
            tell(process, f"start {number}")
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def tell(process: subprocess.Popen[str], what: str) -> None:
    """Say one line to the process that forks."""
    if process.stdin is None:
        raise ValueError("the process was started without a pipe")
    process.stdin.write(f"{what}\n")
    process.stdin.flush()


def model_of(size: int) -> Tensors:
    """The model that all arms begin with."""
    return {"w": np.random.default_rng(1).standard_normal(size, dtype=np.float32)}


def memory_mb(what: str) -> float:
    """`VmRSS` or `VmHWM` of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1000
