from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.federation.pace import (
    GRACE_S,
    KEPT,
    LEAST_S,
    MARGIN,
    MOST_MISSES,
    MOST_S,
    NEEDED_S,
    Past,
    Presence,
    Seen,
    Wait,
    wait_for,
)

SECONDS = st.floats(0, 1e7, allow_nan=False)
WORK = st.floats(1, 1e6)
SEEN = st.builds(Seen, SECONDS, st.floats(0, 1e4), WORK)
PASTS = st.builds(Past, st.lists(SEEN, min_size=1, max_size=KEPT).map(tuple), st.integers(0, 5))


def past(*seconds: float, missed: int = 0) -> Past:
    return Past(tuple(map(Seen, seconds)), missed)


def deadline(found: Past, work: float = 1.0) -> float:
    return wait_for(found, work, 0).deadline_s


@given(PASTS, WORK, st.integers(0, 1 << 40))
def test_nobody_is_waited_for_shorter_than_the_least_or_longer_than_the_most(found, work, size):
    for each in (found, Past()):
        assert LEAST_S <= wait_for(each, work, size).deadline_s <= MOST_S


@given(PASTS, st.data(), st.floats(0, 1e6), WORK)
def test_a_slower_answer_never_makes_the_wait_shorter(found, data, more, work):
    place = data.draw(st.integers(0, len(found.seen) - 1))
    slower = [replace(s, seconds=s.seconds + more) if n == place else s for n, s in enumerate(found.seen)]
    assert deadline(Past(tuple(slower), found.missed), work) >= deadline(found, work) * (1 - 1e-9)


@given(PASTS, WORK, st.floats(1, 100))
def test_more_work_is_given_more_time(found, work, times):
    assert deadline(found, work * times) >= deadline(found, work) * (1 - 1e-9)
    assert deadline(Past(), work * times) >= deadline(Past(), work)


@given(st.lists(st.floats(1, 1e3), min_size=2, max_size=KEPT - 1), st.floats(1e3, 1e7), st.data())
def test_one_odd_answer_does_not_rule(usual, odd, data):
    place = data.draw(st.integers(0, len(usual)))
    seconds = [*usual[:place], odd, *usual[place:]]
    assert deadline(past(*seconds)) <= max(LEAST_S, 5 * max(usual))


@given(st.lists(st.floats(1, 1e3), max_size=KEPT - 2), st.floats(1e3, 7e4))
def test_the_second_slow_answer_does(usual, slow):
    assert deadline(past(*usual, slow, slow)) >= min(MOST_S, MARGIN * slow)


@given(st.floats(1, 1e5), st.lists(st.floats(1, 2.4), min_size=1, max_size=20))
def test_a_site_that_is_always_slow_is_always_waited_for(pace, turns):
    found = Past()
    for turn in turns:
        seconds = min(pace * turn, MOST_S)
        assert not found.seen or seconds <= deadline(found)
        found = found.answered(Seen(seconds))


@given(st.floats(1, 2e4), st.floats(1.5, 3))
def test_a_site_that_becomes_slower_for_good_is_lost_once_or_twice_and_then_waited_for(before, times):
    found, lost = past(*[before] * KEPT), 0
    now = deadline(found) * times
    for _ in range(6):
        is_late = now > deadline(found)
        lost += is_late
        found = (found.missing() if is_late else found).answered(Seen(now), is_late)
    assert lost <= 2
    assert now <= deadline(found)


def test_a_missed_deadline_doubles_the_next_and_a_site_that_hangs_does_not_hold_all_up_for_ever():
    assert [deadline(past(100, 100, 100, missed=n)) for n in range(4)] == [500, 1000, 2000, 2000]
    assert deadline(past(1, missed=9)) == LEAST_S * 2**MOST_MISSES
    assert past(1, missed=2).answered(Seen(1)).missed == 0
    assert past(1, missed=2).answered(Seen(1), is_late=True).missed == 2


