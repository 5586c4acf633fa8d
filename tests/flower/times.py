"""Virtual time as test doubles: a clock that goes on when it is told, and lines and machines in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fedmed.flower.underway import AtOnce, Trip

NEVER = math.inf


class VirtualClock:
    def __init__(self, began: float = 0.0) -> None:
        self.time = began

    def now(self) -> float:
        return self.time

    def unix(self) -> float:
        return 1.8e9 + self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += seconds

    def go_to(self, until: float) -> None:
        self.time = max(self.time, until)


@dataclass(frozen=True)
class Told:
    heard_at: float
    done_at: float
    there_at: float
    lost: str = ""


class OneByOne:
    """What is asked of many at once, asked of each."""

    def all_trips(
        self, nodes: Sequence[int], at: float, down_bytes: int, works: Sequence[float], up_bytes: int
    ) -> list[Trip]:
        return [self.trip(node, at, down_bytes, work, up_bytes) for node, work in zip(nodes, works, strict=True)]

    def those_there(self, nodes: Sequence[int], at: float) -> list[int]:
        return [node for node in nodes if self.is_there(node, at)]


@dataclass
class Lines(OneByOne):
    """Every message takes `byte_s` a byte and `latency` seconds, every case of work `case_s` at its node."""

    latency: float = 0.0
    byte_s: float = 0.0
    case_s: Mapping[int, float] = field(default_factory=dict)
    dark: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    lost: Callable[[int, float], str] = lambda node, at: ""

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Trip:
        begins, ends = self.dark.get(node, (NEVER, NEVER))
        start = ends if begins <= at < ends else at
        if math.isinf(start):
            return Told(NEVER, NEVER, NEVER, "dark")
        heard = start + self.latency + down_bytes * self.byte_s
        done = heard + work * self.case_s.get(node, 0.0)
        there = done + self.latency + up_bytes * self.byte_s
        if begins < there and start < begins:
            return Told(heard, done if done <= begins else NEVER, NEVER, "went dark")
        if why := self.lost(node, at):
            return Told(heard, done, NEVER, why)
        return Told(heard, done, there)

    def is_there(self, node: int, at: float) -> bool:
        begins, ends = self.dark.get(node, (NEVER, NEVER))
        return not begins <= at < ends


class Instant(OneByOne):
    """Nothing takes time."""

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Trip:
        return AtOnce(at)

    def is_there(self, node: int, at: float) -> bool:
        return True
