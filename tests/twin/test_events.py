from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pytest

from fedmed.config.scenario import Quorum, Rounds
from fedmed.errors import FederationError, QuorumError
from fedmed.federation.round import Verdict
from fedmed.twin.events import Events, through
from fedmed.twin.trace import lines
from tests.twin.places import world
from tests.twin.test_columns import terms
from tests.twin.test_world import BUSY, FAULTS, NESTED, TIERS

CUT = {"kind": "cut", "who": "large/2", "at": "1 s", "lasts": "50 s"}


def traced(place, asks, count):
    written = []
    outcomes = list(Events(place, asks, lines(written.append)).rounds(count))
    return outcomes, b"".join(written)


def said(trace, event):
    return [each for each in map(json.loads, trace.splitlines()) if each["event"] == event]


def test_the_same_seed_is_the_same_trace_byte_for_byte():
    digests = []
    for seed in (3, 3, 4):
        place = world(BUSY, seed=seed, faults=FAULTS, cohort=40, over=1.2)
        trace = traced(place, terms(Rounds(deadline_s=300, quorum=Quorum(sites=0.1, data_weight=0.1))), 3)[1]
        assert len(trace.splitlines()) > 200
        digests.append(sha256(trace).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_a_trace_tells_what_happened_in_order():
    trace = traced(world(faults=[CUT]), terms(Rounds(deadline_s=20)), 4)[1]
    moments = [each["at"] for each in map(json.loads, trace.splitlines())]
    assert moments == sorted(moments)
    of_one = [
        each["event"] for each in map(json.loads, trace.splitlines()) if each.get("who") == "large/1" and each["round"] == 1
    ]
    assert of_one == ["heard", "done", "answered"]
    first = said(trace, "closed")[0]
    assert first["missing"] == {"large/2": "no answer by the deadline of 20 s: its line was cut for 19 s"}
    assert (first["at"], first["verdict"], first["lacks"]) == (20.0, "closed by quorum", [])
    assert [(each["who"], each["round"]) for each in said(trace, "late")] == [("large/2", 1), ("large/2", 2)]


def test_a_late_answer_is_in_no_round():
    outcomes, _ = traced(world(faults=[CUT]), terms(Rounds(deadline_s=20)), 4)
    assert [each.joined.tolist().count(1) for each in outcomes] == [0, 0, 1, 1]
    assert outcomes[0].closed == 20.0 == outcomes[1].began
    assert outcomes[2].verdict is Verdict.COMPLETE


def test_a_short_round_is_tried_again_with_others_and_then_ends_the_run():
    place = world({"name": "many", "count": 50, "dropout": 0.6}, cohort=10)
    rounds = Events(place, terms(Rounds(deadline_s=30, attempts=4, quorum=Quorum(sites=1.0)))).rounds(2)
    tried = [next(rounds) for _ in range(4)]
    assert [(each.number, each.attempt, each.verdict) for each in tried] == [
        (1, turn, Verdict.SHORT) for turn in (1, 2, 3, 4)
    ]
    assert len({tuple(each.asked.tolist()) for each in tried}) == 4
    with pytest.raises(QuorumError, match="round 1 missed its quorum 4 times"):
        next(rounds)


def test_a_round_begins_when_somebody_is_there():
    place = world({"name": "day", "count": 4, "presence": {"hours": "09:30-17:00"}}, cohort=2)
    assert next(Events(place, terms()).rounds(1)).began == 5400.0
    gone = [{"kind": "dark", "who": "large", "at": "0 s", "lasts": "10 d"}]
    with pytest.raises(FederationError, match="nobody was there for 3 days"):
        next(Events(world(faults=gone, cohort=2), terms()).rounds(1))


def test_without_a_deadline_each_has_its_own_and_who_is_dark_is_given_up():
    dark = [{"kind": "dark", "who": "large/2", "at": "1 s", "lasts": "2 d"}]
    outcomes, trace = traced(world(faults=dark), terms(Rounds()), 3)
    assert outcomes[0].closed == 361.0, "the grace of one that fell silent"
    assert [each.joined.tolist() for each in outcomes] == [[0, 2, 3]] * 3
    assert outcomes[1].closed - outcomes[1].began < 10, "it had its grace"
    assert "dark for 360 s" in said(trace, "closed")[0]["missing"]["large/2"]


def test_a_round_that_needs_a_dark_member_waits_longer_for_it():
    dark = [{"kind": "dark", "who": "large/2", "at": "1 s", "lasts": "20 min"}]
    needed = Quorum(required=("large/2",))
    outcome = next(Events(world(faults=dark), terms(Rounds(quorum=needed))).rounds(1))
    assert (outcome.verdict, outcome.closed > 1200) == (Verdict.COMPLETE, True)


def test_who_asks_whom():
    place = world(*TIERS, **NESTED)
    names = place.roster.name
    nodes, below = through(place, place.roster.center, np.arange(5))
    assert ([names(node) for node in nodes], {place_: each.tolist() for place_, each in below.items()}) == (
        ["small/1", "small/2", "north"],
        {2: [0, 1, 2]},
    )
    nodes, below = through(place, place.roster.node("north"), np.arange(3))
    assert ([names(node) for node in nodes], list(below)) == (["fjord"], [0])
    nodes, below = through(place, place.roster.node("fjord"), np.arange(3))
    assert (nodes.tolist(), below) == ([0, 1, 2], {})


def test_clinics_fold_their_devices_and_regions_their_clinics():
    outcomes, trace = traced(world(*TIERS, **NESTED), terms(Rounds(deadline_s=900)), 1)
    assert sorted(outcomes[0].joined.tolist()) == [0, 1, 2, 3, 4]
    assert (outcomes[0].devices, outcomes[0].verdict, dict(outcomes[0].missing)) == (6, Verdict.COMPLETE, {})
    folded = {each["who"]: each for each in said(trace, "folded")}
    assert folded["large/1"]["devices"] == ["large/1/us/1", "large/1/us/2"]
    assert (folded["fjord"]["joined"], folded["north"]["joined"]) == (["large/1", "large/2", "large/3"], ["fjord"])
    device_s = 100 * 0.2
    assert folded["large/1"]["at"] > device_s > said(trace, "done")[0]["at"], "the clinic waits for its slow devices"


def test_a_clinic_goes_on_without_a_device_that_is_gone():
    dark = [{"kind": "dark", "who": "large/1/us/2", "at": "0 s", "lasts": "1 d"}]
    outcomes, trace = traced(world(*TIERS, **NESTED, faults=dark), terms(Rounds(deadline_s=900)), 1)
    folded = {each["who"]: each for each in said(trace, "folded")}
    assert folded["large/1"]["devices"] == ["large/1/us/1"]
    assert (outcomes[0].verdict, outcomes[0].devices) == (Verdict.COMPLETE, 5)
    assert list(folded["large/1"]["missing"]) == ["large/1/us/2"]
    assert folded["large/1"]["missing"]["large/1/us/2"].startswith("no updates within")


def test_a_region_answers_with_those_that_it_has_and_in_time():
    dark = [{"kind": "dark", "who": "large/1", "at": "0 s", "lasts": "1 d"}]
    outcomes, _ = traced(world(*TIERS, **NESTED, faults=dark), terms(Rounds(deadline_s=900)), 1)
    assert sorted(outcomes[0].joined.tolist()) == [1, 2, 3, 4]
    assert outcomes[0].closed < 900
    assert "its" not in outcomes[0].missing[0]
    assert "dark for" in outcomes[0].missing[0]


def test_a_region_without_a_quorum_says_so_and_its_clinics_are_missing_for_that():
    dark = [{"kind": "dark", "who": f"large/{each}", "at": "0 s", "lasts": "1 d"} for each in (1, 2)]
    outcomes, _ = traced(
        world(*TIERS, **NESTED, faults=dark), terms(Rounds(deadline_s=900, quorum=Quorum(data_weight=0.2))), 1
    )
    assert sorted(outcomes[0].joined.tolist()) == [3, 4]
    assert outcomes[0].missing[2].startswith("north: 0 of 1 sites joined")


def test_a_cut_region_takes_its_clinics_with_it():
    cut = [{"kind": "cut", "who": "north", "at": "0 s", "lasts": "1 d"}]
    outcomes, _ = traced(
        world(*TIERS, **NESTED, faults=cut), terms(Rounds(deadline_s=150, quorum=Quorum(data_weight=0.2))), 1
    )
    assert outcomes[0].joined.tolist() == [3, 4]
    assert outcomes[0].missing[0] == "north: no answer by the deadline of 150 s: its line was cut for 150 s"
