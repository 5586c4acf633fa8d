from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError, ReleaseRefused
from fedmed.releases.channel import (
    MOST_RELEASES,
    Channel,
    Release,
    State,
    allowed,
    candidate,
    custom,
    path_of,
    promoted,
    proposed,
    read_release,
    rolled_back,
)
from fedmed.releases.manifest import File, Manifest


def new(counter: int) -> Release:
    return candidate(Manifest(counter, "thorax", "1.0", {"model": File(3, "a" * 64)}), 100.0)


def channel(*states: State) -> Channel:
    made = Channel()
    for number, state in enumerate(states, 1):
        made = proposed(made, new(number))
        for _ in range(state.rank - State.CANDIDATE.rank):
            made = promoted(made, number, 200.0)
        if state is State.ROLLED_BACK:
            made = rolled_back(made, number, "wrong", 300.0)
    return made


def test_step_by_step():
    made = channel(State.ACTIVE, State.SHADOW)
    assert [one.state for one in made.releases] == [State.ACTIVE, State.SHADOW]
    assert made.active == made.find(1)
    assert made.next_counter == 3
    made = promoted(made, 2, 400.0)
    assert (made.active.counter, made.active.unix) == (2, 400)
    made = rolled_back(made, 2, " wrong on thin slices ", 500.0)
    assert (made.active.counter, made.find(2).why) == (1, "wrong on thin slices")


@pytest.mark.parametrize(
    ("made", "step", "why"),
    [
        (channel(State.ACTIVE), lambda made: promoted(made, 1, 0), "goes no further"),
        (channel(State.ROLLED_BACK), lambda made: promoted(made, 1, 0), "goes no further"),
        (channel(State.SHADOW, State.ACTIVE), lambda made: promoted(made, 1, 0), "is older than 2"),
        (channel(State.ROLLED_BACK), lambda made: rolled_back(made, 1, "again", 0), "already"),
        (channel(State.ACTIVE), lambda made: rolled_back(made, 1, "x" * 201, 0), "1 to 200"),
        (channel(State.ACTIVE), lambda made: promoted(made, 9, 0), "there are: 1"),
        (Channel(), lambda made: promoted(made, 1, 0), "none yet"),
        (channel(State.ACTIVE), lambda made: proposed(made, new(1)), "the next one is 2"),
    ],
)
def test_what_no_channel_does(made, step, why):
    with pytest.raises(ConfigError, match=why):
        step(made)


@given(st.lists(st.sampled_from(list(State)), max_size=60))
def test_counters_only_go_up_and_what_may_be_returned_to_stays(states):
    made = channel(*states)
    counters = [one.counter for one in made.releases]
    assert counters == sorted(set(counters))
    assert made.next_counter == len(states) + 1
    assert len(made.releases) <= MOST_RELEASES
    active = [number for number, state in enumerate(states, 1) if state is State.ACTIVE]
    assert set(active[-2:]) <= set(counters)
    assert (made.active.counter if made.active else None) == (active[-1] if active else None)


def test_a_clinics_word_replaces_the_one_before():
    theirs = channel(State.ACTIVE, State.ACTIVE)
    mine = allowed(allowed(Channel(), theirs.find(2), State.ACTIVE, "", 1.0), theirs.find(1), State.SHADOW, "", 2.0)
    assert [(one.counter, one.state) for one in mine.releases] == [(1, State.SHADOW), (2, State.ACTIVE)]
    mine = allowed(mine, theirs.find(2), State.ROLLED_BACK, "no", 3.0)
    assert [(one.counter, one.state) for one in mine.releases] == [(1, State.SHADOW), (2, State.ROLLED_BACK)]


def test_a_line_of_metadata_and_back():
    one = channel(State.SHADOW).find(1)
    assert read_release(one.path, one.length, one.manifest, custom(one)) == one


@pytest.mark.parametrize(
    "change",
    [
        {"state": "live"}, {"unix": "1"}, {"unix": True}, {"name": "../x"}, {"name": None}, {"why": "x" * 300}, {"why": 3},
        {"package": "a"}, {"release": ""},
    ],
)  # fmt: skip
def test_a_signed_line_that_cannot_be(change):
    one = channel(State.SHADOW).find(1)
    with pytest.raises(ReleaseRefused, match="tell who signs it"):
        read_release(one.path, one.length, one.manifest, {**custom(one), **change})


@pytest.mark.parametrize(
    "path", ["", "1.json", "00000000.json", "0000000x.json", "../00000001.json", "00000001.json/x", path_of(123) + " "]
)
def test_a_path_that_is_none(path):
    one = channel(State.SHADOW).find(1)
    with pytest.raises(ReleaseRefused):
        read_release(path, one.length, one.manifest, custom(one))
