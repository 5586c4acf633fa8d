from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.serving.engines.plans import PlanKey, Plans

KEY = PlanKey("a" * 64, "10.3.0", "sm87", "fp16", 8)


def test_a_plan_is_found_again(tmp_path):
    plans = Plans(tmp_path / "plans")
    assert plans.get(KEY) is None
    plans.put(KEY, b"plan")
    plans.put(KEY, b"another")
    assert plans.get(KEY) == b"another"
    assert (tmp_path / "plans").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize(
    "changes",
    [{"model_sha256": "b" * 64}, {"version": "10.16.0"}, {"architecture": "sm75"}, {"precision": "int8"}, {"batch": 1}],
)
def test_one_for_something_else_is_not_found_even_under_the_name(tmp_path, changes):
    plans, other = Plans(tmp_path), replace(KEY, **changes)
    plans.put(KEY, b"plan")
    assert plans.get(other) is None
    (tmp_path / KEY.name).rename(tmp_path / other.name)
    assert plans.get(other) is None
    assert not (tmp_path / other.name).exists()


@given(st.integers(0, 35), st.integers(1, 255))
def test_a_damaged_one_is_removed(tmp_path_factory, place, change):
    plans = Plans(tmp_path_factory.mktemp("plans"))
    plans.put(KEY, b"plan")
    path = plans.folder / KEY.name
    content = bytearray(path.read_bytes())
    content[place] ^= change
    path.write_bytes(content)
    assert plans.get(KEY) is None
    assert not path.exists()


def test_half_a_file(tmp_path):
    plans = Plans(tmp_path)
    (tmp_path / KEY.name).write_bytes(b"half")
    assert plans.get(KEY) is None


def test_plans_of_models_that_are_gone(tmp_path):
    plans, other = Plans(tmp_path), replace(KEY, model_sha256="b" * 64)
    plans.put(KEY, b"plan")
    plans.put(other, b"plan")
    assert plans.spare({"a" * 64}) == [tmp_path / other.name]
    assert plans.get(KEY) == b"plan"
