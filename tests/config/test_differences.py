from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.differences import differences
from fedmed.config.loading import parse


def test_each_changed_key_is_named_with_both_values(valid):
    a = parse(valid, "a")
    b = parse(valid, "b", ["training.learning_rate=0.5", "strategy.options={tau: 1}", "federation.quorum.required=[va]"])
    assert differences(a, b) == [
        "training.learning_rate: 0.001 -> 0.5",
        "strategy.options: {} -> absent",
        'federation.quorum.required: ["cleveland", "va"] -> ["va"]',
        "strategy.options.tau: absent -> 1",
    ]


@given(st.integers(0, 5), st.integers(0, 5))
def test_equal_scenarios_alone_have_no_differences(valid, one, other):
    a, b = (parse(valid, "x", [f"seed={seed}"]) for seed in (one, other))
    assert (differences(a, b) == []) == (a == b)
