from __future__ import annotations

import numpy as np

from fedmed.config.scenario import Rounds
from fedmed.twin.events import Events
from fedmed.twin.meter import MONTH_S, Meter
from fedmed.twin.world import LOST
from tests.twin.places import world
from tests.twin.test_columns import terms

MB = 1e6


def capped(cap):
    return world(lines={"slow": {"up": "8 Mbit/s", "down": "16 Mbit/s", "cap": cap}})


def test_what_is_beyond_the_cap_waits_for_the_next_month():
    meter, node = Meter(capped("10 MB")), np.array([1])
    assert meter.carry("down", node, np.array([0.0]), 8 * MB) == 4.0
    assert meter.carry("up", node, np.array([10.0]), 2 * MB) == 12.0
    assert meter.carry("up", node, np.array([20.0]), 3 * MB) == MONTH_S + 3
    assert meter.carry("down", np.array([2]), np.array([20.0]), 8 * MB) == 24.0, "each has its own line"
    assert meter.carry("down", node, np.array([MONTH_S + 10]), 7 * MB) == MONTH_S + 10 + 3.5
    assert meter.carry("down", node, np.array([MONTH_S + 20]), 1 * MB) == 2 * MONTH_S + 0.5


def test_what_is_larger_than_a_cap_takes_as_many_months():
    assert Meter(capped("10 MB")).carry("down", np.array([0]), np.array([5.0]), 25 * MB) == 2 * MONTH_S + 2.5


def test_within_the_cap_nothing_changes():
    place, nodes = capped("1 GB"), np.arange(4)
    plain = place.legs(nodes, np.zeros(4), MB, np.full(4, 10.0), MB)
    counted = Meter(place).legs(nodes, np.zeros(4), MB, np.full(4, 10.0), MB)
    assert (counted.there.tolist(), counted.heard.tolist()) == (plain.there.tolist(), plain.heard.tolist())


def test_a_member_whose_line_has_carried_its_month_is_missing_for_that():
    rules = Rounds(deadline_s=60)
    rounds = [each.joined.size for each in Events(capped("4 MB"), terms(rules)).rounds(2)]
    assert rounds == [4, 4]
    rounds = Events(capped("4 MB"), terms(rules), reasons=True).rounds(3)
    last = [next(rounds) for _ in range(3)][-1]
    assert last.joined.size == 0
    assert set(last.missing.values()) == {f"no answer by the deadline of 60 s: {LOST[-1]}"}
