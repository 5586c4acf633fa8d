from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.twin.paces import paces
from fedmed.twin.planning.cost import Cost
from fedmed.twin.planning.federation import plan
from tests.twin.planning.regions import LARGE, SMALL, scenario

COST = Cost("unet", (1, 64, 64, 64), 10**6, 10**6, 1e11, (10**7,) * 20, (5 * 10**6,) * 20)
BOX = {"box": {"like": "t4", "memory": "600 MB"}}


def test_virtual_time_and_the_plan_train_equally_fast():
    found, planned = paces(scenario(), COST), plan(scenario(), COST)
    for each in planned.members:
        assert each.train_s == pytest.approx(found[each.profile.name] * each.steps * 16)


def test_every_machine_that_may_be_named_has_a_pace():
    found = paces(scenario(machines=BOX), COST)
    assert {"a100", "t4", "cpu", "box"} <= set(found)
    assert all(0 < each < 1e6 for each in found.values())
    assert found["h100"] < found["t4"] < found["cpu"]


def test_a_measured_step_is_the_pace():
    own = {"box": {"like": "t4", "step": "80 ms"}}
    assert paces(scenario(LARGE | {"machine": "box"}, machines=own), COST)["box"] == pytest.approx(0.08 / 16)


def test_who_trains_on_a_machine_that_is_too_small_is_named_at_once():
    cart = {"name": "cart", "machine": "box", "line": "fibre"}
    wrong = scenario(LARGE | {"machine": "box"}, SMALL | {"devices": [cart]}, machines=BOX)
    with pytest.raises(ConfigError, match=r"(?s)large: unet needs .* box has 540 MB.*small/cart: unet needs") as refused:
        paces(wrong, COST)
    assert "one of jetson-nano" in str(refused.value)


def test_a_clinic_that_trains_nothing_needs_no_memory():
    cart = {"name": "cart", "machine": "t4", "line": "fibre"}
    idle = SMALL | {"machine": "box", "trains": False, "devices": [cart]}
    assert paces(scenario(LARGE, idle, machines=BOX), COST)["box"] > 0


def test_without_a_topology_there_are_no_machines():
    with pytest.raises(ConfigError, match="no topology"):
        paces(scenario().model_copy(update={"topology": None}), COST)
