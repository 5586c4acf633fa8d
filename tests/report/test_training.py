from __future__ import annotations

import html
import re

import pytest

from fedmed.report.record import Report, Score
from fedmed.report.training import section
from tests.report import sample


def with_own(values: dict[str, list[object]]) -> Report:
    """A masked run whose rounds tell numbers of the researcher's own."""
    made = sample.masked()
    made["scenario"]["training"]["metrics"] = dict.fromkeys(values, 100.0)
    for name, told in values.items():
        for each, value in zip(made["rounds"], told, strict=False):
            each["train"][name] = value
    return Report.model_validate(made)


def titles(report: Report) -> list[str]:
    return [html.unescape(each) for each in re.findall(r'aria-label="(.+?) by round"', section(report))]


def test_each_number_of_the_researchers_own_has_a_chart():
    usual = titles(Report.model_validate(sample.masked()))
    assert titles(with_own({"update_norm": [1.0, 2.5], "<b>": [-3, None, 4]})) == [*usual, "update_norm", "<b>"]
    assert "<b>" not in section(with_own({"<b>": [1.0]}))


def test_one_that_no_site_told_has_none():
    usual = titles(Report.model_validate(sample.masked()))
    assert titles(with_own({"silent": [None, None], "words": ["high", [1.0]], "beyond": [10**400, float("inf")]})) == usual


def test_a_number_below_zero_is_drawn_within_the_chart():
    chart = section(with_own({"drift": [-40.0, -10.0, 20.0]})).split('aria-label="drift by round"')[1]
    line = re.findall(r'<path d="M([^"]+)" class="line fed strong"', chart)[0]
    heights = [float(point.split()[1]) for point in line.split("L")]
    assert heights[0] > heights[1] > heights[2]
    assert max(heights) < 400


@pytest.mark.parametrize("scenario", [{}, {"training": None}, {"training": {"metrics": ["x"]}}, {"training": {}}])
def test_a_record_that_declares_none_names_none(scenario):
    assert Report(scenario=scenario).own_metrics() == []


def test_a_number_that_is_none_is_undefined():
    score = Score.model_validate({"loss": 0.5, "a": 2, "b": "x", "c": None, "d": float("nan"), "e": 10**400})
    assert [score.own(name) for name in "abcdef"] == [2.0, None, None, None, None, None]
