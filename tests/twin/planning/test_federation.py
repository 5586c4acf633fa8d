from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.scenario import Buffer
from fedmed.errors import ConfigError
from fedmed.twin.planning.federation import plan
from fedmed.twin.planning.money import KWH
from tests.twin.planning.regions import LARGE, LINES, SMALL, scenario


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


@given(st.integers(3, 10_000), st.integers(1, 1000))
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


def test_energy_and_money_are_of_all_machines(unet):
    found = plan(scenario(), unet)
    assert found.price == 12_000 + 8 * 12_000 + 32 * 2_300
    watts = found.joules / found.round_s
    assert 60 + 8 * 60 + 32 * 11 < watts < 400 + 8 * 400 + 32 * 70
    assert found.year().power == pytest.approx(12 * watts / 1000 * 24 * 30 * KWH)
    assert plan(scenario(cohort=4), unet).joules < found.joules


def test_without_a_topology_there_is_nothing_to_plan(unet):
    with pytest.raises(ConfigError, match="no topology"):
        plan(scenario().model_copy(update={"topology": None}), unet)


def test_a_round_that_never_ends_is_refused_with_what_is_slow(unet):
    line = {"up": "1 bit/s", "down": "1 Gbit/s"}
    with pytest.raises(ConfigError, match=r"small: a round would take .* messages are"):
        plan(scenario(lines=LINES | {"dsl": line}), unet)


def test_rounds_that_wait_for_a_buffer_alone_are_not_reckoned(unet):
    buffered = scenario().federation.model_copy(update={"buffer": Buffer(size=2)})
    found = scenario().model_copy(update={"federation": buffered})
    with pytest.raises(ConfigError, match=r"has federation\.buffer, and a plan is of rounds that wait for all"):
        plan(found, unet)
