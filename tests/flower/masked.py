"""Masked rounds of the no-op app, by the product's own round loop, on any Grid."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.clock import SystemClock
from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.federation.epochs import Names
from fedmed.federation.gathering import Plain
from fedmed.federation.journal import Journal
from fedmed.federation.masked import Shape, Sums
from fedmed.federation.meeting import Trust, asking_for
from fedmed.federation.phase import Member, Phase
from fedmed.federation.rounds import RoundLoop
from fedmed.flower.direct import DirectGrid
from fedmed.flower.rule import Rule
from fedmed.flower.strategies import build
from fedmed.flower.transport import Transport
from fedmed.identity.member import MemberKeys
from fedmed.learning.order import ModelSpec
from fedmed.simulate import members
from fedmed.sites import prepared
from fedmed.sites.cases import Cases, Site
from tests.flower.real import ROOT, Federation, processes

APP = {"root": str(ROOT / "benchmarks" / "apps"), "name": "noop_app:app"}
GATE = f"{members.__name__}:{members.gate_of.__name__}"
EXAMPLES = 10
SCENARIO = """
name: bench
title: Bench
rounds: 100
data: {reader: csv}
task: {name: tabular}
training: {epochs: 1}
federation: {deadline_s: 60}
"""


def scenario(*changed: str) -> Scenario:
    return parse(SCENARIO, "bench.yaml", list(changed))


def laid_out(folder: Path, names: list[str], *changed: str) -> Path:
    """Sites with members' keys, pins and policies; these follow from the scenario."""
    sites = folder / "sites"
    cases = Cases(np.zeros((1, 2), np.float32), np.zeros(1, np.int64), ("a", "b"))
    prepared.lay_out([Site(name, cases, cases, cases) for name in names], sites)
    members.enrol(sites, names, scenario(*changed))
    return sites


@contextmanager
def loop(transport: Transport, by_node: dict[int, str], sites: Path, folder: Path, *changed: str):
    """The product's round loop, for masked sums or, where the scenario is changed so, for plain updates."""
    told, journal = scenario(*changed), Journal(folder, SystemClock())
    everyone = {node: Member(name, node, EXAMPLES) for node, name in by_node.items()}
    rules, rule = told.federation, Rule(build("fedavg", {}, len(by_node)), 1)
    phase = Phase(transport, everyone, rules.deadline_s, rules.quorum, SystemClock(), journal)
    trust = Trust((sites / members.MEMBERS / members.AUTHORITY).read_bytes(), Names(members.FEDERATION, "bench"))
    shape = Shape(ModelSpec(name="mlp", inputs=(2,), classes=2), (), EXAMPLES, 1, 1024, 100)
    gathering = Sums(asking_for(told, phase, trust), rule, shape) if told.privacy.is_masked else Plain(phase, rule, rules)
    try:
        yield RoundLoop(rule, list(everyone.values()), gathering, phase, rules.attempts)
    finally:
        journal.close()


def train(rounds: RoundLoop, model: dict[str, np.ndarray], count: int) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """The model after `count` rounds, and their records."""
    records = []
    for number in range(1, count + 1):
        model, record = rounds.train(number, model, "{}")
        records.append(record)
    return model, records


@contextmanager
def clinics(fed: Federation, names: list[str], sites: Path):
    """Node processes of the members laid out in `sites`; gives names by node, and the processes."""
    by_node, configs = configured(fed, names, sites)
    with processes(configs) as started:
        yield by_node, started


def configured(fed: Federation, names: list[str], sites: Path) -> tuple[dict[int, str], list[Path]]:
    """Names by node, and a configuration each; a node lets the app run masked (`noop`) and as it is (`plain`)."""
    by_node, configs = {}, []
    for number, name in enumerate(names):
        client = fed.admit(name, MemberKeys.load(sites / members.MEMBERS / f"{number:05d}.keys"))
        by_node[fed.engine.link.register(client.keys.transport_public)] = name
        config = {"partition-id": number, "sites-folder": str(sites)}
        apps = {"noop": {**APP, "gate": GATE}, "plain": {**APP, "gate": None}}
        configs.append(fed.node_config(client, apps, config))
    return by_node, configs


def until_online(grid: DirectGrid, count: int, started: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the nodes; fails with what a process said where one ends."""
    clock, end = SystemClock(), SystemClock().now() + 60
    while len(list(grid.get_node_ids())) < count:
        assert clock.now() < end
        assert all(process.poll() is None for process in started)
        clock.sleep(0.05)
