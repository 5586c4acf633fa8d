from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.twin import draws
from fedmed.twin.roster import carried, fair_level
from fedmed.twin.world import LOST, World
from tests.twin.places import PACES, topology, world

MB = 1_000_000
BUSY = {
    "name": "busy",
    "count": 300,
    "presence": {"share": 0.7, "spell": "1 h", "hours": "07:00-19:30"},
    "cases": {"median": 400, "spread": 0.7},
    "slower": {"share": 0.2, "times": 3},
    "dropout": 0.05,
    "skew": "20 s",
}
FAULTS = [
    {"kind": "cut", "who": "busy", "every": "2 h", "lasts": "5 min", "share": 0.5},
    {"kind": "crash", "who": "busy", "every": "3 h", "lasts": "30 s"},
    {"kind": "slow", "who": "busy", "every": "1 h", "lasts": "10 min", "times": 5},
    {"kind": "dark", "who": "busy/3", "at": "10 min", "lasts": "4 d"},
    {"kind": "disk full", "who": "busy", "every": "1 d", "lasts": "1 h"},
    {"kind": "cut", "who": "center", "at": "20 min", "lasts": "90 s"},
]
LINES = {"slow": {"up": "8 Mbit/s", "down": "16 Mbit/s", "latency": "20 ms", "jitter": "4 ms", "loss": 0.001}}


@cache
def full_of_trouble(seed: int = 7) -> World:
    return world(BUSY, {"name": "small", "machine": "nano", "count": 5}, seed=seed, faults=FAULTS, lines=LINES)


def test_a_trip_is_the_line_down_the_work_and_the_line_up():
    there = world().trip(2, 100.0, 4 * MB, 500.0, 2 * MB)
    assert there.heard_at == pytest.approx(100 + 0.020 + 4 / 2)
    assert there.done_at == pytest.approx(there.heard_at + 500 * 0.01)
    assert there.there_at == pytest.approx(there.done_at + 0.020 + 2 / 1)
    assert (there.lost, there.is_lost) == ("", False)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 304), min_size=1, max_size=20), st.floats(0, 30 * 86_400))
def test_one_alone_travels_as_it_does_among_others_whoever_is_asked_first(nodes, at):
    place = full_of_trouble()
    array = np.array(nodes)
    legs = place.legs(array, np.full(len(nodes), at), 4 * MB, place.roster.cases(array), MB)
    for i, node in reversed(list(enumerate(nodes))):
        work = float(place.roster.cases(np.array([node]))[0])
        assert place.trip(node, at, 4 * MB, work, MB) == legs.trip(i)
        assert place.is_there(node, at) == place.there(array, np.full(len(nodes), at))[i]


@settings(max_examples=40)
@given(st.integers(0, 304), st.floats(0, 5e6), st.integers(0, 10**7), st.floats(0, 1e5))
def test_time_runs_forward_on_every_trip_and_what_is_lost_says_why(node, at, size, work):
    trip = full_of_trouble().trip(node, at, size, work, size)
    assert at <= trip.heard_at <= trip.done_at <= trip.there_at
    assert trip.is_lost == bool(trip.lost)
    assert trip.lost in LOST
    assert not math.isnan(trip.there_at)


def test_another_seed_is_another_world():
    nodes = np.arange(300)
    one, other = full_of_trouble(1), full_of_trouble(2)
    assert (one.roster.cases(nodes) != other.roster.cases(nodes)).mean() > 0.9
    at = np.full(300, 5_000.0)
    assert (one.there(nodes, at) != other.there(nodes, at)).any()


def test_a_cut_holds_a_transfer_and_it_goes_on_where_it_stopped():
    cut = [{"kind": "cut", "who": "large/1", "at": "1 s", "lasts": "60 s"}]
    free, held = world().trip(0, 0.0, 4 * MB, 100.0, MB), world(faults=cut).trip(0, 0.0, 4 * MB, 100.0, MB)
    assert held.heard_at == pytest.approx(free.heard_at + 60)
    assert held.there_at == pytest.approx(free.there_at + 60)
    assert world(faults=cut).trip(1, 0.0, 4 * MB, 100.0, MB) == world().trip(1, 0.0, 4 * MB, 100.0, MB)


