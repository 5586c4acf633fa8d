from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.attackers import Attacker
from fedmed.learning.attacks.label_flip import changed
from tests.learning.parts import cases

ROWS = st.lists(st.integers(0, 19), unique=True).map(lambda rows: np.array(sorted(rows), np.int64))


@given(ROWS, st.integers(2, 6))
def test_turning_the_classes_round_twice_is_nothing(rows, classes):
    before, attack = cases(20, classes=classes), Attacker(who="a", kind="label-flip")
    once = changed(before, rows, attack)
    assert changed(once, rows, attack).y.tolist() == before.y.tolist()
    assert once.y[rows].tolist() == (classes - 1 - before.y[rows]).tolist()
    kept = np.setdiff1d(np.arange(20), rows)
    assert once.y[kept].tolist() == before.y[kept].tolist()


@given(ROWS)
def test_one_class_is_called_another_and_all_else_stays(rows):
    before = cases(20, classes=4)
    after = changed(before, rows, Attacker(who="a", kind="label-flip", source="b", target="d"))
    flipped = np.isin(np.arange(20), rows) & (before.y == 1)
    assert after.y.tolist() == np.where(flipped, 3, before.y).tolist()
    assert after.x is before.x
