from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.simulate.targets import own_target, reached, read_target

ROUNDS = [
    {"round": 1, "seconds": 10, "validation": {"auc": 0.5}},
    {"round": 2, "seconds": 20, "validation": None},
    {"round": 3, "seconds": 30, "validation": {"auc": 0.9}},
]


def test_time_to_a_target_is_of_the_first_round_that_has_it():
    assert reached(ROUNDS, ("auc", 0.5)) == {"metric": "auc", "least": 0.5, "round": 1, "seconds": 10}
    assert reached(ROUNDS, ("auc", 0.8)) == {"metric": "auc", "least": 0.8, "round": 3, "seconds": 60}
    for target in (("auc", 0.95), ("dice", 0.1)):
        assert reached(ROUNDS, target) == {"metric": target[0], "least": target[1], "round": None, "seconds": None}
    assert reached(ROUNDS, None) is None


def test_where_nobody_says_it_is_a_little_below_the_best():
    assert own_target(ROUNDS) == ("auc", pytest.approx(0.89))
    assert own_target(ROUNDS[1:2]) is None


def test_a_target_is_a_measure_and_a_number_above_0_to_1():
    assert read_target(None) is None
    assert read_target(" auc = 0.9") == ("auc", 0.9)
    for text in ("auc", "auc=", "=0.9", "auc=nan", "auc=inf", "auc=0", "auc=1.1", "loss=0.3", "auc=0.9=1"):
        with pytest.raises(ConfigError, match="auc or dice"):
            read_target(text)
