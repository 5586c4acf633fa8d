from __future__ import annotations

from dataclasses import dataclass, field

from fedmed.center.assembling import AGAIN_S, PATIENCE_S, Assembly
from fedmed.config.catalogue import find
from fedmed.config.loading import load, parse
from fedmed.flower.transport import Reply, Transport
from tests.center.federation import Brisk
from tests.federation.peers import FakeClock, FakeGrid, Peer, after, erring

NAMES = {1: "east", 2: "north", 3: "west"}


class Ticking(Brisk):
    at = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@dataclass
class Line:
    """Clinics that come, and say no or yes."""

    clock: Ticking
    online: dict[int, float]
    refuses_until: dict[int, float] = field(default_factory=dict)
    asked: list[tuple[float, int]] = field(default_factory=list)

    def nodes(self) -> list[int]:
        return [node for node, since in self.online.items() if since <= self.clock.at]

    def ask(self, kind, nodes, text, timeout_s):
        self.asked += [(self.clock.at, node) for node in nodes]
        return {
            node: Reply(
                node, "", error="NotApproved: ask its staff" if self.clock.at < self.refuses_until.get(node, 0) else None
            )
            for node in nodes
        }


def gathered(line: Line, least: int, stops_at: float = 1e9):
    said: list[str] = []
    assembly = Assembly(line, load(find("demo")), NAMES, least, line.clock, said.append)  # type: ignore[arg-type]
    return assembly.gather(lambda: line.clock.at >= stops_at), said


def test_everybody_is_waited_for_and_named():
    clock = Ticking()
    found, said = gathered(Line(clock, {1: 0, 2: 5, 3: 20}), 3)
    assert found == NAMES
    assert 20 <= clock.at < 22
    assert said[1] == "1 of 3 clinics are ready; offline: north, west"


def test_whoever_says_no_is_asked_again_and_named_with_the_reason():
    clock = Ticking()
    line = Line(clock, dict.fromkeys(NAMES, 0.0), {2: 3 * AGAIN_S})
    found, said = gathered(line, 3)
    assert found == NAMES
    assert "north: NotApproved: ask its staff" in said[1]
    assert len([node for _, node in line.asked if node == 2]) <= 5


def test_the_least_number_begins_once_the_others_had_time():
    clock = Ticking()
    found, _ = gathered(Line(clock, {1: 0, 2: 0}), 2)
    assert set(found) == {1, 2}
    assert PATIENCE_S <= clock.at < PATIENCE_S + 2


def test_one_that_goes_again_does_not_count_and_a_stop_ends_it():
    clock = Ticking()
    found, _ = gathered(Line(clock, {1: 0}), 2, stops_at=30)
    assert found == {}


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
