from __future__ import annotations

from fedmed.report.gains import UNSEEN
from fedmed.report.page import render
from fedmed.report.record import Report


def test_a_center_that_has_seen_no_case_says_so_and_shows_what_was_validated():
    round_ = {"round": 1, "cohort": ["a", "b"], "joined": ["a", "b"], "train": {"loss": 0.5}, "validation": {"auc": 0.75}}
    report = Report.model_validate({"sites": {"a": {"rounds_joined": 1}, "b": {}}, "rounds": [round_]})
    page = render(report)
    assert UNSEEN in page
    assert "no AUC" not in page
    assert "validation cases of all hospitals" in page
    assert "0.750" in page