def test_a_cut_while_it_works_changes_nothing():
    cut = [{"kind": "cut", "who": "large", "at": "3 s", "lasts": "2 s"}]
    assert world(faults=cut).trip(0, 0.0, 4 * MB, 500.0, MB).there_at == pytest.approx(
        world().trip(0, 0.0, 4 * MB, 500.0, MB).there_at
    )


def test_work_rests_while_the_machine_is_dark():
    dark = [{"kind": "dark", "who": "large", "at": "3 s", "lasts": "100 s"}]
    free, held = world().trip(0, 0.0, 4 * MB, 500.0, MB), world(faults=dark).trip(0, 0.0, 4 * MB, 500.0, MB)
    assert held.done_at == pytest.approx(free.done_at + 100)


def test_a_crash_loses_the_work_which_begins_anew_from_its_message():
    crash = [{"kind": "crash", "who": "large", "at": "5 s", "lasts": "10 s"}]
    free, held = world().trip(0, 0.0, 4 * MB, 500.0, MB), world(faults=crash).trip(0, 0.0, 4 * MB, 500.0, MB)
    assert held.heard_at == free.heard_at
    assert held.done_at == pytest.approx(5 + 10 + 500 * 0.01)


def test_a_crash_that_lasts_no_time_is_one_all_the_same():
    crash = [{"kind": "crash", "who": "large", "at": "5 s"}]
    assert world(faults=crash).trip(0, 0.0, 4 * MB, 500.0, MB).done_at == pytest.approx(5 + 1 + 500 * 0.01)


def test_work_takes_longer_while_it_is_slow():
    slow = [{"kind": "slow", "who": "large", "at": "0 s", "lasts": "4.02 s", "times": 2.0}]
    free, held = world().trip(0, 0.0, 4 * MB, 500.0, MB), world(faults=slow).trip(0, 0.0, 4 * MB, 500.0, MB)
    assert held.done_at == pytest.approx(free.done_at + 1), "two seconds at half the pace"


def test_who_is_dark_for_days_is_lost_in_words_and_a_full_disk_too():
    dark = [{"kind": "dark", "who": "large/2", "at": "1 s", "lasts": "5 d"}]
    assert world(faults=dark).trip(1, 0.0, 4 * MB, 1.0, MB).lost == "not there within 3 days"
    full = [{"kind": "disk full", "who": "large/2", "at": "0 s", "lasts": "1 h"}]
    assert world(faults=full).trip(1, 0.0, 4 * MB, 1.0, MB).lost == "its disk was full"
    assert world(faults=full).trip(0, 0.0, 4 * MB, 1.0, MB).lost == ""


def test_the_center_away_is_away_for_all():
    cut = [{"kind": "cut", "who": "center", "at": "1 s", "lasts": "60 s"}]
    place = world(faults=cut)
    assert place.trip(3, 0.0, 4 * MB, 1.0, MB).heard_at == pytest.approx(2.02 + 60)
    assert place.befell(3, 0.0, 70.0) == "center: its line was cut for 60 s"
    assert (
        place.is_there(3, 30.0),
        place.is_there(3, 61.0),
        *place.away(np.array([3]), np.array([0.5]), np.array([30.0])),
    ) == (False, True, 29.0)


def test_hours_are_local_and_go_on_over_midnight():
    place = world(
        {"name": "day", "presence": {"hours": "07:00-19:00"}}, {"name": "night", "presence": {"hours": "19:00-07:00"}}
    )
    hours = range(48)
    day = [place.is_there(0, hour * 3600.0) for hour in hours]
    assert day == [7 <= (8 + hour) % 24 < 19 for hour in hours], "the run begins at 08:00"
    assert [place.is_there(1, hour * 3600.0) for hour in hours] == [not each for each in day]


