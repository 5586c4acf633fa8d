from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.federation.grown import Grown, Names


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcdefgh"), st.integers())))
def test_every_state_stays_what_it_was_whatever_follows_from_it(grown):
    states = [(Grown(), {})]
    for source, name, value in grown:
        before, plain = states[source % len(states)]
        if name not in plain:
            states.append((before.also(name, value), {**plain, name: value}))
    for state, plain in states:
        assert list(state.items()) == list(plain.items())
        assert (state == plain, len(state)) == (True, len(plain))
        assert [name in state for name in "abcdefgh"] == [name in plain for name in "abcdefgh"]
        for name in set("abcdefgh") - plain.keys():
            with pytest.raises(KeyError):
                state[name]


def test_what_follows_first_shares_its_memory_and_what_follows_second_does_not():
    first = Grown({"oslo": 1})
    assert first.also("zug", 2)._shared is first._shared
    assert first.also("lyon", 3)._shared is not first._shared


@given(st.lists(st.text(max_size=3), unique=True))
def test_names_are_as_a_tuple(names):
    state = Names()
    for name in names:
        state = state.also(name)
    assert state == tuple(names) == state
    assert (list(state), len(state), state[1:], repr(state)) == (names, len(names), tuple(names[1:]), repr(tuple(names)))
    assert (state == Names(names), state == list(names), "absent" in state) == (True, False, False)
    if names:
        assert (state[0], state[-1]) == (names[0], names[-1])
