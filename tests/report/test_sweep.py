from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.report.pareto import LETTER, LINE, Cost, plot
from fedmed.report.sweep import label, page, shown


def row(point: str, auc: float | None, seconds: float, **more: Any) -> dict[str, Any]:
    values = {"point": point, "training.learning_rate": point * 2, "status": "complete"}
    return {**values, "auc": auc, "seconds": seconds, "time": "virtual", "bytes": 3e6, **more}


ROWS = [row("1", 0.8, 7200.0, cost=3.0), row("2", 0.7, 9000.0, cost=2.0), row("3", None, 100.0)]


def test_the_page_has_a_chart_for_each_cost_and_all_runs():
    failed = {"point": "4", "training.learning_rate": "<44>", "status": "it <broke>"}
    text = page("Sweep", "<demo>", [*ROWS, failed], [], {"seconds": [0], "bytes": [0], "cost": [0, 1]}, "auc")
    assert "3 of 4 runs came to an end." in text
    for title in ("AUC against virtual time", "AUC against data moved", "AUC against cost"):
        assert f"<strong>{title}</strong>" in text
    assert "it &lt;broke&gt;" in text
    assert "&lt;demo&gt;" in text
    assert "Seeds together" not in text
    assert "hours" in text


def test_seeds_are_shown_with_their_spread_and_without_a_measure_there_is_no_chart():
    seeds = [row("1", None, 7200.0, **{"± seconds": 60.0})]
    text = page("Sweep", "demo", ROWS, seeds, {}, None)
    assert "2\u00a0h\u00a00\u00a0min ±\u00a01\u00a0min\u00a00\u00a0s" in text
    assert "<svg" not in text


def test_times_of_this_machine_are_called_so():
    text = page("Sweep", "demo", [row("1", 0.5, 3.0) | {"time": "of this machine"}], [], {"seconds": [0]}, "auc")
    assert "no scenario has a topology" in text
    assert "AUC against time" in text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("auc", None, "–"),
        ("auc", 0.81234, "0.812"),
        ("bytes", 3e6, "3 MB"),
        ("seconds to auc 0.8", 90.0, "1 min 30 s"),
        ("idle", 0.25, "25%"),
        ("kwh", 0.12345, "0.123 kWh"),
        ("cost", 1234.567, "1,234.57 USD"),
        ("attempts in vain", 3.5, "3.5"),
        ("status", "complete", "complete"),
    ],
)
def test_values_are_as_people_read_them(key, value, text):
    assert shown(key, value) == text


def test_a_run_is_called_by_what_it_was_given():
    assert label({"point": "1", "a": "2", "b": "x", "status": "complete", "auc": 1}) == "2, x"


COST = Cost("seconds", "time", "seconds", 1.0)


@given(st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(1, 100)), min_size=1, max_size=12))
def test_labels_never_cover_each_other_and_stay_in_the_chart(found):
    rows = [row(str(number), auc, seconds) for number, (auc, seconds) in enumerate(found)]
    drawn = str(plot(rows, ["training 0.001"] * len(rows), range(len(rows)), "auc", "AUC", COST))
    texts = [(float(x), float(y)) for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.-]+)" class="label fed">', drawn)]
    assert texts
    wide = LETTER * len("training 0.001")
    for place, (left, top) in enumerate(texts):
        assert 0 <= left <= 360 - wide + 1
        assert 0 <= top <= 236
        for other, at in texts[place + 1 :]:
            assert abs(top - at) >= LINE - 0.02 or abs(left - other) >= wide - 0.02


def test_what_is_not_known_is_not_drawn():
    assert plot([row("1", None, 1.0)], ["a"], [], "auc", "AUC", COST) == ""
