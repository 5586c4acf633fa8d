from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ReleaseRefused
from fedmed.releases.agreeing import Anchor, agreed, may_install, require_newer
from fedmed.releases.channel import Channel, State
from fedmed.releases.trusting import View
from tests.releases.test_channel import new

STATES = st.sampled_from(list(State))


def view(*states: State | None, version: int = 1, root: int = 1) -> View:
    said = [replace(new(number), state=state) for number, state in enumerate(states, 1) if state is not None]
    return View(Channel(tuple(said)), root, version, 0.0)


@given(st.lists(st.tuples(STATES, st.none() | STATES), max_size=6))
def test_neither_alone_moves_anything(pairs):
    found = agreed(view(*(one for one, _ in pairs)), view(*(two for _, two in pairs)))
    both = dict(enumerate(pairs, 1))
    assert found.standing == {number for number, pair in both.items() if pair == (State.ACTIVE, State.ACTIVE)}
    assert (found.active.counter if found.active else 0) == max(found.standing, default=0)
    if found.shadow is not None:
        assert set(both[found.shadow.counter]) <= {State.ACTIVE, State.SHADOW}
        assert found.shadow.counter > max(found.standing, default=0)
    assert found.ended == {number for number, pair in both.items() if State.ROLLED_BACK in pair}
    assert not found.ended & found.standing


def test_of_two_manifests_under_one_counter_neither_counts():
    theirs = view(State.ACTIVE)
    other = replace(theirs.channel.releases[0], manifest="f" * 64)
    longer = replace(theirs.channel.releases[0], length=1)
    for one in (other, longer):
        found = agreed(theirs, replace(theirs, channel=Channel((one,))))
        assert (found.active, found.standing, found.unsigned) == (None, frozenset(), {1})


def test_what_the_clinic_has_not_looked_at_yet():
    assert agreed(view(State.ACTIVE, State.CANDIDATE, State.SHADOW), view(State.ACTIVE)).unsigned == {3}


@pytest.mark.parametrize(("seen", "named"), [((1, 5), "federation"), ((2, 1), "federation")])
def test_an_older_channel_is_a_replay(seen, named):
    with pytest.raises(ReleaseRefused, match=f"the {named}'s channel.*replay"):
        require_newer(Anchor(3, seen, (1, 1)), view(version=4), view(version=9))
    with pytest.raises(ReleaseRefused, match="the clinic's channel"):
        require_newer(Anchor(3, (1, 1), seen), view(version=9), view(version=4))


def test_a_newer_root_begins_the_versions_anew():
    assert require_newer(Anchor(3, (1, 10**9), (1, 1)), view(version=2, root=2), view()) == Anchor(3, (2, 2), (1, 1))


def test_below_the_anchor_only_where_it_was_ended_openly():
    standing = agreed(view(State.ACTIVE, State.ACTIVE), view(State.ACTIVE, State.ACTIVE))
    ended = agreed(view(State.ACTIVE, State.ROLLED_BACK), view(State.ACTIVE, State.ACTIVE))
    assert may_install(Anchor(2), standing, 2)
    assert not may_install(Anchor(2), standing, 1)
    assert may_install(Anchor(2), ended, 1)
    assert not may_install(Anchor(3), ended, 1)
