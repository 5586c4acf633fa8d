from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import CourseLost
from fedmed.federation.inturn import InTurn
from fedmed.federation.mean import WeightedMean
from fedmed.flower.transport import Reply

SITES = ["b", "d", "a", "c"]  # as a strategy drew them
WEIGHTS = dict(zip(SITES, (10.0, 250.0, 33.0, 1.0), strict=True))
LIKE = {"w": np.zeros(40, np.float32), "seen": np.zeros(1, np.int64)}


def updates(seed: int) -> dict[str, dict[str, Any]]:
    random = np.random.default_rng(seed)
    return {
        site: {"w": (random.normal(size=40) * 10.0 ** random.integers(-6, 6, 40)).astype(np.float32), "seen": np.array([3])}
        for site in SITES
    }


def summed(seed: int, came: tuple[str, ...]) -> tuple[bytes, list[str]]:
    """The mean's bytes, and whose answers were read again."""
    answers, read = updates(seed), list[str]()

    def again(message_id: str) -> dict[str, Any]:
        read.append(message_id)
        return answers[message_id]

    mean = InTurn(LIKE, SITES, again)
    for site in came:
        lent = {name: value.copy() for name, value in answers[site].items()}
        mean.add(site, Reply(1, site, tensors=lent), WEIGHTS[site])
        for value in lent.values():
            value.fill(0)  # what was lent out is used for something else
    return mean.result()["w"].tobytes(), read


def one_after_the_other(seed: int, sites: list[str]) -> bytes:
    mean, answers = WeightedMean(LIKE), updates(seed)
    for site in sites:
        mean.add(0, answers[site], WEIGHTS[site])
    return mean.result()["w"].tobytes()


@given(st.integers(0, 2**32 - 1), st.permutations(SITES), st.integers(1, 4))
def test_whoever_comes_first_the_mean_is_that_of_the_order_they_were_asked_in(seed, came, count):
    there = came[:count]
    assert summed(seed, tuple(there))[0] == one_after_the_other(seed, [site for site in SITES if site in there])


def test_orders_would_matter_else():
    assert len({one_after_the_other(1, list(order)) for order in permutations(SITES)}) > 1


@pytest.mark.parametrize(
    ("came", "read"), [(SITES, []), (["b", "a", "d", "c"], ["a", "c"]), (["d", "a", "c", "b"], ["d", "a", "c"])]
)
def test_only_who_came_before_its_turn_is_read_again(came, read):
    assert summed(1, tuple(came))[1] == read


def test_an_answer_that_is_gone_ends_the_course():
    def gone(message_id: str) -> Any:
        raise CourseLost("gone")

    mean = InTurn(LIKE, SITES, gone)
    mean.add("c", Reply(1, "m", tensors=updates(1)["c"]), 1.0)
    with pytest.raises(CourseLost):
        mean.result()


def test_where_answers_are_lent_once_each_lane_has_its_own_sum():
    mean, answers, expected = InTurn(LIKE, SITES, None), updates(1), WeightedMean(LIKE)
    for lane, site in ((1, "c"), (0, "a"), (1, "b"), (0, "d")):
        mean.add(site, Reply(1, site, tensors=answers[site], lane=lane), WEIGHTS[site])
        expected.add(lane, answers[site], WEIGHTS[site])
    assert mean.result()["w"].tobytes() == expected.result()["w"].tobytes()
