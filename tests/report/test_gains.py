from __future__ import annotations

import html

import pytest

from fedmed.report.gains import UNSEEN, UNTESTED
from fedmed.report.page import render
from fedmed.report.record import Report


@pytest.mark.parametrize(("mode", "said"), [("malicious", UNSEEN), ("hbc", UNSEEN), ("off", UNTESTED)])
def test_a_center_that_has_seen_no_case_says_so_and_shows_what_was_validated(mode: str, said: str):
    round_ = {"round": 1, "cohort": ["a", "b"], "joined": ["a", "b"], "train": {"loss": 0.5}, "validation": {"auc": 0.75}}
    told = {"sites": {"a": {"rounds_joined": 1}, "b": {}}, "rounds": [round_], "privacy": {"secure_aggregation": mode}}
    report = Report.model_validate(told)
    page = render(report)
    assert said in html.unescape(page)
    assert "no AUC" not in page
    assert "validation cases of all hospitals" in page
    assert "0.750" in page
