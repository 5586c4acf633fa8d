from __future__ import annotations

import pytest

from fedmed.twin.planning.federation import plan
from fedmed.twin.planning.members import steps_of
from tests.twin.planning.regions import LARGE, scenario


def test_lanes_of_16_bits_halve_the_way_up_and_masks_off_changes_nothing_down(unet):
    plain, narrow, bare = (
        plan(scenario(privacy=each), unet).members[1]
        for each in ({}, {"lanes": 16}, {"lanes": 16, "secure_aggregation": "off"})
    )
    assert narrow.up_s - 0.02 == pytest.approx((plain.up_s - 0.02) / 2)
    assert bare.up_s == plain.up_s
    assert narrow.down_s == plain.down_s


def test_slow_rounds_wait_for_the_largest_and_the_slowest(unet):
    slow = LARGE | {"cases": {"median": 1000, "spread": 0.5}, "slower": {"share": 0.1, "times": 3}}
    found = plan(scenario(slow), unet)
    assert found.members[0].slow_s == pytest.approx(3 * 2.276 * found.members[0].train_s, rel=0.02)
    assert found.slow_s > found.round_s


def test_privacy_of_records_takes_a_gradient_of_each_case(unet):
    private = {"differential_privacy": {"mode": "record-local", "epsilon": 4, "delta": 1e-5, "rate": 0.04}}
    open_gate, bare = {"gate": "off"}, {"gate": "off", "late": "drop"}
    with_it = plan(scenario(LARGE, privacy=private, federation=open_gate), unet)
    without = plan(scenario(LARGE, federation=bare), unet)
    [one], [other] = with_it.members, without.members
    assert one.step.batch == 40
    assert one.step.need.gradients == (1 + one.step.micro) * other.step.need.gradients


def test_passes_over_patches_are_steps_and_the_last_batch_is_smaller(unet):
    assert steps_of(scenario(), 33) == 3
    assert steps_of(scenario(training={"epochs": 2}), 33) == 6
    assert steps_of(scenario(training={"epochs": None, "steps": 7}), 33) == 7
