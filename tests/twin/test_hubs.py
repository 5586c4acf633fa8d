from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fedmed.tiers.round import Rules
from fedmed.twin.hubs import settle

RULES = Rules(wait_s=100, grace_s=60)
NEVER = (math.inf, math.inf, "")
times = st.one_of(st.floats(0, 300), st.just(math.inf))


def test_who_is_there_before_the_clinic_and_its_grace_is_in():
    hub, over = settle(["a", "b", "c"], 0.0, 20.0, [(10.0, math.inf, ""), (80.0, math.inf, ""), (81.0, math.inf, "")], RULES)
    assert hub.joined == ("a", "b")
    assert set(hub.missing) == {"c"}
    assert over == 80.0


def test_a_clinic_waits_for_itself_and_not_longer_than_its_rules_for_devices():
    hub, over = settle(["a"], 5.0, 500.0, [(400.0, math.inf, "")], RULES)
    assert (hub.joined, over) == ((), 500.0)
    assert "within 100 s" in hub.missing["a"]


def test_who_says_that_nothing_comes_is_not_waited_for():
    hub, over = settle(["a", "b"], 0.0, 1.0, [(math.inf, 3.0, "its disk was full"), (2.0, math.inf, "")], RULES)
    assert hub.joined == ("b",)
    assert hub.missing == {"a": "its disk was full"}
    assert over == 3.0


@given(st.lists(times, min_size=1, max_size=6), st.floats(0, 300), st.floats(0, 50))
def test_all_are_accounted_for_and_the_wait_is_bounded(there, done, later):
    names = [f"d{place}" for place in range(len(there))]
    hub, over = settle(names, 0.0, done, [(at, math.inf, "") for at in there], RULES)
    assert {*hub.joined, *hub.missing} == set(names)
    assert not set(hub.joined) & set(hub.missing)
    assert done <= over <= max(done, min(RULES.wait_s, done + RULES.grace_s))
    again, after = settle(names, 0.0, done, [(at + later, math.inf, "") for at in there], RULES)
    assert after >= over or len(again.joined) < len(hub.joined)
