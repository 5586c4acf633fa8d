from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmed.learning.keeping import EARLIER, NOTHING, after, before, below, under
from fedmed.store.commits import KEEP


def kept(number: int):
    return {"local/a": np.array([number])}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_a_round_begins_from_the_newest_before_it_whatever_was_asked_again(asked):
    held, true = {}, {}
    for number in asked:
        newest = max((each for each in true if each < number), default=None)
        if newest is not None and newest in sorted(each for each in true if each < number)[-EARLIER:]:
            assert before(held, number)["local/a"].tolist() == [newest]
        held = after(held, number, kept(number))
        true = {each for each in true if each < number} | {number}
        true = set(sorted(true)[-EARLIER - 1 :])
        assert {int(name.split("/")[0]) for name in held} == true


@given(st.integers(1, 30))
def test_a_center_may_fall_back_by_all_its_commits(rounds):
    held = {}
    for number in range(1, rounds + 1):
        held = after(held, number, kept(number))
    for back in range(min(KEEP, rounds)):  # the commit that it falls back to is of round `rounds - back`
        assert before(held, rounds - back + 1)["local/a"].tolist() == [rounds - back]


def test_before_the_first_round_nothing_is_kept():
    assert before({}, 1) == {}
    assert before(after({}, 1, kept(1)), 1) == {}
    assert NOTHING.held() == {}
    NOTHING.keep(kept(1))
    assert NOTHING.held() == {}


@given(st.dictionaries(st.text("ab/.", min_size=1), st.integers(), max_size=5))
def test_prefixes_come_off_as_they_went_on(tensors):
    assert below("x/", under("x/", tensors)) == tensors
    assert below("y/", under("x/", tensors)) == {}
