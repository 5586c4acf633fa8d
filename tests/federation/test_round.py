from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.scenario import Quorum
from fedmed.federation.round import Answered, Failed, Instruction, Refused, Round, Ticked, Verdict, step

SITES = ("berlin", "lyon", "oslo", "pisa", "zug")
DEADLINE = 60.0

names = st.sampled_from((*SITES, "stranger"))
events = st.one_of(
    st.builds(Answered, names),
    st.builds(Failed, names, st.just("died")),
    st.builds(Refused, names, st.just("NaN")),
    st.builds(Ticked, st.sampled_from([0.0, 59.999, 60.0, 61.0]) | st.floats(0, 59)),
)
cohorts = st.dictionaries(st.sampled_from(SITES), st.integers(1, 1000).map(float), min_size=1)
shares = st.integers(1, 10).map(lambda tenths: tenths / 10)
quorums = st.builds(Quorum, sites=shares, data_weight=shares, required=st.lists(names, max_size=2).map(tuple))


def opened(cohort=None, quorum=None) -> Round:
    return Round(1, cohort or dict.fromkeys(SITES, 10.0), DEADLINE, quorum or Quorum())


def played(state: Round, *happened) -> Round:
    for event in happened:
        state, _ = step(state, event)
    return state


@given(cohorts, quorums, st.lists(events, max_size=20))
def test_any_sequence_of_events_keeps_the_rules(cohort, quorum, happened):
    state, taken, said_close = opened(cohort, quorum), [], 0
    for event in happened:
        before = state
        state, said = step(before, event)
        said_close += said.count(Instruction.CLOSE)

        parts = [*state.joined, *state.failed, *state.refused, *state.waiting()]
        assert sorted(parts) == sorted(cohort), "everyone of the cohort is in exactly one part"
        if before.is_closed:
            assert (state, Instruction.TAKE in said) == (before, False), "closed stays closed"
        if Instruction.TAKE in said:
            assert isinstance(event, Answered)
            taken.append(event.site)
        elif isinstance(event, Answered | Refused):
            assert Instruction.DROP in said, "what is not taken is dropped, never left open"
        if isinstance(event, Ticked):
            assert (state.joined, state.failed, state.refused) == (before.joined, before.failed, before.refused)
            assert state.is_closed == (before.is_closed or event.now >= DEADLINE)
        elif not before.is_closed:
            assert state.is_closed == (not state.waiting()), "neither earlier nor later"
    assert list(state.joined) == taken, "each site counts once, and who joined was taken"
    assert said_close == state.is_closed


@given(cohorts, quorums, st.lists(events, max_size=20))
def test_verdict_is_the_quorum_counted_in_fractions(cohort, quorum, happened):
    state = played(opened(cohort, quorum), *happened)
    if not state.is_closed:
        assert state.verdict() is Verdict.OPEN
        return
    joined = set(state.joined)
    by_sites = Fraction(len(joined), len(cohort)) >= Fraction(str(quorum.sites))
    weight = sum((Fraction(cohort[site]) for site in joined), Fraction(0)) / sum(map(Fraction, cohort.values()))
    by_name = all(site in joined for site in quorum.required if site in cohort)
    reached = bool(joined) and by_sites and weight >= Fraction(str(quorum.data_weight)) and by_name
    wanted = Verdict.COMPLETE if joined == set(cohort) else Verdict.QUORUM if reached else Verdict.SHORT
    assert state.verdict() is wanted
    assert (state.verdict() is Verdict.SHORT) == (bool(state.shortfalls()) and joined != set(cohort))


@given(cohorts, st.lists(events, max_size=20))
def test_whoever_did_not_join_is_named_with_a_reason(cohort, happened):
    state = played(opened(cohort), *happened, Ticked(DEADLINE))
    absent = {**state.missing(), **state.refused}
    assert sorted([*absent, *state.joined]) == sorted(cohort)
    assert all(absent.values())


@given(cohorts, st.lists(events, max_size=8), st.permutations(range(8)))
def test_the_order_of_answers_changes_nothing_but_their_order(cohort, happened, order):
    first_words = {}
    for event in happened:
        if not isinstance(event, Ticked):
            first_words.setdefault(event.site, event)
    once = list(first_words.values())
    shuffled = [once[i] for i in order if i < len(once)]
    one, other = played(opened(cohort), *once), played(opened(cohort), *shuffled)
    assert sorted(one.joined) == sorted(other.joined)
    assert (one.failed, one.refused, one.verdict()) == (other.failed, other.refused, other.verdict())


