from __future__ import annotations

import pytest

from fedmed.config.loading import parse
from fedmed.config.own_metrics import MOST_METRICS, TAKEN


def test_none_unless_they_are_declared(valid):
    assert parse(valid, "f.yaml").training.metrics == {}


def test_name_and_bound(valid):
    override = "training.metrics={gradient_norm: 100, accuracy: 1, _mu-2: 1e-3}"
    training = parse(valid, "f.yaml", [override]).training
    assert training.metrics == {"gradient_norm": 100.0, "accuracy": 1.0, "_mu-2": 1e-3}
    assert hash(training) == hash(parse(valid, "f.yaml", [override]).training)
    assert parse(valid, "f.yaml", ["training.metrics.norm=5"]).training.metrics == {"norm": 5.0}


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_a_name_that_a_round_has_already_is_refused(valid, faults, name):
    [fault] = faults(valid, f"training.metrics={{{name}: 1}}")
    assert f"training.metrics: got the names {name}, which a round has already; take others than auc" in fault


@pytest.mark.parametrize("name", ["a b", '""', "7th", "-x", "a.b", "é", "a" * 65, r'"a\nb"'])
def test_a_name_that_is_none_is_refused(valid, faults, name):
    [fault] = faults(valid, f"training.metrics={{{name}: 1}}")
    assert "got the names " in fault
    assert "allowed: 1 to 64 letters, digits, _ and -" in fault


@pytest.mark.parametrize(
    ("bound", "got"),
    [
        ("0", "got 0"),
        ("-1", "got -1"),
        ("high", 'got "high"'),
        ("null", "got null"),
        ("true", "got true"),
        ("1e31", "got 1"),
    ],
)
def test_a_bound_that_is_none_is_refused(valid, faults, bound, got):
    [fault] = faults(valid, f"training.metrics={{norm: {bound}}}")
    assert "training.metrics.norm: " + got in fault
    assert "allowed: a number at least 1e-30 and at most 1e+30" in fault


def test_a_bound_that_is_not_finite_is_refused(valid, faults):
    [fault] = faults(valid, "training.metrics={norm: .inf}")
    assert "norm" in fault


def test_too_many_and_all_faults_at_once(valid, faults):
    names = ", ".join(f"n{number}: 1" for number in range(MOST_METRICS + 1))
    [fault] = faults(valid, f"training.metrics={{{names}}}")
    assert f"got {MOST_METRICS + 1} numbers, allowed: at most {MOST_METRICS}" in fault
    [fault] = faults(valid, "training.metrics={loss: 1, a b: 1}")
    assert "'a b'" in fault
    assert "loss, which a round has already" in fault


def test_something_else_than_a_section_is_refused(valid, faults):
    [fault] = faults(valid, "training.metrics=[norm]")
    assert 'training.metrics: got ["norm"], allowed: a section of keys' in fault
