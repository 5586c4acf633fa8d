from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.secagg.attacks import Refused
from fedmed.privacy.secagg.graph import COMPLETE, Design, Graph, design, drawn


@pytest.mark.parametrize("members", [3, 10, COMPLETE])
def test_small_rosters_are_complete(members):
    graph = drawn(design(members, 1, 1, 2), b"any")
    assert all(len(graph.neighbours(each)) == members - 1 for each in graph.order)
    assert graph.holders(2) == tuple(range(1, members + 1))


@pytest.mark.parametrize(("members", "colluders", "dropouts"), [(200, 20, 20), (1000, 100, 100)])
def test_a_ring_is_even(members, colluders, dropouts):
    chosen = design(members, colluders, dropouts, 0)
    graph = drawn(chosen, b"seed")
    assert sorted(graph.order) == list(range(1, members + 1))
    for member in (1, members // 2, members):
        assert len(graph.neighbours(member)) == chosen.degree
        assert all(member in graph.neighbours(other) for other in graph.neighbours(member))


def test_colluders_rarely_fill_a_window_or_hold_a_secret():
    """The tails of `design`, against counts in drawn rings: far from its bounds in 200 draws."""
    chosen = design(200, 20, 20, 0)
    for seed in range(200):
        graph = drawn(chosen, seed.to_bytes(4, "big"))
        bad = set(range(1, 21))
        half = chosen.degree // 2
        ring = [member in bad for member in graph.order] * 2
        assert max(sum(ring[at : at + half]) for at in range(200)) < chosen.window
        assert max(len(bad & set(graph.holders(each))) for each in graph.order) < chosen.threshold


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_windows_keep_the_honest_together(data):
    """Each window has more survivors than colluders in any window: then the honest survivors are one piece."""
    members, half = data.draw(st.integers(9, 24)), data.draw(st.integers(2, 4))
    order = tuple(data.draw(st.permutations(range(1, members + 1))))
    survivors = set(data.draw(st.lists(st.sampled_from(order), min_size=3, unique=True)))
    bad = set(data.draw(st.lists(st.sampled_from(order), max_size=members // 3, unique=True)))
    most = max(sum(order[(at + step) % members] in bad for step in range(half)) for at in range(members))
    graph = Graph(Design(members, 2 * half, 2, most + 1), order)
    honest = survivors - bad
    if graph.weakest_window(sorted(survivors)) < graph.design.window or not honest:
        return
    reached, waiting = set(), [next(iter(honest))]
    while waiting:
        member = waiting.pop()
        reached.add(member)
        waiting += [other for other in graph.neighbours(member) if other in honest - reached]
    assert reached == honest


def test_a_window_too_few_is_what_cuts():
    """The test of the test: of two wiped windows each side is a piece of its own."""
    order = tuple(range(1, 13))
    graph = Graph(Design(12, 4, 2, 1), order)
    survivors = [1, 2, 3, 4, 7, 8, 9, 10]  # 5, 6 and 11, 12 are gone
    assert graph.weakest_window(survivors) == 0
    assert set(graph.neighbours(4)) & set(survivors) == {2, 3}


def test_the_draw_is_even():
    counts = Counter(drawn(Design(4, 2, 1, 1), random.Random(seed).randbytes(8)).order for seed in range(4800))
    assert len(counts) == 24
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 64  # chi-square, 23 degrees: 1e-5


def test_a_seed_draws_one_order():
    chosen = Design(6, 2, 1, 1)
    assert drawn(chosen, b"seed").order == drawn(chosen, b"seed").order
    assert drawn(chosen, b"seed").order != drawn(chosen, b"other").order


def test_too_much_to_reckon_with_is_refused():
    with pytest.raises(Refused, match="allow for fewer"):
        design(2000, 600, 600, 0)
