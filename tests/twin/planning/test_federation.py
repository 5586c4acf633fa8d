from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.twin.planning.advice import faults, in_a_month, shortages
from fedmed.twin.planning.federation import plan
from fedmed.twin.planning.money import KWH

LINES = {
    "fibre": {"up": "1 Gbit/s", "down": "1 Gbit/s"},
    "dsl": {"up": "10 Mbit/s", "down": "50 Mbit/s", "latency": "20 ms"},
}
LARGE = {"name": "large", "count": 8, "machine": "a100", "line": "fibre", "cases": {"median": 1000}}
SMALL = {"name": "small", "count": 32, "machine": "t4", "line": "dsl", "cases": {"median": 100}}


def scenario(*clinics, lines=LINES, training=None, privacy=None, federation=None, **topology) -> Scenario:
    given = {"lines": lines, "center": {"machine": "a100", "line": "fibre"}, "clinics": clinics or (LARGE, SMALL)}
    written = {
        "name": "region",
        "title": "Many clinics",
        "rounds": 50,
        "data": {"reader": "phantom"},
        "task": {"name": "segmentation"},
        "training": {"epochs": 1, "batch_size": 16} | (training or {}),
        "privacy": privacy or {},
        "federation": federation or {},
        "topology": given | topology,
    }
    return Scenario.model_validate_json(json.dumps(written))


def test_every_kind_makes_the_same_step_and_has_its_own_time(unet):
    found = plan(scenario(), unet)
    large, small = found.members
    assert large.step.batch == small.step.batch == 16
    assert (large.steps, small.steps) == (63, 7)
    assert large.train_s == pytest.approx(63 * 16 * 3 * unet.operations / (0.19 * 312e12))
    assert small.up_s == pytest.approx(0.02 + 4 * unet.parameters / (10e6 / 8))
    assert (small.binds(), found.last) == ("line", "small")
    assert found.round_s >= max(each.busy_s for each in found.members)


def test_the_centers_line_carries_all_of_them(unet):
    [center] = plan(scenario(), unet).tiers
    assert center.below == 40
    assert center.out_s == pytest.approx(40 * 4 * unet.parameters / (1e9 / 8))
    [center] = plan(scenario(cohort=10, over=1.3), unet).tiers
    assert center.below == 13


@given(st.integers(1, 10_000), st.integers(1, 1000))
def test_what_the_centers_line_must_carry_grows_with_clinics_and_shrinks_with_time(unet, count, hours):
    found = plan(scenario(LARGE | {"count": count}), unet)
    [center] = found.tiers
    up, down = found.needed(center, 3600.0 * hours)
    assert up == pytest.approx(count * found.messages.model * 50 / (3600 * hours * 0.8))
    assert down == pytest.approx(up)
    assert found.round_s >= center.out_s + center.in_s


def test_the_centers_disk_holds_checkpoints_versions_and_its_log(unet):
    found = plan(scenario(), unet)
    [center] = found.tiers
    assert found.room(center).total > (13 + 10) * 4 * unet.parameters / 0.8


def test_lanes_of_16_bits_halve_the_way_up_and_masks_off_changes_nothing_down(unet):
    plain, narrow, bare = (
        plan(scenario(privacy=each), unet).members[1]
        for each in ({}, {"lanes": 16}, {"lanes": 16, "secure_aggregation": "off"})
    )
    assert narrow.up_s - 0.02 == pytest.approx((plain.up_s - 0.02) / 2)
    assert bare.up_s == plain.up_s
    assert narrow.down_s == plain.down_s


def test_a_region_folds_what_its_clinics_send_and_adds_its_own_way(unet):
    region = {"name": "north", "machine": "t4", "line": "fibre"}
    found = plan(scenario(LARGE, SMALL | {"region": "north"}, regions=[region]), unet)
    center, north = found.tiers
    assert (center.below, north.below) == (8 + 1, 32)
    assert found.transfers["small"] > plan(scenario(), unet).transfers["small"]


def test_devices_are_reached_through_their_clinic(unet):
    cart = {"name": "cart", "count": 4, "machine": "agx-orin", "line": "fibre", "cases": {"median": 20}}
    found = plan(scenario(SMALL | {"devices": [cart], "trains": False}), unet)
    clinic, device = found.members
    assert (device.who, device.count, device.tier) == ("small/cart", 128, "device")
    assert (clinic.step, clinic.misfit, clinic.train_s, clinic.steps) == (None, None, 0, 0)
    assert found.transfers["small/cart"] == pytest.approx(found.transfers["small"] + device.transfer_s)
    assert found.last == "small/cart"


def test_slow_rounds_wait_for_the_largest_and_the_slowest(unet):
    slow = LARGE | {"cases": {"median": 1000, "spread": 0.5}, "slower": {"share": 0.1, "times": 3}}
    found = plan(scenario(slow), unet)
    assert found.members[0].slow_s == pytest.approx(3 * 2.276 * found.members[0].train_s, rel=0.02)
    assert found.slow_s > found.round_s


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


def test_energy_and_money_are_of_all_machines(unet):
    found = plan(scenario(), unet)
    assert found.price == 12_000 + 8 * 12_000 + 32 * 2_300
    watts = found.joules / found.round_s
    assert 60 + 8 * 60 + 32 * 11 < watts < 400 + 8 * 400 + 32 * 70
    assert found.year().power == pytest.approx(12 * watts / 1000 * 24 * 30 * KWH)
    assert plan(scenario(cohort=4), unet).joules < found.joules


def test_privacy_of_records_takes_a_gradient_of_each_case(unet):
    private = {"differential_privacy": {"mode": "record-local", "epsilon": 4, "delta": 1e-5, "rate": 0.04}}
    open_gate, bare = {"gate": "off"}, {"gate": "off", "late": "drop"}
    with_it = plan(scenario(LARGE, privacy=private, federation=open_gate), unet)
    without = plan(scenario(LARGE, federation=bare), unet)
    [one], [other] = with_it.members, without.members
    assert one.step.batch == 40
    assert one.step.need.gradients == (1 + one.step.micro) * other.step.need.gradients


def test_without_a_topology_there_is_nothing_to_plan(unet):
    with pytest.raises(ConfigError, match="no topology"):
        plan(scenario().model_copy(update={"topology": None}), unet)


@pytest.mark.parametrize("line", [{"up": "1e-300 bit/s", "down": "1 Gbit/s"}, {"up": "0.001 bit/s", "down": "1 Gbit/s"}])
def test_a_round_that_never_ends_is_refused_with_what_is_slow(unet, line):
    with pytest.raises(ConfigError, match=r"small: a round would take .* messages are"):
        plan(scenario(lines=LINES | {"dsl": line}), unet)
