from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedmed.federation.pace import Presence, Wait
from fedmed.twin.limits import Own, Same, given_up
from tests.twin.places import world

STEP_S = 60.0


def found_by_looking(place, node, began, deadline_s, is_needed):
    """As the center finds it: it looks again and again at who is there, at every change and when the waiting ends.

    At steps alone it would miss who is back for a second, which begins another grace.
    """
    presence, now = Presence({}, {}), began
    while True:
        silent, until = place.silent(np.array([node]), np.array([now]))
        presence = presence.looked(now, [node], [] if silent[0] else [node])
        due = presence.due(node, began, Wait(deadline_s, ""), 0.0, is_needed)
        if now >= due:
            return now
        now = min(now + STEP_S, float(until[0]), due)


@settings(max_examples=50, derandomize=True)
@given(
    st.integers(0, 9),
    st.integers(0, 50),
    st.sampled_from([200.0, 3000.0]),
    st.sampled_from(["3 min", "15 min", "40 min"]),
    st.booleans(),
)
@example(node=0, hours=13, deadline_s=3000.0, spell="3 min", is_needed=False)
@example(node=5, hours=13, deadline_s=3000.0, spell="3 min", is_needed=False)  # back for a second after 151 s
def test_who_is_given_up_when_is_what_the_center_finds_by_looking(node, hours, deadline_s, spell, is_needed):
    place = world({"name": "away", "count": 10, "presence": {"share": 0.5, "spell": spell}})
    began = 3600.0 * hours
    nodes, moment = np.array([node]), np.array([began])
    free = np.where(place.there(nodes, moment), place.silent(nodes, moment)[1], -np.inf)
    ends = given_up(place, nodes, began, np.array([deadline_s]), {}, free)[is_needed][0]
    looked = found_by_looking(place, node, began, deadline_s, is_needed)
    assert ends == pytest.approx(looked, abs=1e-3)


def test_what_was_seen_of_a_member_decides_how_long_it_is_waited_for():
    place = world()
    limits, nodes = Own(place), np.array([0, 1])
    first = limits.begin(nodes, 0.0, [500.0, 500.0], 1e6)
    assert first.due(True) == first.due(False) == pytest.approx(600 + 5 * 500 + 2 * 20)
    assert "nothing measured yet" in first.had(0)
    first.expect(np.array([30.0, 60.0]))
    for member, at in enumerate((30.0, 60.0)):
        first.heard(member, at)
        first.left(member)
    assert first.due(True) == 0.0
    second = limits.begin(nodes, 100.0, [500.0, 500.0], 1e6)
    assert second.due(False) == 100 + 10 * 60
    second.left(1)
    assert second.due(False) == 100 + 10 * 30
    second.over([0], 500.0)
    third = limits.begin(nodes, 1000.0, [500.0, 500.0], 1e6)
    third.left(1)
    assert third.due(False) == 1000 + 2 * 10 * 30, "it missed a deadline"


def test_who_is_away_has_missed_nothing_and_its_absence_is_no_part_of_its_time():
    dark = [{"kind": "dark", "who": "large/1", "at": "10 s", "lasts": "200 s"}]
    place = world(faults=dark)
    limits, nodes = Own(place), np.array([0])
    first = limits.begin(nodes, 0.0, [500.0], 1e6)
    first.over([0], 100.0)
    assert limits.pasts == {}
    first.expect(np.array([260.0]))
    first.heard(0, 260.0, is_late=True)
    assert limits.pasts[0].seen[0].seconds == 60.0


def test_a_grace_is_one_for_each_absence_however_many_rounds_it_lasts():
    dark = [{"kind": "dark", "who": "large/1", "at": "0 s", "lasts": "1 d"}]
    limits, nodes = Own(world(faults=dark)), np.array([0])
    assert limits.begin(nodes, 0.0, [1.0], 0.0).due(False) == 360.0
    assert limits.begin(nodes, 500.0, [1.0], 0.0).due(False) == 500.0


def test_one_time_for_all():
    limit = Same(60.0).begin(np.array([0, 1]), 5.0, [1.0, 1.0], 1.0)
    limit.expect(np.array([1.0, 2.0]))
    limit.heard(0, 1.0)
    limit.left(0)
    limit.over([1], 65.0)
    assert (limit.due(False), limit.had(1)) == (65.0, "by the deadline of 60 s")
