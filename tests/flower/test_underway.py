from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from fedmed.flower.underway import Errand, Underway
from tests.flower.times import NEVER, Lines, Told

SECONDS = st.floats(0, 100).map(lambda seconds: round(seconds, 1))


class Drawn(Lines):
    """Trips of numbers that hang on who, when and how much, and on nothing else."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Told:
        draw = random.Random(f"{self.seed} {node} {at}")
        heard = at + draw.choice((0.0, 1.0, draw.random()))
        done = heard + draw.choice((0.0, 1.0, 5.0 * draw.random()))
        fate = draw.random()
        if fate < 0.1:
            return Told(heard, NEVER, NEVER, "crashed")
        if fate < 0.2:
            return Told(heard, done, NEVER, "cut")
        if fate < 0.3 and up_bytes > 5:
            return Told(heard, done, NEVER, "too much")
        return Told(heard, done, done + draw.choice((0.0, 1.0)) + 0.1 * up_bytes)

    def is_there(self, node: int, at: float) -> bool:
        return random.Random(f"{self.seed} there {node} {at}").random() < 0.8


def course(trips: Lines, sent: list[tuple[int, float, int]], finishing: int) -> list[tuple[float, int]]:
    """When which errand's answer is there, with processes that end in an order of their own."""
    really, underway, came = random.Random(finishing), Underway(trips), list[tuple[float, int]]()
    given, ups = list[Errand](), {number: up for number, (_, _, up) in enumerate(sent)}
    for number, (node, at, _) in enumerate(sent):
        came += advance(underway, at, given, ups, really)
        underway.send(Errand(number, f"v{number}", node, "train", None, at, 8, 1.0))
    return came + advance(underway, 1e6, given, ups, really)


def advance(
    underway: Underway, until: float, given: list[Errand], ups: dict[int, int], really: random.Random
) -> list[tuple[float, int]]:
    came = []
    while (first := underway.first()) is not None and first.earliest <= until:
        if first.is_known:
            first.is_over = True
            came.append((first.earliest, first.number))
            continue
        given += underway.to_give(first.earliest)
        while not first.is_known:
            done = given.pop(really.randrange(len(given)))
            if done.is_lost:
                continue
            if any(other.node == done.node and other.number < done.number and not other.is_known for other in given):
                given.append(done)  # a process answers a node's messages in their order
                continue
            underway.answered(done, ups[done.number])
    return came


SENT = st.lists(st.tuples(st.integers(2, 5), SECONDS, st.integers(0, 10)), max_size=12).map(
    lambda sent: sorted(sent, key=lambda each: each[1])
)


@given(st.integers(0, 1000), SENT, st.integers(0, 3), st.integers(0, 3))
def test_answers_come_in_their_order_whatever_is_done_first(seed, sent, one, another):
    came = course(Drawn(seed), sent, one)
    assert came == course(Drawn(seed), sent, another)
    assert came == sorted(came)


@given(st.integers(0, 1000), SENT)
def test_a_node_takes_one_message_at_a_time_and_each_answer_comes_once(seed, sent):
    trips, free, expected = Drawn(seed), dict[int, float](), []
    for number, (node, at, up) in enumerate(sent):
        start = max(at, free.get(node, -math.inf))
        least, whole = trips.trip(node, start, 8, 1.0, 0), trips.trip(node, start, 8, 1.0, up)
        there = max(whole.there_at, least.there_at)
        if math.isfinite(there):
            expected.append((there, number))
        known = [start, whole.heard_at, whole.done_at, least.there_at, there]
        free[node] = max(moment for moment in known if math.isfinite(moment))
    assert course(trips, sent, 0) == sorted(expected)


def errand(number: int, node: int = 2, at: float = 0.0) -> Errand:
    return Errand(number, f"v{number}", node, "train", None, at, 8, 1.0)


def test_what_waits_for_its_node_is_given_when_that_is_free():
    underway = Underway(Lines(1.0, 0.0, {2: 10.0}))
    first, second = errand(1), errand(2, at=1.0)
    assert underway.send(first) == [first]
    assert underway.send(second) == []
    assert underway.to_give(50.0) == [first]
    assert underway.answered(first, 4) == [second]
    assert (first.earliest, second.start_at, second.earliest) == (12.0, 12.0, 24.0)
    assert underway.to_give(11.0) == []
    assert underway.to_give(12.0) == [second]


def test_only_what_no_node_has_begun_can_be_withdrawn():
    underway = Underway(Lines(1.0, 0.0, {2: 10.0}, dark={3: (0.0, 100.0)}))
    begun, behind, dark, next_one = errand(1), errand(2), errand(3, 3), errand(4, 3)
    for each in (begun, behind, dark, next_one):
        underway.send(each)
    assert underway.withdraw(begun, 0.0) is None
    assert underway.withdraw(behind, 5.0) == []
    assert underway.withdraw(dark, 101.0) is None
    assert underway.withdraw(dark, 50.0) == [next_one]
    assert underway.to_give(1000.0) == [begun, next_one]


def test_work_is_given_only_where_it_is_ever_done():
    for dark_from, numbers in ((0.5, []), (1.5, [1])):  # heard and done at 1, back at 2
        underway = Underway(Lines(1.0, dark={2: (dark_from, NEVER)}))
        [lost] = underway.send(errand(1))
        assert lost.is_lost
        assert lost.trip is not None
        assert lost.trip.lost == "went dark"
        assert underway.first() is None
        assert [each.number for each in underway.to_give(1e9)] == numbers
