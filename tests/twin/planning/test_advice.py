from __future__ import annotations

from fedmed.twin.planning.advice import faults, in_a_month, shortages
from fedmed.twin.planning.federation import plan
from tests.twin.planning.regions import LARGE, LINES, SMALL, scenario


def test_a_model_that_does_not_fit_is_a_fault_of_each_kind_that_it_does_not_fit(unet):
    tiny = {"box": {"like": "jetson-nano", "memory": "800 MB"}}
    found = plan(scenario(LARGE, SMALL | {"machine": "box"}, machines=tiny), unet)
    [fault] = faults(found)
    assert (fault.who, fault.binds) == ("small", "memory")
    assert "720 MB" in fault.got
    assert fault.todo.startswith("one of orin-nano, t4")
    assert list(faults(plan(scenario(), unet))) == []


def test_a_month_that_ends_early_and_a_deadline_that_is_missed_are_told_with_what_would_do(unet):
    capped = LINES | {"dsl": LINES["dsl"] | {"cap": "5 GB"}}
    found = plan(scenario(lines=capped), unet)
    [month] = [each for each in shortages(found, None) if each.binds == "month"]
    assert month.who == "small"
    assert "at most 20 rounds" in month.todo
    assert in_a_month(found) == 50 * 2 * 4 * unet.parameters
    late = list(shortages(plan(scenario(), unet), 600.0))
    assert {each.who for each in late} == {"large", "small", "center"}
    [slow] = [each for each in shortages(plan(scenario(), unet), 3000.0) if each.who == "small"]
    assert (slow.binds, "a line of" in slow.todo, "Mbit/s" in slow.todo) == ("line", True, True)
    assert not [each for each in shortages(plan(scenario(), unet), 1e9) if each.binds != "month"]
