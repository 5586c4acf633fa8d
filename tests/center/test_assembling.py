from __future__ import annotations

from dataclasses import dataclass, field

from fedmed.center.assembling import AGAIN_S, PATIENCE_S, Assembly
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.flower.transport import Reply
from tests.center.federation import Brisk

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
    assert said[0] == "1 of 3 clinics are ready; offline: north, west"


def test_whoever_says_no_is_asked_again_and_named_with_the_reason():
    clock = Ticking()
    line = Line(clock, dict.fromkeys(NAMES, 0.0), {2: 3 * AGAIN_S})
    found, said = gathered(line, 3)
    assert found == NAMES
    assert "north: NotApproved: ask its staff" in said[0]
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
