from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.config.scenario import Quorum, Rounds, Training
from fedmed.errors import ConfigError, QuorumError
from fedmed.federation.round import Verdict
from fedmed.twin.asking import Terms, drawn
from fedmed.twin.columns import Columns
from fedmed.twin.events import Events
from tests.twin.places import topology, world
from tests.twin.test_world import LINES, NESTED, TIERS

MB = 1_000_000
shares = st.sampled_from([0.0, 0.1, 0.5])
presences = st.sampled_from([{}, {"share": 0.6, "spell": "2 min"}, {"share": 0.9, "spell": "3 h", "hours": "06:00-20:00"}])
groups = st.fixed_dictionaries(
    {
        "count": st.integers(2, 60),
        "machine": st.sampled_from(["t4", "nano"]),
        "presence": presences,
        "cases": st.fixed_dictionaries({"median": st.sampled_from([50, 400]), "spread": st.sampled_from([0.0, 0.8])}),
        "dropout": shares,
        "slower": st.fixed_dictionaries({"share": shares, "times": st.sampled_from([3, 40])}),
    }
)
befalls = {
    "who": st.sampled_from(["one", "two/1", "center"]),
    "every": st.sampled_from(["8 min", "2 h"]),
    "lasts": st.sampled_from(["10 s", "5 min"]),
    "share": st.sampled_from([0.4, 1.0]),
}
faults = st.lists(
    st.one_of(
        st.fixed_dictionaries({"kind": st.sampled_from(["cut", "dark", "crash", "disk full"]), **befalls}),
        st.fixed_dictionaries({"kind": st.just("slow"), "times": st.just(4.0), **befalls}),
    ),
    max_size=3,
)
quorums = st.builds(
    Quorum,
    sites=st.sampled_from([0.05, 0.5, 0.9]),
    data_weight=st.sampled_from([0.05, 0.6]),
    required=st.sampled_from([(), ("two/1",)]),
)
rules = st.builds(Rounds, deadline_s=st.sampled_from([3.0, 30.0, 400.0]), quorum=quorums, attempts=st.integers(1, 3))


def terms(rules: Rounds | None = None, **training: int) -> Terms:
    return Terms(rules or Rounds(deadline_s=60), Training(**(training or {"epochs": 1})), MB, MB // 2)


def played(rounds, count):
    outcomes = []
    try:
        outcomes.extend(map(told, rounds.rounds(count)))
    except QuorumError as error:
        outcomes.append(str(error))
    return outcomes


def told(outcome):
    lists = (outcome.asked.tolist(), outcome.joined.tolist(), dict(outcome.missing))
    return (outcome.number, outcome.attempt, outcome.began, outcome.closed, outcome.verdict, *lists)


@settings(max_examples=15)
@given(
    groups,
    groups,
    faults,
    rules,
    st.sampled_from([None, 1, 3]),
    st.sampled_from([1.0, 1.3]),
    st.integers(0, 99),
    st.booleans(),
)
def test_columns_and_events_are_the_same_rounds(one, two, faults, rules, cohort, over, seed, epochs):
    lines = LINES if seed % 2 else {}
    place = world(
        {"name": "one", **one},
        {"name": "two", **two},
        seed=seed,
        faults=faults,
        lines=lines,
        cohort=cohort,
        over=over if cohort else 1.0,
    )
    asks = terms(rules, **({"epochs": 2} if epochs else {"steps": 40}))
    assert played(Columns(place, asks, reasons=True), 4) == played(Events(place, asks, reasons=True), 4)


def test_the_first_answers_of_those_asked_over_close_a_round():
    place = world({"name": "many", "count": 500, "cases": {"median": 300, "spread": 1}}, cohort=40, over=1.5)
    for outcome in Columns(place, terms(Rounds(deadline_s=60, quorum=Quorum(data_weight=0.1))), reasons=True).rounds(3):
        assert (len(outcome.asked), len(outcome.joined), outcome.verdict) == (60, 40, Verdict.QUORUM)
        assert set(outcome.missing.values()) == {"no answer before enough others had answered"}
        assert set(outcome.missing) == set(outcome.asked.tolist()) - set(outcome.joined.tolist())


def test_who_is_late_is_named_with_what_kept_it():
    faults = [
        {"kind": "cut", "who": "large/2", "at": "1 s", "lasts": "50 s"},
        {"kind": "disk full", "who": "large/3", "at": "0 s", "lasts": "1 h"},
    ]
    outcome = next(Columns(world(faults=faults), terms(Rounds(deadline_s=20)), reasons=True).rounds(1))
    assert outcome.joined.tolist() == [0, 3]
    assert outcome.missing == {1: "no answer by the deadline of 20 s: its line was cut for 19 s", 2: "its disk was full"}
    assert outcome.closed == 20.0


def test_a_round_that_stays_short_ends_the_run():
    place = world({"name": "large", "count": 4, "dropout": 1.0})
    rounds = Columns(place, terms(Rounds(deadline_s=20, attempts=3))).rounds(5)
    assert [next(rounds).verdict for _ in range(3)] == [Verdict.SHORT] * 3
    with pytest.raises(QuorumError, match="round 1 missed its quorum 3 times"):
        next(rounds)


def test_those_asked_are_there_each_once_and_others_every_time():
    place = world({"name": "many", "count": 3000, "presence": {"share": 0.2}}, cohort=200)
    first, second = drawn(place, 1, 1, 100.0)[0], drawn(place, 2, 1, 100.0)[0]
    assert len(set(first.tolist())) == len(first) == len(second) == 200
    assert all(place.is_there(node, 100.0) for node in first.tolist())
    assert len(set(first.tolist()) & set(second.tolist())) < 120


def test_where_fewer_are_there_than_a_cohort_those_are_asked():
    place = world({"name": "many", "count": 300, "presence": {"share": 0.5}}, cohort=200)
    there = [node for node in range(300) if place.is_there(node, 0.0)]
    assert sorted(drawn(place, 1, 1, 0.0)[0].tolist()) == there


def test_a_scenario_that_only_events_know_is_refused_with_all_that_is_against_it():
    capped = {"slow": {"up": "8 Mbit/s", "down": "16 Mbit/s", "cap": "1 GB"}}
    place = world(*TIERS, **NESTED, lines=capped)
    with pytest.raises(
        ConfigError, match=r"tiers below the center; it measures .*; its lines have caps; allowed: rounds event by event"
    ):
        next(Columns(place, terms(Rounds())).rounds(1))


def test_the_number_of_clinics_of_a_topology_is_not_what_a_round_costs():
    small, large = (world({"name": "many", "count": count}, cohort=50) for count in (1000, 1_000_000))
    assert len(drawn(small, 1, 1, 0.0)[0]) == len(drawn(large, 1, 1, 0.0)[0]) == 50
    assert topology().cohort is None
