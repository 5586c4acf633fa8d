from __future__ import annotations

import pytest

from fedmed.twin.answers import answers, by_group, waited_for
from fedmed.twin.planning import money
from fedmed.twin.profiles import built_in
from fedmed.twin.use import Spent
from tests.twin.places import topology

HOUR = 3600.0


def test_energy_is_that_of_work_and_idling_and_cost_is_power_cooling_and_wear():
    found = answers(topology({"name": "ward", "count": 4}), {"ward": Spent(2 * HOUR, HOUR, 5.0, 7.0)}, HOUR)
    t4, center = built_in()["t4"], built_in()["a100"]
    ward, middle = found["tiers"]
    assert (ward["who"], ward["tier"], ward["members"], ward["machine"]) == ("ward", "clinics", 4, "t4")
    assert (ward["work"], ward["line"], ward["idle"]) == (0.5, 0.25, 0.25)
    assert ward["kwh"] == pytest.approx((t4.power * 2 + t4.idle * 2) / 1000)
    wear = 4 * t4.price / (3 * 360 * 24)
    assert ward["cost"] == pytest.approx(ward["kwh"] * 0.15 * 1.3 + wear)
    assert (middle["tier"], middle["idle"], middle["kwh"]) == ("center", 1.0, pytest.approx(center.idle / 1000))
    assert found["kwh"] == pytest.approx(ward["kwh"] + middle["kwh"])
    assert (found["work"], found["idle"]) == (0.5, 0.25)
    assert money.of_run(0.0, 1.0, 3 * money.YEAR_S) == 1.0


def test_what_is_not_measured_is_a_prior_and_what_the_scenario_says_is_none():
    box = {"like": "t4", "power": "70 W", "idle": "10 W", "price": "2000 USD"}
    found = answers(topology({"name": "ward", "machine": "box"}, machines={"box": box}), {}, HOUR)
    assert [each.split(":")[0] for each in found["priors"]] == ["a100"]
    assert "power is stated" in found["priors"][0]
    assert [each.split(":")[0] for each in answers(topology(), {}, HOUR)["priors"]] == ["t4", "a100"]


def test_a_run_without_time_idled_throughout():
    found = answers(topology(), {}, 0.0)
    assert [each["idle"] for each in found["tiers"]] == [1.0, 1.0]
    assert found["kwh"] == found["cost"] == 0


def test_sites_are_of_their_members_groups():
    def use(seconds: float) -> dict[str, float]:
        return {"work_s": seconds, "line_s": 1.0, "idle_s": 0.0, "down_bytes": 2.0, "up_bytes": 3.0}

    members = {"a": "ward/1", "b": "ward/2", "c": "far/1"}
    found = by_group(members, {"a": use(5.0), "b": use(6.0), "c": use(7.0)})
    assert found == {"ward": Spent(11.0, 2.0, 4.0, 6.0), "far": Spent(7.0, 1.0, 2.0, 3.0)}


def test_who_is_waited_for_most_stands_first():
    assert list(waited_for(["a/1", "b/1", "b/2", "north"]).items()) == [("b", 2), ("a", 1), ("north", 1)]
