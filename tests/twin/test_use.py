from __future__ import annotations

import json
from collections import defaultdict

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedmed.config.scenario import Quorum, Rounds
from fedmed.twin.answers import answers
from fedmed.twin.events import Events
from fedmed.twin.trace import lines
from fedmed.twin.use import Spent, Use
from tests.twin.places import topology, world
from tests.twin.test_columns import terms
from tests.twin.test_world import BUSY, FAULTS, NESTED, TIERS

ASKS = terms(Rounds(deadline_s=300, attempts=9, quorum=Quorum(sites=0.05, data_weight=0.05)))


def covered(spans):
    total, until = 0.0, -1.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


@given(seed=st.integers(0, 40))
@example(seed=27)  # work that begins after the run's end
@settings(max_examples=8, deadline=None)
def test_work_of_a_group_is_what_the_trace_of_its_members_covers(seed):
    place, written = world(BUSY, seed=seed, faults=FAULTS, cohort=60), []
    use = Use(place.roster)
    outcomes = list(Events(place, ASKS, lines(written.append), use=use).rounds(3))
    seconds = outcomes[-1].closed
    heard, spans = {}, defaultdict(list)
    for told in map(json.loads, b"".join(written).splitlines()):
        key = told.get("who"), told["round"], told["attempt"]
        if told["event"] == "heard":
            heard[key] = told["at"]
        elif told["event"] == "done":
            spans[told["who"]].append((heard[key], told["at"]))
    least = sum(covered([(start, min(end, seconds)) for start, end in each]) for each in spans.values())
    for key, at in heard.items():
        if not any(start == at for start, _ in spans[key[0]]):  # not done when the run ended, or never
            spans[key[0]].append((at, seconds))
    most = sum(covered([(start, min(end, seconds)) for start, end in each]) for each in spans.values())
    assert least - 1e-3 <= use.spent(seconds)["busy"].work_s <= most + 1e-3


@given(seed=st.integers(0, 40), kind=st.sampled_from(["busy", "tiers"]))
@settings(max_examples=12, deadline=None)
def test_shares_of_time_are_one_and_bytes_are_those_of_the_lines(seed, kind):
    groups, more = ((BUSY,), {"faults": FAULTS, "cohort": 60}) if kind == "busy" else (TIERS, NESTED)
    place = world(*groups, seed=seed, **more)
    use, outcomes = Use(place.roster), []
    for outcome in Events(place, ASKS, use=use).rounds(3):
        outcomes.append(outcome)
        use.settle(outcome.closed)
    seconds = outcomes[-1].closed
    clinics = [each["name"] for each in groups]
    spent = use.spent(seconds)
    found = answers(topology(*groups, machines={"nano": {"like": "orin-nano"}}, **more), spent, seconds)
    for tier in found["tiers"]:
        assert tier["work"] + tier["line"] + tier["idle"] == pytest.approx(1)
        assert min(tier["work"], tier["line"], tier["idle"]) >= -1e-9
    for way in ("down", "up"):
        assert sum(getattr(spent[name], f"{way}_bytes") for name in clinics) == pytest.approx(use.flow.bytes[way].sum())
    assert sum(spent[name].up_bytes for name in clinics) >= ASKS.up_bytes * sum(each.joined.size for each in outcomes)


def test_devices_regions_and_the_answers_of_hubs_are_counted_once():
    place = world(*TIERS, **NESTED)
    use = Use(place.roster)
    (outcome,) = Events(place, ASKS, use=use).rounds(1)
    spent = use.spent(outcome.closed)
    assert outcome.joined.size == 5
    assert spent["large/us"].down_bytes == 6 * ASKS.down_bytes
    assert spent["large"].up_bytes == 3 * ASKS.up_bytes
    assert (spent["north"].up_bytes, spent["fjord"].down_bytes) == (ASKS.up_bytes, ASKS.down_bytes)
    assert spent["large/us"].work_s > 0
    assert spent["north"].work_s == 0 < spent["north"].line_s
    assert spent["center"] == Spent()
    plain = next(Events(world(*TIERS, **NESTED), ASKS).rounds(1))
    assert (plain.closed, plain.joined.tolist()) == (outcome.closed, outcome.joined.tolist())
