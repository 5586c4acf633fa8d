"""A clinic's folder with a registered data set and an approver, without a center: what the tests of approvals work on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedmed import __version__
from fedmed.clinic.approvals import Approvals
from fedmed.clinic.approving import draft
from fedmed.clinic.datasets import DataSets
from fedmed.clinic.folder import ClinicFolder, open_clinic
from fedmed.clinic.registering import register
from fedmed.clinic.releasing import released
from fedmed.clinic.terms import Terms
from fedmed.clinic.warrants import Warrant, Warrants
from fedmed.clinic.wheels import Lock
from fedmed.config.loading import parse
from fedmed.config.roles import CLINIC_FILE, Clinic, written
from fedmed.config.scenario import Split
from fedmed.flower.keys import CONFIG_KEY
from fedmed.identity import files
from fedmed.identity.approval import Approval, Signed
from fedmed.identity.approver import FILE, ApproverKey, Approvers
from fedmed.identity.proposal import Offered, Proposal, built_in, offered
from fedmed.sites.own import Source
from fedmed.store.audit.event import Event, faults_of
from fedmed.wire.canonical import canonical
from tests.center.federation import Brisk

SCENARIO = """\
name: wards
title: Three wards
rounds: 10
seed: 7
data: {reader: csv, folder: wards, options: {site: ward, classes: ["0", "1"]}}
task: {name: tabular}
training: {learning_rate: 0.1, schedule: linear, batch_size: 16, epochs: 2}
engine: {device: cpu}
"""
POLICY = Clinic(federation="study", name="north", host="127.0.0.1", center="0" * 64)
WHEELS = Lock("a" * 64, {"fedmed": __version__, "numpy": "2.0"})
DATASET, APPROVER, PLAIN = "wards", "frey", Terms()


def key() -> ApproverKey:
    return ApproverKey(Ed25519PrivateKey.generate())


def offer(*overrides: str, text: str = SCENARIO, run: str = "wards-1") -> Offered:
    scenario = parse(text, "scenario", overrides)
    return offered(Proposal(run=run, scenario=scenario, app=built_in(), fedmed=__version__))


def cases(path: Path, seed: int = 1, rows: int = 60) -> Path:
    random = np.random.default_rng(seed)
    lines = ["ward,age,pressure,label"]
    for _ in range(rows):
        age, pressure = random.normal(60, 9), random.normal(130, 15)
        lines.append(f"north,{age:.1f},{pressure:.1f},{int(age + pressure / 3 + random.normal(0, 9) > 103)}")
    path.mkdir(parents=True, exist_ok=True)
    (path / "cases.csv").write_text("\n".join(lines) + "\n")
    return path


@dataclass
class Staffed:
    """One clinic."""

    folder: ClinicFolder
    clock: Brisk
    key: ApproverKey
    events: list[Event] = field(default_factory=list)
    wheels: str = WHEELS.digest

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def datasets(self) -> DataSets:
        return DataSets(self.path)

    @property
    def approvals(self) -> Approvals:
        return Approvals(self.path)

    def draft(self, what: Offered, terms: Terms = PLAIN, policy: Clinic = POLICY) -> Approval:
        return draft(what, self.datasets.get(DATASET), policy, built_in(), WHEELS, terms, self.clock.unix())

    def approve(self, what: Offered, terms: Terms = PLAIN) -> Signed:
        approval = self.draft(what, terms)
        signed = Signed(approval).signed(APPROVER, self.key.sign(approval.message()))
        self.approvals.keep(signed)
        return signed

    def rules(self, **changed: Any) -> None:
        """Change clinic.yaml."""
        (self.path / CLINIC_FILE).write_bytes(written(POLICY.model_copy(update=changed)))

    def record(self, said: Event) -> None:
        assert not list(faults_of(said))
        self.events.append(said)

    def find(self, name: str, what: Offered | None = None) -> Warrant:
        return Warrants(self.folder, self.wheels, self.record).find(name, what)


def staffed(place: Path) -> Staffed:
    """A clinic whose one data set is released for research."""
    (place / "clinic").mkdir(parents=True)
    files.replace(place / "clinic" / CLINIC_FILE, written(POLICY))
    clock, made = Brisk(), key()
    found = Staffed(open_clinic(place / "clinic", clock), clock, made)
    source = Source("csv", str(cases(place / "wards")), {"site": "ward", "classes": ["0", "1"]}, None, Split(), 7)
    dataset = register(DATASET, source, "north", place / "scratch", clock.unix()).dataset
    found.datasets.add(released(dataset, "research", None, None, "Dr. Frey", clock.unix()))
    Approvers(found.path / FILE).add(APPROVER, made.public)
    return found


def text(order: Any, **beside: Any) -> str:
    """The settings of a message, as `flower.proposal.text_of` writes them."""
    said = order if isinstance(order, str) else json.dumps(order)
    return canonical({"config": {CONFIG_KEY: said, **beside}}).decode()
