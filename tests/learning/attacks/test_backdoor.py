from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.attackers import Attacker, Trigger
from fedmed.learning.attacks.backdoor import changed, stamped
from tests.learning.parts import cases

SHAPES = st.sampled_from([(12,), (9, 8), (3, 9, 8)])


@given(SHAPES, st.integers(1, 6), st.sampled_from([np.float32, np.uint8]), st.sampled_from([None, 7.0]))
def test_a_trigger_changes_only_its_patch(shape, size, kind, value):
    before = cases(6, shape=shape, kind=kind)
    after = stamped(before, np.array([1, 4]), Trigger(size=size, value=value))
    assert after.x.dtype == before.x.dtype
    axes = min(2, len(shape))
    outside = np.ones(shape, bool)
    outside[(..., *(slice(-size, None),) * axes)] = False
    assert np.array_equal(after.x[:, outside], before.x[:, outside])
    for row in range(6):
        inside = after.x[row][~outside]
        if row in (1, 4):
            assert (inside == (before.x[row].max() if value is None else value)).all()
        else:
            assert np.array_equal(inside, before.x[row][~outside])
    assert after.y is before.y


def test_the_trigger_of_a_volume_is_a_cube():
    before = replace(cases(2, shape=(6, 7, 8)), spatial=3)
    after = stamped(before, np.array([0]), Trigger(size=2, value=-5.0))
    cube = np.pad(np.ones((2, 2, 2), bool), ((4, 0), (5, 0), (6, 0)))
    assert np.array_equal(after.x[0] == -5.0, cube)


@pytest.mark.parametrize("value", [300.0, -4.0])
def test_an_intensity_that_the_images_cannot_hold_is_the_nearest_that_they_can(value):
    before = cases(3, shape=(4, 4), kind=np.uint8)
    after = stamped(before, np.arange(3), Trigger(size=1, value=value))
    assert set(after.x[:, -1, -1].tolist()) == {255 if value > 0 else 0}


def test_backdoored_cases_are_called_what_the_attacker_wants():
    before, rows = cases(10, shape=(8, 8)), np.array([0, 3])
    attack = Attacker(who="a", kind="backdoor", target="b")
    after = changed(before, rows, attack)
    assert after.y[rows].tolist() == [1, 1]
    assert np.array_equal(np.delete(after.y, rows), np.delete(before.y, rows))
    assert np.array_equal(after.x, stamped(before, rows, attack.trigger).x)
