"""Sites with the clinic's own app behind real gates, for a center that lies: by hand, or over a whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict

from fedmed.clock import SystemClock
from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.flower import identity, keys
from fedmed.flower.arrays import all_views, borrow, numbers
from fedmed.flower.inprocess import FIRST_NODE, InProcessGrid
from fedmed.flower.proposal import Proposal
from fedmed.flower.worker import Sites
from fedmed.identity.authority import read_certificate
from fedmed.learning import plan as planning
from fedmed.learning.census import Census
from fedmed.learning.plan import Described
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import convening, opening, questions
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.opening import Opening
from fedmed.privacy.secagg.parameters import Parameters, least_colluders
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.simulate import engines, members
from fedmed.sites import prepared, sites_of
from fedmed.wire.digest import digest_of
from fedmed.wire.tensors import Tensors

CLOCK = SystemClock()
NAMES = ("east", "north", "south", "west")
SCENARIO = """\
name: lied-to
title: Four sites and a center that lies
rounds: 3
data: {reader: csv, options: {site: site}}
task: {name: tabular}
training: {learning_rate: 0.05, batch_size: 8, epochs: 1}
strategy: {name: fedavg}
evaluation: {baselines: false}
engine: {workers: 0}
federation: {attempts: 1}
"""


def write_cases(folder: Path, names: Iterable[str] = NAMES, each: int = 40) -> Path:
    rng, lines = np.random.default_rng(0), ["a,b,c,site,label"]
    for site in names:
        x = rng.normal(size=(each, 3))
        lines += [f"{a:.4f},{b:.4f},{c:.4f},{site},{'ill' if a + b + c > 0 else 'well'}" for a, b, c in x]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder


class Refusal(Exception):
    """What a site answered instead."""


@dataclass
class There:
    """Four sites, and what an honest center would know of them."""

    folder: Path
    scenario: Scenario
    sites: Sites
    order: str = ""
    model: Tensors = field(default_factory=dict)
    agreed: Agreed | None = None

    @property
    def nodes(self) -> list[int]:
        return list(self.sites.contexts)

    def tell(self, node: int, kind: str, content: RecordDict) -> Message:
        identity.assume(identity.SERVER_NODE)
        reply = self.sites.call(Message(content, node, kind))
        identity.assume(identity.SERVER_NODE)
        if reply.has_error():
            raise Refusal(reply.error.reason)
        return reply

    def ask(self, node: int, kind: str, said: bytes = b"") -> bytes:
        reply = self.tell(node, kind, RecordDict({keys.SAID: ConfigRecord({keys.BYTES: said})}))
        return bytes(numbers(reply.content, ConfigRecord)[keys.BYTES])

    def describe(self, inquiry: str) -> str:
        reply = self.tell(self.nodes[0], keys.DESCRIBE, RecordDict({"config": ConfigRecord({keys.CONFIG_KEY: inquiry})}))
        return str(numbers(reply.content, ConfigRecord)[keys.CONFIG_KEY])

    def terms(self, **changes: Any) -> Parameters:
        roster = tuple(sorted(self.people))
        known: dict[str, Any] = {"federation": members.FEDERATION, "run": "lied-to", "epoch": 1, "roster": roster}
        known |= {"colluders": least_colluders(len(roster)), "dropouts": 0, "rounds": 8}
        return Parameters(**{**known, **changes})

    @property
    def people(self) -> dict[bytes, tuple[int, bytes]]:
        """Fingerprint -> node and signing key."""
        authority = (self.folder / members.MEMBERS / members.AUTHORITY).read_bytes()
        found = {node: read_certificate(self.ask(node, keys.MEMBER), authority, CLOCK.unix()) for node in self.nodes}
        return {each.fingerprint: (node, each.signing_public) for node, each in found.items()}

    def set_up(self, terms: Parameters) -> Agreed:
        people = self.people
        nodes = {index: people[each][0] for index, each in enumerate(terms.roster, 1)}
        state: Convening | Agreed = convening.convene(
            terms, {index: people[each][1] for index, each in enumerate(terms.roster, 1)}
        )
        while isinstance(state, Convening):
            for index, request in convening.requests(state).items():
                state = convening.take(state, index, self.ask(nodes[index], keys.PROTOCOL, request))
            state = convening.proceed(state)
        self.agreed = state
        return state

    def node_of(self, index: int) -> int:
        assert self.agreed is not None
        return self.people[self.agreed.terms.roster[index - 1]][0]

    def layout(self, **changes: Any) -> Layout:
        tensors = tuple(Tensor(name, value.shape) for name, value in self.model.items())
        return replace(Layout(tensors, questions.update_fields(50), 32, len(self.nodes), 64.0, 50), **changes)

    def header(self, number: int, layout: Layout, **changes: Any) -> Header:
        model, cohort = digest_of(self.proposal().text, self.model), tuple(range(1, len(self.nodes) + 1))
        made = Header(number, Purpose.UPDATE, cohort, model, layout.digest(), layout.size, layout.bits)
        return replace(made, **changes)

    def proposal(self, order: str | None = None, model: Tensors | None = None, kind: str = "train") -> Proposal:
        arrays, config = borrow(model or self.model), ConfigRecord({keys.CONFIG_KEY: order or self.order})
        return Proposal(tuple(self.nodes), kind, RecordDict({"arrays": arrays, "config": config}))

    def work(self, node: int, header: Header, layout: Layout, asked: Proposal | None = None) -> tuple[bytes, np.ndarray]:
        """A site's envelope and masked vector."""
        asked = asked or self.proposal()
        (message,) = asked.masked([node], header.encode(), layout.canonical())
        reply = self.tell(node, asked.kind, message.content)
        (vector,) = all_views(reply.content).values()
        return numbers(reply.content, ConfigRecord)[keys.ENVELOPE], vector

    def uploaded(self, header: Header, layout: Layout) -> tuple[Opening, dict[int, np.ndarray]]:
        """A round whose uploads are closed, and the vectors."""
        assert self.agreed is not None
        state, vectors = opening.begin(self.agreed, header), {}
        for index in header.cohort:
            envelope, vectors[index] = self.work(self.node_of(index), header, layout)
            state = opening.take(state, index, envelope, vector_digest(vectors[index]))
        return opening.close(state), vectors

    def log_of(self, node: int) -> str:
        (log,) = self.folder.parent.glob(f"*/{node - FIRST_NODE:05d}.log")
        return log.read_text()


