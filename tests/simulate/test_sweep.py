from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.simulate.sweep import Factor, factor, points, repeated


def test_values_may_hold_commas_in_brackets_and_units():
    assert factor("a.b = 1, 2 ,3") == Factor("a.b", ("1", "2", "3"))
    assert factor("w=[8, 16],[4]") == Factor("w", ("[8, 16]", "[4]"))
    assert factor("title='a, b',\"c, d\", it's").values == ("'a, b'", '"c, d"', "it's")
    assert factor("lines.dsl.up=10 Mbit/s,20 Mbit/s").values == ("10 Mbit/s", "20 Mbit/s")


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=1,,2", "a=1,"])
def test_what_is_no_factor_is_refused(text):
    with pytest.raises(ConfigError, match=r"allowed: KEY=A,B"):
        factor(text)


def test_a_value_or_a_key_twice_and_too_many_runs_are_refused():
    with pytest.raises(ConfigError, match="twice"):
        factor("a=1,1")
    with pytest.raises(ConfigError, match="a more than once"):
        points([factor("a=1,2"), factor("a=3")])
    many = Factor("a", tuple(map(str, range(40))))
    with pytest.raises(ConfigError, match=r"1,600 runs; allowed: 1,000"):
        points([many, Factor("b", many.values)])


def test_every_combination_is_a_point_of_its_own():
    found = points([factor("a=1,2"), factor("b=x,y,z")])
    assert [point.name for point in found] == ["1", "2", "3", "4", "5", "6"]
    assert len({point.overrides for point in found}) == 6
    assert found[1].overrides == ("a=1", "b=y")


def test_seeds_are_one_more_factor():
    lrs = [factor("training.learning_rate=0.1,0.01")]
    assert repeated(lrs, 1, 42) == lrs
    assert repeated(lrs, 3, 42)[1] == Factor("seed", ("42", "43", "44"))
    assert len(points(repeated(lrs, 3, 42))) == 6
    with pytest.raises(ConfigError, match="--repeats: got 0"):
        repeated(lrs, 0, 42)
    with pytest.raises(ConfigError, match="leave one of the two out"):
        repeated([factor("seed=1,2")], 2, 42)