@given(st.lists(SEEN, max_size=2 * KEPT), st.integers(0, 3))
def test_what_is_kept_is_the_newest_and_is_read_again(seen, missed):
    found = Past(missed=missed)
    for each in seen:
        found = found.answered(each, is_late=True)
    assert found.seen == tuple(seen[-KEPT:])
    again = Past.of(json.loads(json.dumps(found.record())))
    assert again.missed == missed
    assert [s.seconds for s in again.seen] == pytest.approx([s.seconds for s in found.seen], abs=1e-3)


@pytest.mark.parametrize("seen", [[[-1, 0, 1]], [[1, -1, 1]], [[1, 0, 0]], [["inf", 0, 1]], [["nan", 0, 1]], [[1, 0]]])
def test_what_nobody_can_have_seen_is_refused(seen):
    with pytest.raises(ValueError, match=r"seconds below 0|unpack"):
        Past.of({"missed": 0, "seen": seen})


def test_a_site_of_which_nothing_is_known_has_time_for_all_that_it_declared():
    assert wait_for(Past(), 300, 0).deadline_s == 600 + 300 * 5
    found = wait_for(Past(), 300, 4_000_000)
    assert found == Wait(
        600 + 1500 + 160, "nothing measured yet, 300 cases to go through and 4.0 MB each way at a slow pace", None
    )


def test_the_line_takes_what_it_takes_and_the_rest_grows_with_the_work():
    found = Past((Seen(50, 10, 100), Seen(50, 10, 100), Seen(50, 10, 100)))
    assert wait_for(found, 1000, 0).expected_s == 10 + 400


def test_people_are_told_why():
    found = wait_for(Past((Seen(40, 2), Seen(55, 2), Seen(50, 2))), 1, 0)
    assert found.explained("north") == "north: 3 answers took 40-55 s (2.0 s of that the line); waited for until 250 s"
    assert wait_for(past(0.1), 1, 0).explained("a") == (
        "a: an answer took 0.1 s (0.0 s of that the line), and nobody gets less time; waited for until 120 s"
    )
    assert wait_for(past(60, missed=1), 1, 0).why.endswith("and longer as it missed 1 deadline")


WAIT = Wait(100.0, "")


def test_who_is_away_has_its_grace_instead_of_its_deadline_and_once_only():
    found = Presence({}, {}).looked(1000, [1, 2], [1])
    assert found.due(1, 990, WAIT, 0, False) == 1090
    assert found.due(2, 990, WAIT, 0, False) == 1000 + GRACE_S
    later = found.looked(5000, [1, 2], [1])
    assert later.due(2, 4990, WAIT, 0, False) == 1000 + GRACE_S  # over, in the rounds to come
    assert later.due(2, 4990, WAIT, 0, True) == 5090  # unless the round fails without it
    assert found.due(2, 990, WAIT, 0, True) == 1000 + NEEDED_S


def test_who_came_back_has_its_time_and_that_of_its_absence():
    found = Presence({}, {}).looked(1000, [1], []).looked(1300, [1], [1])
    assert found.due(1, 990, WAIT, 0, False) == 990 + 100 + 300
    assert found.away(1, 1400) == 300
    assert found.looked(1500, [1], []).looked(1600, [1], []).away(1, 1600) == 400
    assert found.due(1, 1400, WAIT, 300, False) == 1500  # the absence was before that waiting


@given(st.lists(st.tuples(st.floats(0, 100), st.sets(st.integers(1, 3))), max_size=20))
def test_times_of_absence_and_presence_are_all_the_time(looks):
    found, now, away = Presence({}, {}), 0.0, dict.fromkeys((1, 2, 3), 0.0)
    for passed, online in looks:
        for node in found.gone:
            away[node] += passed
        now += passed
        found = found.looked(now, (1, 2, 3), online)
        assert set(found.gone) == {1, 2, 3} - online
    assert {node: found.away(node, now) for node in away} == pytest.approx(away)
