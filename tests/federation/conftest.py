"""A federation in memory for the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmed.config.scenario import Quorum
from fedmed.config.scenario import Rounds as Rules
from fedmed.federation.gathering import Plain
from fedmed.federation.journal import Journal
from fedmed.federation.patience import Fixed
from fedmed.federation.phase import Member, Phase
from fedmed.federation.rounds import RoundLoop
from fedmed.flower.rule import Rule
from fedmed.flower.strategies import build
from fedmed.flower.transport import Transport
from tests.federation.parties import Parties
from tests.federation.peers import FakeClock, FakeGrid, Peer
from tests.federation.test_journal import lines

MODEL = {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), "seen": np.array(3, np.int64)}


@dataclass
class Federation:
    """Peers, and the parts that talk to them."""

    folder: Path
    peers: list[Peer]
    rules: Rules
    strategy: str = "fedavg"

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.grid = FakeGrid(self.peers, self.clock)
        self.transport = Transport(self.grid, self.clock)
        self.journal = Journal(self.folder, self.clock)
        self.members = [Member(peer.name, node, peer.examples) for node, peer in self.grid.peers.items()]
        self.rule = Rule(build(self.strategy, {}, len(self.peers)), 42)
        phase = self.phase()
        self.loop = RoundLoop(self.rule, self.members, Plain(phase, self.rule, self.rules), phase, self.rules.attempts)

    def phase(self) -> Phase:
        by_node = {member.node: member for member in self.members}
        return Phase(self.transport, by_node, Fixed(self.rules.longest_s), self.rules.quorum, self.clock, self.journal)

    def messages(self, kind: str = "train", model: Any = MODEL) -> list[Any]:
        return self.rule.propose(kind, 1, model, "order", [member.node for member in self.members])

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in lines(self.folder) if line["event"] == name]


@pytest.fixture
def federation(tmp_path):
    def made(*peers: Peer, strategy: str = "fedavg", quorum: Quorum | None = None, **rules: Any) -> Federation:
        settings = {"deadline_s": 60.0, "quorum": quorum or Quorum(), **rules}
        made_here = Federation(tmp_path, list(peers), Rules(**settings), strategy)
        opened.append(made_here.journal)
        return made_here

    opened: list[Journal] = []
    yield made
    for journal in opened:
        journal.close()


@pytest.fixture
def masked(tmp_path):
    def made(*names_or_peers: str | Peer, **settings: Any) -> Parties:
        peers = [each if isinstance(each, Peer) else Peer(each) for each in names_or_peers]
        opened.append(Parties(tmp_path, peers, **settings))
        return opened[-1]

    opened: list[Parties] = []
    yield made
    for each in opened:
        each.journal.close()