def test_a_state_is_never_changed_in_place():
    first = opened()
    second, _ = step(first, Failed("oslo", "died"))
    step(second, Refused("lyon", "NaN"))
    assert (first.joined, dict(first.failed), dict(first.refused)) == ((), {}, {})
    assert dict(second.refused) == {}


def test_a_second_answer_is_dropped():
    state, said = step(opened(), Answered("oslo"))
    assert said == [Instruction.TAKE]
    state, said = step(state, Answered("oslo"))
    assert (state.joined, said) == (("oslo",), [Instruction.DROP])


@pytest.mark.parametrize("first", [Answered("oslo"), Failed("oslo", "died"), Refused("oslo", "NaN")])
@pytest.mark.parametrize("second", [Answered("oslo"), Failed("oslo", "again"), Refused("oslo", "again")])
def test_the_first_word_of_a_site_stands(first, second):
    once = played(opened(), first)
    assert step(once, second) == (once, [Instruction.DROP])


def test_a_stranger_is_dropped():
    state = opened()
    assert step(state, Answered("stranger")) == (state, [Instruction.DROP])


def test_the_last_answer_closes():
    state = played(opened(), *map(Answered, SITES[:-1]))
    state, said = step(state, Answered(SITES[-1]))
    assert said == [Instruction.TAKE, Instruction.CLOSE]
    assert state.verdict() is Verdict.COMPLETE


def test_a_failed_last_site_closes_too():
    state = played(opened(), *map(Answered, SITES[:-1]))
    state, said = step(state, Failed(SITES[-1], "died"))
    assert Instruction.CLOSE in said
    assert state.verdict() is Verdict.QUORUM
    assert state.missing() == {"zug": "died"}


def test_the_deadline_closes_and_not_a_moment_earlier():
    state = played(opened(), Answered("oslo"))
    assert step(state, Ticked(59.999)) == (state, [])
    closed, said = step(state, Ticked(60.0))
    assert said == [Instruction.CLOSE]
    assert set(closed.missing()) == set(SITES) - {"oslo"}
    assert closed.missing()["lyon"] == "no answer in time"


def test_quorum_by_sites():
    quorum = Quorum(sites=0.6, data_weight=0.01)
    assert played(opened(quorum=quorum), *map(Answered, SITES[:3]), Ticked(60)).verdict() is Verdict.QUORUM
    short = played(opened(quorum=quorum), *map(Answered, SITES[:2]), Ticked(60))
    assert short.verdict() is Verdict.SHORT
    assert short.shortfalls() == ["2 of 5 sites joined, 60% are needed"]


def test_quorum_by_data_weight_keeps_the_large_slow_site():
    cohort = {"berlin": 10.0, "lyon": 10.0, "oslo": 80.0}
    short = played(opened(cohort, Quorum(sites=0.5, data_weight=0.5)), Answered("berlin"), Answered("lyon"), Ticked(60))
    assert short.verdict() is Verdict.SHORT
    assert short.shortfalls() == ["20% of the data weight joined, 50% is needed"]


def test_exactly_the_quorum_is_enough():
    quorum = Quorum(sites=0.6, data_weight=0.6)
    assert played(opened(quorum=quorum), *map(Answered, SITES[:3]), Ticked(60)).verdict() is Verdict.QUORUM
    uneven = {"berlin": 59.0, "lyon": 1.0, "oslo": 40.0}
    assert played(opened(uneven, quorum), Answered("berlin"), Answered("lyon"), Ticked(60)).verdict() is Verdict.QUORUM


def test_quorum_by_name():
    quorum = Quorum(sites=0.1, data_weight=0.1, required=("zug", "elsewhere"))
    short = played(opened(quorum=quorum), *map(Answered, SITES[:4]), Ticked(60))
    assert (short.verdict(), short.shortfalls()) == (Verdict.SHORT, ["required and absent: zug"])
    assert played(opened(quorum=quorum), Answered("zug"), Ticked(60)).verdict() is Verdict.QUORUM


def test_nobody_is_never_a_quorum():
    state = played(opened(quorum=Quorum(sites=0.01, data_weight=0.01)), Ticked(60))
    assert state.verdict() is Verdict.SHORT
    assert len(state.shortfalls()) == 2
