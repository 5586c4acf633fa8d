from __future__ import annotations

from fedmed.center.assembling import Assembly
from fedmed.config.loading import parse
from fedmed.flower.transport import Transport
from tests.federation.peers import FakeClock, FakeGrid, Peer, after, erring

SCENARIO = """
name: tiny
title: Tiny
rounds: 1
data: {reader: csv}
task: {name: tabular}
training: {learning_rate: 0.1, epochs: 1}
"""


def assembly(*peers: Peer, away: int = 0) -> tuple[Assembly, list[str]]:
    clock, told = FakeClock(), []
    grid = FakeGrid(list(peers), clock)
    members = dict(zip(grid.get_node_ids(), (peer.name for peer in peers), strict=True))
    members |= {-number: f"away-{number}" for number in range(1, away + 1)}
    made = Assembly(Transport(grid, clock), parse(SCENARIO, "tiny.yaml", ()), members, len(members), clock, told.append)
    return made, told


def test_who_is_online_and_still_reads_its_cases_is_not_called_offline():
    made, told = assembly(Peer("a"), Peer("b", acts={"query.describe": after(30)}), away=1)
    assert made.gather(lambda: bool(made.ready)) == {}
    assert told == [
        "0 of 3 clinics are ready; offline: away-1; to say what they hold: a, b",
        "2 of 3 clinics are ready; offline: away-1",
    ]


def test_everybody_ready_ends_the_wait_and_who_refuses_is_named_with_its_reason():
    made, told = assembly(Peer("a"), Peer("b", acts={"query.describe": erring}))
    assert made.gather(lambda: len(told) > 1) == {}
    assert told[-1] == "1 of 2 clinics are ready; b: ValueError: the scanner is on fire"
    assert set(assembly(Peer("a"), Peer("b"))[0].gather(lambda: False).values()) == {"a", "b"}
