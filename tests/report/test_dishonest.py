from __future__ import annotations

from typing import Any

from fedmed.report.dishonest import line
from fedmed.report.page import render
from fedmed.report.record import Report
from tests.report import sample
from tests.report.test_virtual import shown

FEW: dict[str, Any] = {"kind": "sum over too few clinics", "how": "a <cohort> of two", "told": 3, "answered": []}
FEW |= {"refused": {"sum over too few clinics": 3}, "example": "Refused: sum over too few clinics: got a sum over 2"}
OTHER: dict[str, Any] = {"kind": "round used before", "how": "a round once more", "told": 2, "answered": []}
OTHER |= {"refused": {"round used before": 1, "SILENT": 1}}


def lied(*kinds: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = {"told": sum(each["told"] for each in kinds), "answered": 0, "kinds": list(kinds)}
    return sample.masked() | {"lies": found | {"sums": 7, "least": 3, "fewest": 4} | more}


def test_it_says_which_lies_were_told_and_as_what_they_were_refused():
    words = shown(lied(FEW, OTHER))
    said = "The center told 5 lies of 2 kinds beside the honest rounds: sites refused every one."
    assert words.count(said) == 2, "at the top, and where the lies are listed"
    assert "The smallest of 7 sums that the rounds asked for was over 4 sites; allowed: 3 and more." in words
    assert "a <cohort> of two 3 sum over too few clinics nobody" in words
    assert "a round once more 2 round used before (1), SILENT (1) nobody" in words
    assert 'role="alert"' not in render(Report.model_validate(lied(FEW))).split("</style>")[1]


def test_who_answered_is_told_in_red():
    bad = FEW | {"refused": {}, "answered": ["va in round 2", "north in round 3"]}
    made = lied(bad, OTHER, answered=2)
    words = shown(made)
    assert "SITES ANSWERED 2." in line(Report.model_validate(made))
    assert "Answered: a <cohort> of two (sum over too few clinics): va in round 2 and north in round 3." in words
    assert "a <cohort> of two 3 – va in round 2 and north in round 3" in words
    assert 'class="banner bad" role="alert"' in render(Report.model_validate(made)).split("</style>")[1]


def test_before_any_sum_nothing_is_said_of_the_smallest():
    assert line(Report.model_validate(lied(FEW, fewest=None))).endswith("sites refused every one.")


def test_of_an_honest_center_nothing_is_said():
    assert line(Report.model_validate(sample.masked())) == ""
    assert "must not" not in shown(sample.masked())
