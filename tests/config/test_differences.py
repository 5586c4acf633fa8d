from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.differences import between, differences
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


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=200), st.text("xy", max_size=200))
def test_no_change_is_too_far_into_a_long_text(one, other):
    before, after = ({"a": {"text": text, "list": [1]}, "b": {}} for text in (one, other))
    found = between(before, after)
    assert (found == []) == (one == other)
    for line in found:
        old, _, new = line.removeprefix("a.text: ").partition(" -> ")
        assert old != new


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab", max_size=3), lambda of: st.lists(of, max_size=2)
)


@given(st.dictionaries(st.sampled_from("abcd"), JSON), st.dictionaries(st.sampled_from("abcd"), JSON))
def test_every_key_that_differs_is_there(one, other):
    keys = {key for key in {**one, **other} if (key in one, one.get(key)) != (key in other, other.get(key))}
    bools = {key for key in keys if key in one and key in other and repr(one[key]) == repr(other[key])}
    assert {line.partition(":")[0] for line in between(one, other)} >= keys - bools


def test_of_a_list_of_sections_only_what_changed_is_told():
    one = {"groups": [{"name": "a", "count": 1}, {"name": "b", "count": 2}], "none": [], "mixed": [{"a": 1}, 3]}
    other = {
        "groups": [{"name": "a", "count": 1}, {"name": "b", "count": 3}, {"name": "c"}],
        "none": [{"a": 1}],
        "mixed": [3],
    }
    assert between(one, other) == [
        "groups.1.count: 2 -> 3",
        "none: [] -> absent",
        'mixed: [{"a": 1}, 3] -> [3]',
        'groups.2.name: absent -> "c"',
        "none.0.a: absent -> 1",
    ]