def test_presence_has_the_share_that_it_states():
    place = world({"name": "few", "count": 20_000, "presence": {"share": 0.3, "spell": "1 h"}})
    for at in (0.0, 12_345.0, 9e6):
        assert place.there(np.arange(20_000), np.full(20_000, at)).mean() == pytest.approx(0.3, abs=0.02)


def test_cases_have_the_median_and_the_spread_that_are_stated():
    place = world({"name": "many", "count": 20_000, "cases": {"median": 400, "spread": 0.7}})
    cases = place.roster.cases(np.arange(20_000))
    assert np.median(cases) == pytest.approx(400, rel=0.05)
    assert np.log(cases).std() == pytest.approx(0.7, rel=0.05)
    assert (cases == np.rint(cases)).all()
    assert cases.min() >= 1


def test_dropout_and_slowness_are_drawn_for_each_round_anew():
    place = world({"name": "many", "count": 5000, "dropout": 0.2, "slower": {"share": 0.3, "times": 10}})
    nodes = np.arange(5000)
    first, second = (place.legs(nodes, np.full(5000, at), MB, np.full(5000, 100.0), MB) for at in (0.0, 1000.0))
    for legs in (first, second):
        assert (legs.lost == LOST.index("it dropped out of this round")).mean() == pytest.approx(0.2, abs=0.03)
        assert ((legs.done - legs.heard) > 5).mean() == pytest.approx(0.3, abs=0.03)
    assert ((first.lost > 0) & (second.lost > 0)).mean() == pytest.approx(0.04, abs=0.02)
    assert not place.legs(nodes, np.zeros(5000), MB, np.zeros(5000), MB).lost.any(), "a word is answered by all"


def test_all_who_are_asked_share_the_line_of_the_center():
    thin = {"hall": {"up": "16 Mbit/s", "down": "10 Gbit/s"}}
    trip = world(lines=thin).trip(0, 0.0, 4 * MB, 0.0, MB)
    assert trip.heard_at == pytest.approx(0.02 + 4 / 0.5), "four clinics at once on 2 MB a second"
    assert world(lines=thin, cohort=1).trip(0, 0.0, 4 * MB, 0.0, MB).heard_at == pytest.approx(0.02 + 4 / 2)


def test_shares_are_fair():
    assert fair_level([(2, 1.0), (2, 10.0)], 12.0) == 5.0
    assert fair_level([(2, 1.0), (2, 10.0)], 100.0) == math.inf
    assert fair_level([(4, 10.0)], 8.0) == 2.0


def test_loss_bounds_what_a_line_carries():
    place = world(lines={"slow": {"up": "8 Mbit/s", "down": "1 Gbit/s", "latency": "50 ms", "loss": 0.01}})
    line = place.topology.lines["slow"]
    assert carried(line, line.up) == pytest.approx(math.sqrt(1.5) * 1460 / (0.1 * 0.1))
    assert carried(line, 1000.0) == pytest.approx(990.0)


def test_clocks_are_wrong_by_what_is_drawn_and_by_what_befalls_them():
    wrong = [{"kind": "clock", "who": "off/1", "at": "10 s", "lasts": "10 s", "by": "-90 s"}]
    place = world({"name": "off", "count": 2000, "skew": "20 s"}, faults=wrong)
    assert np.std([place.clock_error(node, 0.0) for node in range(2000)]) == pytest.approx(20, rel=0.1)
    assert place.clock_error(0, 15.0) - place.clock_error(0, 25.0) == pytest.approx(-90)


NESTED = {
    "regions": [
        {"name": "north", "machine": "a100", "line": "lan"},
        {"name": "fjord", "under": "north", "machine": "a100", "line": "lan"},
    ],
}
TIERS = (
    {
        "name": "large",
        "count": 3,
        "region": "fjord",
        "devices": [{"name": "us", "count": 2, "machine": "nano", "line": "lan", "cases": {"median": 100}}],
    },
    {"name": "small", "count": 2, "machine": "nano"},
)


