from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import DataError
from fedmed.sites.cases import Site
from fedmed.sites.root import ROOT, hold_root
from tests.learning.parts import cases

EMPTY = np.array([], np.int64)


def site(name: str, count: int, seed: int) -> Site:
    """Three cases a patient, each case with a number of its own."""
    made = cases(count, seed)
    made = replace(made, x=made.x + seed, patient=np.array([f"{name}-{row // 3}" for row in range(count)]))
    return Site(name, made, made.take(EMPTY), made.take(EMPTY), version="digest")


@given(st.floats(0.1, 0.5), st.integers(0, 2**62))
def test_the_root_set_is_of_no_site_and_nothing_is_lost(share, seed):
    before = [site("north", 30, 1), site("south", 60, 2)]
    root, after = hold_root(before, share, seed)
    assert root.name == ROOT
    for was, now in zip(before, after, strict=True):
        taken = set(was.train.patient) - set(now.train.patient)
        assert taken <= set(root.train.patient)
        assert not set(root.train.patient) & set(now.train.patient)
        assert len(now.train) > 0
        assert now.version == "", "the digest was of other cases"
        assert now.test is was.test
    total = sum(len(each.train) for each in before)
    assert len(root.train) + sum(len(each.train) for each in after) == total
    assert abs(len(root.train) - share * total) < 0.1 * total


def test_the_same_seed_takes_the_same():
    one, two, other = (hold_root([site("north", 60, 1)], 0.2, seed)[0].train.x.tolist() for seed in (7, 7, 8))
    assert one == two != other


def test_a_set_with_a_split_of_its_own_gives_of_its_training_cases():
    made = site("north", 30, 1)
    own = replace(made, train=replace(made.train, split=np.full(30, "train")))
    assert len(hold_root([own], 0.2, 1)[0].train) == 6


def test_a_share_that_is_no_patient_is_refused():
    with pytest.raises(DataError, match=r"strategy\.options\.root_share is 0\.01, .*give a larger share"):
        hold_root([site("north", 6, 1)], 0.01, 1)