def four_sites(folder: Path) -> There:
    scenario = parse(SCENARIO, "lied-to.yaml", ())
    sites = sites_of(scenario.data, write_cases(folder / "data"), scenario.seed, scenario.source)
    prepared.lay_out(sites, folder / "sites")
    members.enrol(folder / "sites", [site.name for site in sites], scenario)
    nodes = {FIRST_NODE + i: {"partition-id": i, "sites-folder": str(folder / "sites")} for i, _ in enumerate(sites)}
    ref = replace(engines.CLIENT, gate=f"{members.__name__}:{members.gate_of.__name__}")
    there = There(folder / "sites", scenario, Sites(ref, nodes, {}))
    inquiry = planning.inquiry(scenario).model_dump_json()
    described = [Described.parse(there.describe(inquiry)) for _ in nodes]
    plan = planning.make(scenario, described, Census((80, 80), None))
    there.order, there.model = plan.order(1).model_dump_json(), plan.first_weights()
    return there


Twist = Callable[[Message], Message | None]
"""What a lying center sends instead; None for nothing else."""


def lying(twist: Twist) -> type[InProcessGrid]:
    """A grid on which messages are twisted on their way to the sites."""

    class Lying(InProcessGrid):
        def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
            return super().push_messages([twist(message) or message for message in messages])

    return Lying
