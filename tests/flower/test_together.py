from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedmed.flower.together import SIZES, Together
from fedmed.flower.underway import Errand
from tests.flower.times import Lines


class Counting(Lines):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(1.0, 0.01, {2: 1.0, 3: 2.0, 4: 3.0}, {4: (5.0, 9.0)})
        self.one_by_one, self.at_once = 0, 0

    def trip(self, node, at, down_bytes, work, up_bytes):
        self.one_by_one += 1
        return super().trip(node, at, down_bytes, work, up_bytes)

    def all_trips(self, nodes, at, down_bytes, works, up_bytes):
        self.at_once += 1
        return [Lines.trip(self, node, at, down_bytes, work, up_bytes) for node, work in zip(nodes, works, strict=True)]


def sent(at: float = 0.0, nodes: tuple[int, ...] = (2, 3, 4)) -> list[Errand]:
    return [Errand(number, f"v{number}", node, "train", None, at, 8, float(node)) for number, node in enumerate(nodes)]


def test_answers_of_one_size_are_one_question_for_all_nodes():
    trips = Counting()
    together = Together(trips)
    together.sent(sent())
    for up in (0, 100):
        for node in (2, 3, 4):
            assert together.trip(node, 0.0, 8, float(node), up) == Lines.trip(trips, node, 0.0, 8, float(node), up)
    assert (trips.at_once, trips.one_by_one) == (2, 0)


def test_what_was_not_sent_together_is_asked_one_by_one():
    trips = Counting()
    together = Together(trips)
    together.sent(sent(nodes=(2, 3)))
    together.trip(4, 0.0, 8, 4.0, 0)
    together.trip(2, 1.0, 8, 2.0, 0)
    together.trip(2, 0.0, 9, 2.0, 0)
    assert (trips.at_once, trips.one_by_one) == (0, 3)


def test_of_many_sizes_the_first_ones_are_asked_for_all():
    trips = Counting()
    together = Together(trips)
    together.sent(sent())
    for up in range(10):
        together.trip(2, 0.0, 8, 2.0, up)
    assert (trips.at_once, trips.one_by_one) == (SIZES, 10 - SIZES)


@given(st.integers(2, 4), st.sampled_from([0.0, 3.0, 6.0]), st.integers(0, 50), st.booleans())
def test_an_answer_is_the_same_however_it_was_asked(node, at, up, is_sent):
    trips = Counting()
    together = Together(trips)
    if is_sent:
        together.sent(sent(at))
    assert together.trip(node, at, 8, float(node), up) == Lines.trip(trips, node, at, 8, float(node), up)
    assert together.is_there(node, at) == trips.is_there(node, at)
