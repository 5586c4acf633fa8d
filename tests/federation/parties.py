"""Peers behind real gates: what leaves them is masked, whatever their apps answer."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict

from fedmed.config.privacy import Privacy
from fedmed.config.scenario import Quorum
from fedmed.federation.epochs import Epochs, Names
from fedmed.federation.journal import Journal
from fedmed.federation.masked import Asking
from fedmed.federation.meeting import Trust, people
from fedmed.federation.patience import Fixed
from fedmed.federation.phase import Member, Phase
from fedmed.federation.sums import Opener
from fedmed.flower.client import answer_fields
from fedmed.flower.guard import Guarded
from fedmed.flower.keys import CENSUS
from fedmed.flower.transport import Transport
from fedmed.identity.authority import DevelopmentAuthority
from fedmed.identity.member import MemberKeys, member_name
from fedmed.identity.requests import certificate_request, read_request
from fedmed.learning.census import put_census
from fedmed.learning.histograms import put_scores
from fedmed.outbound.description import Sizes
from fedmed.outbound.gate import Books, Gate, Rules
from fedmed.outbound.outbox import Outbox
from fedmed.privacy.secagg import member
from fedmed.privacy.secagg.parameters import Policy
from fedmed.store.departures import Departures
from fedmed.store.keystore import MemoryKeystore
from tests.federation.peers import Answers, FakeClock, FakeGrid, Peer, honest

FEDERATION = "peers"
KINDS = ("query.member", "query.protocol", CENSUS, "train", "evaluate")


def app(peer: Peer, message: Message) -> Message:
    """What the peer's app answers, behind its gate."""
    kind = message.metadata.message_type
    if kind == CENSUS:
        return answer_fields(message, put_census(peer.description()["class_counts"], None))
    if kind == "evaluate":
        cases, labels = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]), np.array([0, 1, 1, 0])
        return answer_fields(message, {"loss.sum": 2.0, "loss.weight": 4, **put_scores(cases, labels)})
    return honest(peer, message)[0][1]


@dataclass
class Party:
    """A peer's gate, what its staff was told, and what its app does instead of `app`, by kind of message."""

    gate: Gate
    told: list[str] = field(default_factory=list)
    apps: dict[str, Any] = field(default_factory=dict)

    def act(self, peer: Peer, message: Message) -> Answers:
        def work(asked: Message, _: Context) -> Message:
            return self.apps.get(asked.metadata.message_type, app)(peer, asked)

        return [(0.0, Guarded(work, self.gate)(message, Context(1, 1, {}, RecordDict(), {})))]


@dataclass
class Parties:
    """Peers in a masked federation, and the parts at the center that talk to them."""

    folder: Path
    peers: list[Peer]
    rules: Privacy = field(default_factory=Privacy)
    quorum: Quorum = field(default_factory=Quorum)
    rules_of: Rules = field(default_factory=Rules)
    deadline_s: float = 60.0

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.authority = DevelopmentAuthority.generate(self.clock, bytes(32))
        keys = {peer.name: MemberKeys.generate(random.Random(peer.name).randbytes(32)) for peer in self.peers}
        self.fingerprints = {name: each.fingerprint for name, each in keys.items()}
        self.pins = {each.fingerprint: each.signing_public for each in keys.values()}
        self.parties = {peer.name: self._party(peer, keys[peer.name]) for peer in self.peers}
        for peer in self.peers:
            peer.acts = {**dict.fromkeys(KINDS, self.parties[peer.name].act), **peer.acts}
        self.grid = FakeGrid(self.peers, self.clock)
        self.transport, self.journal = Transport(self.grid, self.clock), Journal(self.folder, self.clock)
        self.members = [Member(peer.name, node, peer.examples) for node, peer in self.grid.peers.items()]
        self.trust = Trust(self.authority.public, Names(FEDERATION, "run"))
        by_node = {each.node: each for each in self.members}
        self.phase = Phase(self.transport, by_node, Fixed(self.deadline_s), self.quorum, self.clock, self.journal)

    def _party(self, peer: Peer, keys: MemberKeys) -> Party:
        name = peer.name
        told: list[str] = []
        certificate = self.authority.issue(read_request(certificate_request(keys, member_name(name))), 30)
        departures = Departures(self.folder / f"{name}.departures.jsonl")
        policy = Policy(FEDERATION, self.pins, modes=("malicious", "hbc"))
        entropy = random.Random(f"{name}/secrets").randbytes
        outbox = Outbox(member.Member(keys, policy, entropy), MemoryKeystore(), departures.head, 1)
        books = Books(departures, "0" * 64, self.clock, told.append, Sizes(peer.examples, 4))

        def dither(what: bytes) -> bytes:
            return random.Random(name.encode() + what).randbytes(24)

        return Party(
            Gate(certificate, outbox, replace(self.rules_of, least_bound=self.rules.value_bound), dither, books), told
        )

    def node(self, name: str) -> int:
        return self.grid.node(name)

    def epochs(self) -> Epochs:
        known = people(self.phase, self.trust)
        return Epochs(self.transport, known, self.rules, self.trust.names, self.phase.patience, self.clock, self.journal)

    def asking(self) -> Asking:
        opener = Opener(self.transport, self.phase.patience, self.journal)
        return Asking(self.epochs(), self.phase, opener, self.rules)
