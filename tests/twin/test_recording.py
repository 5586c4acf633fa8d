from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.config.loading import parse
from fedmed.twin.profiles import names
from fedmed.twin.recording import CHUNK, behind_head, on_line, recording
from fedmed.twin.replaying import replay
from fedmed.twin.twinfile import text
from tests.twin.seen import CENTER_S, records

SIZE = 40e6
RATES = st.floats(1e5, 2e7)
SITES = st.dictionaries(
    st.sampled_from(("east", "north", "south", "west")), st.tuples(st.floats(0.1, 100.0), RATES, RATES), min_size=3
)
NORTH = {"north": (2.0, 5e6, 4e6)}


def twin(found):
    return parse(text(found, "1.0"), "twin.yaml", (), names())


@given(SITES)
@settings(max_examples=40, deadline=None)
def test_what_a_world_was_made_of_is_found_in_its_records(sites):
    found = recording(records(sites, SIZE))
    assert [each.name for each in found.sites] == sorted(sites)
    for each in found.sites:
        trains, up, down = sites[each.name]
        assert each.trains == pytest.approx(trains, rel=1e-3, abs=1e-3)
        assert each.up == pytest.approx(up, rel=1e-6)
        assert each.is_up_seen
        assert each.down_least == pytest.approx(down, rel=1e-6)  # nothing but the line was in it
        assert each.down >= each.down_least
        assert each.validates + on_line(SIZE) / each.down == pytest.approx(on_line(SIZE) / down, rel=1e-6)
    assert found.center == pytest.approx(CENTER_S, rel=1e-3, abs=1e-6)


@given(SITES, st.sampled_from((1, 2)))
@settings(max_examples=15, deadline=None)
def test_the_replay_of_a_recording_has_its_own_medians(sites, every):
    seen = records(sites, SIZE, every=every)
    found = replay(twin(recording(seen)))
    assert found.predicted == pytest.approx(found.observed, rel=2e-3)
    assert found.observed == pytest.approx(seen.rounds[0].seconds, rel=1e-4)
    assert all(set(each.spent) == set(sites) for each in found.rounds)


@given(st.integers(1, 10**10))
def test_what_comes_after_the_head_is_whole_chunks(size):
    assert behind_head(size) % CHUNK == 0
    assert 0 < size - behind_head(size) <= CHUNK
    assert 1.04 < on_line(size) / size < 1.05


def test_too_small_answers_give_a_bound_and_are_named():
    (site,) = recording(records(NORTH, 1000.0)).sites
    assert not site.is_up_seen
    assert site.up <= NORTH["north"][1]
    assert any("north: its speed up was never seen" in each for each in recording(records(NORTH, 1000.0)).unknown)


def test_without_validation_the_way_down_is_named_as_unknown():
    found = recording(records(NORTH, SIZE, every=2))
    assert not found.sites[0].is_down_seen
    assert any("north: its speed down, for the model never came alone" in each for each in found.unknown)


def test_who_was_away_is_dark_in_the_twin_and_who_failed_drops_out():
    away = {3: {"north": "no answer and no sign of life for 90 s"}, 4: {"north": "no answer and no sign of life for 9 s"}}
    sites = {"north": (2.0, 5e6, 4e6), "east": (1.0, 5e6, 4e6), "south": (1.0, 5e6, 4e6)}
    seen = records(sites, SIZE, rounds=5, missing={**away, 5: {"east": "it broke"}})
    found = recording(seen)
    by_name = {each.name: each for each in found.sites}
    (spell,) = by_name["north"].absences
    assert spell.at == pytest.approx(seen.rounds[1].began - seen.rounds[0].began)
    assert spell.lasts == pytest.approx(seen.rounds[1].seconds + seen.rounds[2].seconds)
    assert by_name["east"].dropout == 1 / 5
    assert not by_name["east"].absences
    topology = twin(found).topology
    assert [(each.kind, each.who) for each in topology.faults] == [("dark", "north")]
    assert [each.dropout for each in topology.clinics] == [0.2, 0.0, 0.0]
    assert any("within a round" in each for each in found.unknown)


def test_a_cohort_that_is_not_everybody_is_drawn_by_the_twin():
    sites = dict.fromkeys(("east", "north", "south", "west"), NORTH["north"])
    seen = records(sites, SIZE)
    less = tuple(dataclasses.replace(each, cohort=("east", "north", "south")) for each in seen.rounds)
    found = recording(dataclasses.replace(seen, rounds=less))
    assert found.cohort == 3
    assert any("the twin draws them" in each for each in found.unknown)
    assert all(len(each.spent) == 3 for each in replay(twin(found)).rounds)


def test_a_site_that_never_answered_is_left_out_and_named():
    seen = records(NORTH, SIZE)
    found = recording(dataclasses.replace(seen, cases={**seen.cases, "ghost": 9}))
    assert [each.name for each in found.sites] == ["north"]
    assert any(each.startswith("ghost: it answered in none") for each in found.unknown)
