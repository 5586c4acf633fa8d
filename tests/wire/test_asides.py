from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.wire.asides import MOST_FIGURES, Aside, heard_by, is_heard, read, say

FIGURES = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    min_size=1,
    max_size=MOST_FIGURES,
)


@given(st.integers(0, 2**40), st.integers(0, 2**40), FIGURES)
def test_it_comes_back_in_its_order(number, cases, figures):
    made = Aside(number, cases, figures)
    found = read(json.loads(json.dumps(made.as_json())))
    assert found == made
    assert list(found.figures) == list(figures)


@pytest.mark.parametrize(
    "change",
    [
        {"round": -1}, {"round": True}, {"round": 1.0}, {"cases": 2**60}, {"cases": None}, {"figures": {}}, {"figures": []},
        {"figures": {"Doe^Jane": 1.0}}, {"figures": {"auc\n": 1.0}}, {"figures": {"auc": math.nan}},
        {"figures": {"auc": True}}, {"figures": {"auc": "1"}}, {"more": 1},
        {"figures": {f"f{number}": 1.0 for number in range(MOST_FIGURES + 1)}},
    ],
)  # fmt: skip
def test_what_is_none(change):
    with pytest.raises(ValueError, match="no aside"):
        read({"round": 1, "cases": 2, "figures": {"auc": 0.5}, **change})


def test_who_listens_is_told_and_nobody_else():
    heard: list[Aside] = []
    say(Aside(0, 1, {"auc": 0.1}))
    assert not is_heard()
    with heard_by(heard.append):
        assert is_heard()
        say(Aside(1, 1, {"auc": 0.2}))
    assert not is_heard()
    assert heard == [Aside(1, 1, {"auc": 0.2})]
