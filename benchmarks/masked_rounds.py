"""What encryption adds to whole rounds of the in-process engine: the same rounds masked and plain, in turn.

    scripts/bench masked_rounds [--json] [--quick]

Ten clinics, one model of 10M float32, two site processes. The clients train nothing (benchmarks/apps/noop_app.py): what is
left is the engine, and in the masked arm everything that a clinic does in a run, ledger and keystore included. A second pair
of arms trains 9.75M parameters, five passes over 500 cases at each clinic (benchmarks/apps/training_app.py), to see what
share of a round encryption takes there. The models of each pair are compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from apps.training_app import network
from form import Row, make_row, show

from fedmed.clock import SystemClock
from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.federation.epochs import Names
from fedmed.federation.gathering import Plain
from fedmed.federation.journal import Journal
from fedmed.federation.masked import Shape, Sums
from fedmed.federation.meeting import Trust, asking_for
from fedmed.federation.patience import Fixed
from fedmed.federation.phase import Member, Phase
from fedmed.federation.rounds import RoundLoop
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import InProcessGrid
from fedmed.flower.rule import Rule
from fedmed.flower.strategies import build
from fedmed.flower.transport import Transport
from fedmed.learning.order import ModelSpec
from fedmed.simulate import members
from fedmed.sites import prepared
from fedmed.sites.cases import Cases, Site
from fedmed.wire.tensors import Tensors

APPS = Path(__file__).parent / "apps"
CLINICS, SIZE, WORKERS, EXAMPLES = 10, 10_000_000, 2, 10
BAR_S, BAR_SHARE = 0.6, 0.05
SCENARIO = """
name: bench
title: Bench
rounds: 100
data: {reader: csv}
task: {name: tabular}
training: {epochs: 1}
"""


@dataclass
class Arm:
    """Rounds of one kind on one model."""

    loop: RoundLoop
    model: Tensors
    close: Callable[[], None]
    seconds: list[float]

    def round(self, number: int) -> None:
        """One timed round."""
        began = time.perf_counter()
        self.model, _ = self.loop.train(number, self.model, "{}")
        self.seconds.append(time.perf_counter() - began)


def arm(app: AppRef, model: Tensors, is_masked: bool) -> Arm:
    """The product's round loop over real site processes."""
    scenario = parse(SCENARIO, "bench.yaml", [] if is_masked else ["privacy.secure_aggregation=off"])
    folder, clock = Path(tempfile.mkdtemp(prefix="fedmed-bench-")), SystemClock()
    sites = folder / "sites"
    names = [f"site-{number:05d}" for number in range(CLINICS)]
    if is_masked:
        prepared.lay_out([_site(name) for name in names], sites)
        members.enrol(sites, names, scenario)
        app = replace(app, gate=f"{members.__name__}:{members.gate_of.__name__}")
    nodes = [{"partition-id": number, "sites-folder": str(sites)} for number in range(CLINICS)]
    grid = InProcessGrid(app, nodes, [1.0] * CLINICS, WORKERS)
    transport = Transport(grid, clock)
    transport.await_nodes(CLINICS, timeout_s=60)
    return Arm(_loop(transport, names, scenario, sites, Journal(folder, clock)), model, grid.close, [])


def _loop(transport: Transport, names: list[str], scenario: Scenario, sites: Path, journal: Journal) -> RoundLoop:
    by_node = {node: Member(name, node, EXAMPLES) for name, node in zip(names, transport.nodes(), strict=True)}
    rules, rule = scenario.federation, Rule(build("fedavg", {}, CLINICS), 1)
    phase = Phase(transport, by_node, Fixed(rules.longest_s), rules.quorum, SystemClock(), journal)
    gathering: Plain | Sums = Plain(phase, rule, rules)
    if scenario.privacy.is_masked:
        trust = Trust((sites / members.MEMBERS / members.AUTHORITY).read_bytes(), Names(members.FEDERATION, "bench"))
        spec = ModelSpec(name="mlp", inputs=(2,), classes=2)
        gathering = Sums(asking_for(scenario, phase, trust), rule, Shape(spec, (), EXAMPLES, 1, 1024, 100))
    return RoundLoop(rule, list(by_node.values()), gathering, phase, rules.attempts)


def _site(name: str) -> Site:
    cases = Cases(np.zeros((1, 2), np.float32), np.zeros(1, np.int64), ("a", "b"))
    return Site(name, cases, cases, cases)


def pair(app: AppRef, model: Tensors, rounds: int) -> tuple[Arm, Arm, float]:
    """Plain and masked in turn; how far their final models differ."""
    arms = [arm(app, {k: v.copy() for k, v in model.items()}, is_masked) for is_masked in (False, True)]
    for number in range(1, rounds + 1):
        for each in arms:
            each.round(number)
    for each in arms:
        each.close()
    plain, masked = arms
    far = max(float(np.abs(masked.model[name] - value).max()) for name, value in plain.model.items())
    return plain, masked, far


def rows_of(rounds: int) -> list[Row]:
    """Every row."""
    model = {"w": np.random.default_rng(1).standard_normal(SIZE, dtype=np.float32)}
    plain, masked, far = pair(AppRef(APPS, "noop_app:app"), model, rounds)
    rows = [*_rows("10 clinics x 10M, no training", plain, masked, far)]
    added = median(m - p for p, m in zip(plain.seconds[1:], masked.seconds[1:], strict=True))
    rows.append(make_row("masked minus plain, no training, median of pairs", added, "s", f"<= {BAR_S}", added <= BAR_S))
    torch.manual_seed(1)
    model = {name: value.numpy() for name, value in network().state_dict().items()}
    plain, masked, far = pair(AppRef(APPS, "training_app:app"), model, max(3, rounds // 2))
    rows += _rows("10 clinics x 9.75M, with training", plain, masked, far)
    share = median(m / p - 1 for p, m in zip(plain.seconds[1:], masked.seconds[1:], strict=True))
    rows.append(
        make_row("masked over plain, with training, median of pairs", share, "", f"<= {BAR_SHARE}", share <= BAR_SHARE)
    )
    return rows


def _rows(what: str, plain: Arm, masked: Arm, far: float) -> list[Row]:
    rows = [make_row(f"{what}: largest difference of the models", far, "", "<= 1e-4", far <= 1e-4)]
    for name, each in (("plain", plain), ("masked", masked)):
        best, middle = min(each.seconds[1:]), median(each.seconds[1:])
        rows.append(make_row(f"round of {what}, {name}", best, f"s, min (median {middle:.3f})"))
    return rows


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="three rounds of each kind instead of ten")
    options = parser.parse_args()
    show("masked_rounds", rows_of(3 if options.quick else 10), options.json)


if __name__ == "__main__":
    main()