def test_everybody_has_a_number_and_a_name():
    place = world(*TIERS, **NESTED).roster
    names = [place.name(node) for node in range(len(place))]
    assert names[:5] == ["large/1", "large/2", "large/3", "small/1", "small/2"]
    assert names[5:] == [
        *(f"large/{clinic}/us/{each}" for clinic in (1, 2, 3) for each in (1, 2)),
        "north",
        "fjord",
        "center",
    ]
    assert [place.node(name) for name in names] == list(range(len(place)))
    above = [names[each] for each in place.above(np.arange(len(place)))]
    assert above == ["fjord"] * 3 + ["center"] * 2 + [f"large/{each}" for each in (1, 1, 2, 2, 3, 3)] + [
        "center",
        "north",
        "center",
    ]
    for node in range(len(place) - 1):
        assert node in place.below(int(place.above(np.array([node]))[0]))
    assert place.below(1).tolist() == [7, 8]


def test_a_name_stands_for_one_or_for_many():
    place = world(*TIERS, **NESTED).roster
    names = {
        who: [place.name(node) for node in range(*place.span(who))] for who in ("small", "large/us", "large/2/us", "fjord")
    }
    assert names["small"] == ["small/1", "small/2"]
    assert len(names["large/us"]) == 6
    assert names["large/2/us"] == ["large/2/us/1", "large/2/us/2"]
    assert names["fjord"] == ["fjord"]
    assert place.span("large/2/us/2") == (8, 9)


@pytest.mark.parametrize(
    "name",
    ["", "large", "large/0", "large/4", "large/1/us", "large/1/us/3", "large/1/mr/1", "north/1", "large/x", "large/²"],
)
def test_a_name_of_nobody_is_refused(name):
    with pytest.raises(ConfigError, match="names nobody; there are center, fjord, large"):
        world(*TIERS, **NESTED).roster.node(name)


def test_a_trip_to_a_clinic_goes_through_its_regions():
    flat, deep = world(TIERS[1]), world(*TIERS, **NESTED)
    assert deep.trip(3, 0.0, MB, 0.0, MB) == flat.trip(0, 0.0, MB, 0.0, MB)
    through = deep.trip(0, 0.0, 4 * MB, 0.0, MB)
    assert through.heard_at == pytest.approx(2 * 4 / 125 + 0.02 + 4 / 2)
    assert through.there_at == pytest.approx(through.done_at + 0.02 + 1 + 2 * 1 / 125)


def test_a_machine_that_nobody_knows_is_named():
    with pytest.raises(ConfigError, match="large: nobody knows how fast 't5' is; known: a100, nano, t4"):
        World(topology({"name": "large", "machine": "t5"}), 1, PACES)


@settings(max_examples=50)
@given(st.integers(1, 3000), st.integers(0, 2**63 - 1))
def test_an_order_has_everybody_once(count, use):
    assert sorted(draws.Order(use, count).at(np.arange(count))) == list(range(count))


def test_draws_are_even_and_independent_of_each_other():
    nodes = np.arange(100_000)
    one, other = draws.uniform(draws.key(1, "a"), nodes), draws.uniform(draws.key(1, "b"), nodes)
    assert np.histogram(one, 20, (0, 1))[0] == pytest.approx(5000, rel=0.06)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.02
    assert draws.normal(5, nodes).std() == pytest.approx(1, rel=0.02)
    assert draws.exponential(5, nodes).mean() == pytest.approx(1, rel=0.02)
    first = draws.Order(9, 100_000).at(np.arange(1000))
    assert np.histogram(first, 4, (0, 100_000))[0] == pytest.approx(250, rel=0.25)


def test_spells_of_presence_have_the_length_that_is_stated():
    place, nodes = world({"name": "few", "count": 400, "presence": {"share": 0.25, "spell": "1 h"}}), np.arange(400)
    there = np.array([place.there(nodes, np.full(400, 120.0 * step)) for step in range(1200)])
    comes = (there[1:] & ~there[:-1]).sum()
    assert there.sum() * 120.0 / comes == pytest.approx(3600, rel=0.06)
