from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.secagg import opening
from fedmed.tiers.round import (
    Ask,
    DeviceRound,
    Event,
    Fold,
    GiveUp,
    Instruction,
    Lost,
    OrderCame,
    Phase,
    Read,
    Rules,
    Said,
    Take,
    Ticked,
    Trained,
    Updated,
    step,
)
from tests.privacy.secagg.federation import federation

RULES = Rules(wait_s=60, opening_s=5)


def plain(*devices: str, least: int = 1) -> DeviceRound:
    return DeviceRound(Rules(60, 60, 5, least), devices)


def masked(count: int = 4) -> DeviceRound:
    there = federation(count)
    index = {f"d{place}": place for place in there.clinics}
    return DeviceRound(RULES, tuple(index), index, opening.begin(there.agreed, there.header()))


def play(state: DeviceRound, *events: Event) -> tuple[DeviceRound, list[Instruction]]:
    said: list[Instruction] = []
    for event in events:
        state, more = step(state, event)
        said += more
    return state, said


def test_the_order_is_passed_on_with_a_deadline():
    state, said = play(plain("a", "b"), OrderCame(b"task", 100.0))
    assert said == [Ask(("a", "b"), b"task", 160.0)]
    assert state.phase is Phase.UPDATES
    assert play(state, OrderCame(b"another", 101.0)) == (state, [])


def test_all_have_answered_and_it_is_folded():
    state, said = play(plain("a", "b"), OrderCame(b"", 0.0), Updated("b", 1.0), Updated("a", 2.0))
    assert said[1:] == [Take("b"), Take("a"), Fold()]
    assert (state.joined, state.failed, state.phase) == (("b", "a"), {}, Phase.OVER)


def test_an_answer_counts_once_and_only_from_whom_it_is_waited_for():
    state, said = play(plain("a", "b"), OrderCame(b"", 0.0), Updated("a", 1.0), Updated("a", 2.0), Updated("c", 3.0))
    assert said[1:] == [Take("a")]
    assert state.waiting == {"b"}


def test_who_is_missing_at_the_deadline_is_named():
    state, said = play(
        plain("a", "b", "c"), OrderCame(b"", 0.0), Updated("a", 1.0), Lost("b", "it ended", 2.0), Ticked(59.9)
    )
    assert said[1:] == [Take("a")]
    state, said = play(state, Ticked(60.0), Updated("c", 61.0))
    assert said == [Fold()]
    assert state.failed == {"b": "it ended", "c": "no updates within 60 s"}


def test_once_the_clinic_has_trained_devices_have_their_grace_and_no_more():
    state, _ = play(replace(plain("a", "b"), rules=Rules(600, 30)), OrderCame(b"", 0.0), Updated("a", 1.0))
    state, said = play(state, Trained(100.0), Ticked(129.0))
    assert said == []
    state, said = play(state, Ticked(130.0))
    assert said == [Fold()]
    assert state.failed == {"b": "no updates within 130 s"}
    late, _ = play(replace(plain("a"), rules=Rules(60, 30)), OrderCame(b"", 0.0), Trained(50.0))
    assert late.deadline == 60.0, "never later than it was"


def test_too_few_are_given_up():
    state, said = play(plain("a", "b", least=2), OrderCame(b"", 0.0), Updated("a", 1.0), Ticked(60.0))
    assert said[-1] == GiveUp("1 of 2 devices sent an update; 2 are needed")
    assert state.reason == said[-1].reason


def test_nobody_is_given_up():
    _, said = play(plain("a"), OrderCame(b"", 0.0), Lost("a", "gone", 1.0))
    assert isinstance(said[-1], GiveUp)


def test_a_masked_update_that_is_not_signed_is_not_taken():
    state, said = play(masked(), OrderCame(b"", 0.0), Updated("d1", 1.0, b"no envelope", bytes(32)))
    assert len(said) == 1
    assert "malformed" in state.failed["d1"]


def test_a_masked_round_of_too_few_updates_stays_shut():
    state = masked()
    state, said = play(state, OrderCame(b"", 0.0), *(Lost(each, "gone", 1.0) for each in state.cohort))
    assert isinstance(said[-1], GiveUp)


def test_a_sum_that_cannot_be_read_is_given_up():
    state = DeviceRound(RULES, ("a",), phase=Phase.SUM)
    assert step(state, Read("a mask was left in it"))[1] == (GiveUp("a mask was left in it"),)
    assert step(state, Read())[1] == (Fold(),)


names = st.sampled_from(["d1", "d2", "d3", "d4", "stranger"])
events = st.one_of(
    st.builds(OrderCame, st.just(b""), st.floats(0, 10)),
    st.builds(Updated, names, st.floats(0, 50), st.binary(max_size=4), st.just(bytes(32))),
    st.builds(Said, names, st.binary(max_size=4), st.floats(0, 50)),
    st.builds(Lost, names, st.just("gone"), st.floats(0, 50)),
    st.builds(Ticked, st.floats(0, 500)),
    st.builds(Read, st.just("")),
    st.builds(Trained, st.floats(0, 50)),
)
BEGUN = masked()


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=25), st.booleans())
def test_every_round_ends_once_and_every_device_is_accounted_for(happened, is_masked):
    state, said = play(BEGUN if is_masked else plain("d1", "d2", "d3", "d4"), OrderCame(b"", 0.0), *happened)
    ends = [each for each in said if isinstance(each, Fold | GiveUp)]
    assert len(ends) <= 1
    for now in (10_000.0, 20_000.0, 30_000.0):  # time alone always ends it
        state, more = step(state, Ticked(now))
        ends += [each for each in more if isinstance(each, Fold | GiveUp)]
    assert state.phase is Phase.OVER
    assert len(ends) == 1
    assert sorted((*state.joined, *state.failed)) == ["d1", "d2", "d3", "d4"]
    assert (state.reason != "") == isinstance(ends[0], GiveUp)
